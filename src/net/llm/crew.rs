//! Several threads that ask at the same time, and the one that waits for them.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::LlmError;

/// How often people are told how far it is.
const SHOW: Duration = Duration::from_millis(250);

/// How long answers in flight are waited for after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

/// Questions in a row that the service refuses as they are, after which nothing
/// more is asked.
const BAD_REQUESTS: usize = 3;

/// Why nothing more is asked.
#[derive(Debug)]
pub enum Halt<E> {
    /// Something that holds for all questions.
    Service(LlmError),
    /// An error of whoever asks.
    Own(E),
}

/// Threads that share a `W`, and an error type of their own.
#[derive(Debug)]
pub struct Crew<W, E> {
    state: Mutex<Shared<W, E>>,
    changed: Condvar,
}

/// What they share.
#[derive(Debug)]
pub struct Shared<W, E> {
    work: W,
    workers: usize,
    halt: Option<Halt<E>>,
}

impl<W, E> Deref for Shared<W, E> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.work
    }
}

impl<W, E> DerefMut for Shared<W, E> {
    fn deref_mut(&mut self) -> &mut W {
        &mut self.work
    }
}

impl<W, E> Shared<W, E> {
    /// Whether nothing more is to be asked.
    pub fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    /// Nothing more is to be asked; the first reason counts.
    pub fn halt(&mut self, why: Halt<E>) {
        self.halt.get_or_insert(why);
    }
}

impl<W: Send + 'static, E: Send + 'static> Crew<W, E> {
    /// A crew that has not begun.
    pub fn new(work: W) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Shared {
                work,
                workers: 0,
                halt: None,
            }),
            changed: Condvar::new(),
        })
    }

    /// What they share.
    pub fn state(&self) -> MutexGuard<'_, Shared<W, E>> {
        // Every change is whole before a thread can end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a little, or until another thread has changed something.
    pub fn wait<'a>(&self, state: MutexGuard<'a, Shared<W, E>>) -> MutexGuard<'a, Shared<W, E>> {
        let waited = self.changed.wait_timeout(state, SHOW);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Something has changed for the other threads.
    pub fn tell(&self) {
        self.changed.notify_all();
    }

    /// Lets so many threads do `work` until all of them return. After Ctrl-C
    /// those that still wait for an answer are left behind after a while; an
    /// answer that comes later still is lost. `interrupted` is asked until it
    /// says yes. Returns what they shared, why they stopped if they did, and
    /// whether it was Ctrl-C.
    pub fn run(
        self: &Arc<Self>,
        workers: usize,
        work: impl Fn() + Clone + Send + 'static,
        interrupted: impl Fn() -> bool,
        mut show: impl FnMut(&W),
    ) -> (MutexGuard<'_, Shared<W, E>>, Option<Halt<E>>, bool) {
        self.state().workers = workers;
        for _ in 0..workers {
            let (place, work) = (Place(self.clone()), work.clone());
            thread::spawn(move || {
                let _place = place;
                work();
            });
        }
        let (mut since, mut shown) = (None, None::<Instant>);
        let mut state = self.state();
        while state.workers > 0 {
            if since.is_none() && interrupted() {
                since = Some(Instant::now());
            }
            if since.is_some_and(|since: Instant| since.elapsed() > GRACE) {
                break;
            }
            if shown.is_none_or(|shown| shown.elapsed() >= SHOW) {
                shown = Some(Instant::now());
                show(&state);
            }
            state = self.wait(state);
        }
        show(&state);
        let halt = state.halt.take();
        (state, halt, since.is_some())
    }
}

/// The place of a thread, which is free however the thread ends.
struct Place<W: Send + 'static, E: Send + 'static>(Arc<Crew<W, E>>);

impl<W: Send + 'static, E: Send + 'static> Drop for Place<W, E> {
    fn drop(&mut self) {
        self.0.state().workers -= 1;
        self.0.tell();
    }
}

/// Questions in a row, about different things, that the service does not take.
#[derive(Debug, Default)]
pub struct BadRequests(BTreeSet<usize>);

impl BadRequests {
    /// One more, about the thing with this number. Whether there are too many
    /// to go on.
    pub fn add(&mut self, about: usize) -> bool {
        self.0.insert(about);
        self.0.len() >= BAD_REQUESTS
    }

    /// A question was taken.
    pub fn end(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_until_it_is_done_and_one_can_stop_all() {
        let crew: Arc<Crew<u32, ()>> = Crew::new(0);
        let work = {
            let crew = crew.clone();
            move || {
                loop {
                    let mut state = crew.state();
                    if state.is_halted() || **state == 10 {
                        return;
                    }
                    **state += 1;
                    if **state == 7 {
                        state.halt(Halt::Own(()));
                        state.halt(Halt::Service(LlmError::Interrupted));
                    }
                }
            }
        };
        let (state, halt, interrupted) = crew.run(3, work, || false, |_| {});
        assert_eq!(**state, 7);
        assert!(matches!(halt, Some(Halt::Own(()))) && !interrupted);
    }

    #[test]
    fn a_thread_that_breaks_is_not_waited_for() {
        let crew: Arc<Crew<(), ()>> = Crew::new(());
        let (_state, halt, _) = crew.run(
            2,
            || std::panic::resume_unwind(Box::new(())),
            || false,
            |()| {},
        );
        assert!(halt.is_none());
    }

    #[test]
    fn bad_requests_count_by_what_they_are_about() {
        let mut bad = BadRequests::default();
        let counted = [4, 4, 5, 4, 5].map(|about| bad.add(about));
        assert_eq!(counted, [false; 5]);
        assert!(bad.add(6));
        bad.end();
        assert!(!bad.add(6));
    }
}
