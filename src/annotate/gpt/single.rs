//! Questions one by one, several at a time (`annotation.md` 9, 12).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::failures::FailureKind;
use super::journal::{Ledger, Line, now};
use super::judge::judge;
use super::questions::Question;
use super::run::{Asking, Outcome, Progress};
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{ChatAnswer, FailureClass, LlmClient, LlmError};

/// How often people are told how far it is.
const SHOW: Duration = Duration::from_millis(250);

/// How long answers in flight are waited for after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

/// How often the state file is written.
const SAVE: Duration = Duration::from_secs(30);

/// Images in a row whose question the service refuses as it is, after which
/// nothing more is asked.
const BAD_REQUESTS: u32 = 3;

/// A question with what was tried.
#[derive(Clone, Debug)]
struct Job {
    question: Question,
    /// Factor of the length of the answer.
    longer: u32,
    /// Whether an answer of no use came.
    repeated: bool,
    /// Whether the model refused.
    refused: bool,
}

/// What the threads share.
struct Run {
    client: Arc<LlmClient>,
    asking: Asking,
    beside: PathBuf,
    state: Mutex<Shared>,
    changed: Condvar,
}

struct Shared {
    /// None after the end.
    ledger: Option<Ledger>,
    queue: VecDeque<Job>,
    in_flight: usize,
    round: u64,
    /// Questions that were sent.
    asked: u64,
    workers: usize,
    saved: Instant,
    /// Image of the last question that the service did not take, and how many
    /// images in a row.
    bad_requests: (usize, u32),
    stopped: Option<std::result::Result<LlmError, AnnotateError>>,
}

/// Asks until nothing is open. The ledger comes back with the outcome, unless
/// an answer that is still in flight may come later.
///
/// # Errors
/// A file cannot be written or read. Answers that came before are in the
/// journal.
pub fn ask_singly(
    client: Arc<LlmClient>,
    asking: &Asking,
    ledger: Ledger,
    interrupted: impl Fn() -> bool,
    mut show: impl FnMut(&Progress),
) -> Result<(Ledger, Outcome)> {
    if !ledger.state.pending.is_empty() {
        return Err(AnnotateError::Pending);
    }
    let workers = asking.concurrency.max(1);
    let run = Arc::new(Run {
        client,
        asking: asking.clone(),
        beside: ledger.beside().to_owned(),
        state: Mutex::new(Shared {
            ledger: Some(ledger),
            queue: VecDeque::new(),
            in_flight: 0,
            round: 0,
            asked: 0,
            workers,
            saved: Instant::now(),
            bad_requests: (usize::MAX, 0),
            stopped: None,
        }),
        changed: Condvar::new(),
    });
    for _ in 0..workers {
        let run = run.clone();
        thread::spawn(move || {
            run.work();
            run.state().workers -= 1;
            run.changed.notify_all();
        });
    }
    let mut since = None;
    let mut state = run.state();
    let mut shown = Instant::now();
    while state.workers > 0 {
        if since.is_none() && interrupted() {
            since = Some(Instant::now());
        }
        // An answer that comes later still is lost.
        if since.is_some_and(|since| since.elapsed() > GRACE) {
            break;
        }
        if shown.elapsed() >= SHOW {
            shown = Instant::now();
            run.show(&state, &mut show);
        }
        let waited = run.changed.wait_timeout(state, SHOW);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    run.show(&state, &mut show);
    let stopped = state.stopped.take();
    // Threads that still wait for answers find nothing to write into.
    let Some(mut ledger) = state.ledger.take() else {
        return Err(AnnotateError::Lost);
    };
    drop(state);
    ledger.save()?;
    let outcome = match stopped {
        Some(Err(error)) => return Err(error),
        Some(Ok(error)) => Outcome::Stopped(error),
        None if since.is_some() => Outcome::Stopped(LlmError::Interrupted),
        None => Outcome::Finished,
    };
    Ok((ledger, outcome))
}

impl Run {
    fn state(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &Shared, show: &mut impl FnMut(&Progress)) {
        if let Some(ledger) = &state.ledger {
            let (spent, waits) = (self.client.spent(), self.client.waits());
            show(&self.asking.progress(&ledger.state, spent, waits));
        }
    }

    /// One thread: question after question.
    fn work(&self) {
        while let Some(job) = self.next() {
            let ended = self.ask(job);
            let mut state = self.state();
            state.in_flight -= 1;
            if let Err(why) = ended
                && state.stopped.is_none()
            {
                state.stopped = Some(why);
            }
            self.changed.notify_all();
        }
    }

    /// The next question; none if there is nothing more to ask.
    fn next(&self) -> Option<Job> {
        let mut guard = self.state();
        loop {
            let state = &mut *guard;
            let (None, Some(ledger)) = (&state.stopped, &state.ledger) else {
                return None;
            };
            if self.asking.most.is_some_and(|most| state.asked >= most) {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                // It may have been answered or given up in the meantime.
                let question = &job.question;
                let image = &ledger.state.meta.images[question.image];
                let is_open = |noun: &String| {
                    ledger.state.need(question.image, noun) > 0
                        && !ledger.state.failures.is_parked(image, noun)
                };
                if !question.nouns.iter().any(is_open) {
                    continue;
                }
                state.in_flight += 1;
                state.asked += 1;
                return Some(job);
            }
            if state.in_flight > 0 {
                let waited = self.changed.wait_timeout(guard, SHOW);
                guard = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            // Only a whole round without a question is the end.
            let asking = &self.asking;
            let (questions, _) = ledger.state.questions_between(
                &asking.predicted,
                asking.dealing,
                0,
                0,
                state.round,
            );
            if questions.is_empty() {
                return None;
            }
            state.round += 1;
            state.queue.extend(questions.into_iter().map(Job::new));
            self.changed.notify_all();
        }
    }

    /// Asks one question. Fails if nothing more is to be asked at all.
    fn ask(
        &self,
        job: Job,
    ) -> std::result::Result<(), std::result::Result<LlmError, AnnotateError>> {
        let small = {
            let state = self.state();
            let Some(ledger) = &state.ledger else {
                return Ok(());
            };
            ledger.state.small_image(&self.beside, job.question.image)
        };
        let jpeg =
            std::fs::read(&small).map_err(|error| Err(AnnotateError::io("read", &small)(error)))?;
        let asking = &self.asking;
        let request = asking
            .questioning
            .request(&jpeg, &job.question.nouns, job.longer);
        match self.client.chat(&request, asking.tokens_of_image(&small)) {
            Ok(answer) => self.take(job, &answer).map_err(Err),
            Err(LlmError::Failed(failure)) if failure.status != Some(404) => {
                let bad = failure.class == FailureClass::BadRequest;
                let class = match bad {
                    true => FailureKind::BadRequest,
                    false => FailureKind::Unanswered,
                };
                self.unanswered(&job, class, &failure.to_string())
                    .map_err(Err)?;
                let mut state = self.state();
                let (last, in_a_row) = &mut state.bad_requests;
                if bad && *last != job.question.image {
                    *last = job.question.image;
                    *in_a_row += 1;
                }
                match *in_a_row >= BAD_REQUESTS {
                    true => Err(Ok(LlmError::Failed(failure))),
                    false => Ok(()),
                }
            }
            Err(error) => Err(Ok(error)),
        }
    }

    /// An answer: first into the journal, then into the state; and what follows
    /// from one of no use.
    fn take(&self, mut job: Job, answer: &ChatAnswer) -> Result<()> {
        let cost = self.client.cost(&answer.usage.unwrap_or_default());
        let mut guard = self.state();
        let state = &mut *guard;
        state.bad_requests = (usize::MAX, 0);
        let Some(ledger) = &mut state.ledger else {
            return Ok(());
        };
        let image = ledger.state.meta.images[job.question.image].clone();
        let mut line = judge(&image, &job.question.nouns, answer, cost);
        let mut again = Vec::new();
        if let Some(failed) = &mut line.failed {
            match failed.class {
                FailureKind::Truncated if job.longer == 1 => {
                    failed.counts = false;
                    job.longer = 2;
                    again.push(job);
                }
                FailureKind::Truncated if job.question.nouns.len() > 1 => {
                    failed.counts = false;
                    again = job.halves();
                }
                FailureKind::Refused if job.refused => failed.for_good = true,
                FailureKind::Refused => {
                    failed.counts = false;
                    job.refused = true;
                    again.push(job);
                }
                // In another order, for models stumble over some.
                FailureKind::Invalid if !job.repeated => {
                    job.repeated = true;
                    if self.asking.dealing.seed.is_some() {
                        job.question.nouns.reverse();
                    }
                    again.push(job);
                }
                _ => {}
            }
        }
        ledger.take(&Line::Answer(Box::new(line)))?;
        for job in again.into_iter().rev() {
            state.queue.push_front(job);
        }
        if state.saved.elapsed() >= SAVE {
            ledger.save()?;
            state.saved = Instant::now();
        }
        Ok(())
    }

    /// A question without an answer.
    fn unanswered(&self, job: &Job, class: FailureKind, message: &str) -> Result<()> {
        let mut state = self.state();
        let Some(ledger) = &mut state.ledger else {
            return Ok(());
        };
        let image = job.question.image;
        // What the service does not take of an image, it never takes.
        let for_good = class == FailureKind::BadRequest;
        let nouns = match for_good {
            true => ledger
                .state
                .open_pairs(&self.asking.predicted)
                .filter(|(at, _)| *at == image)
                .map(|(_, noun)| noun.to_owned())
                .collect(),
            false => job.question.nouns.clone(),
        };
        ledger.take(&Line::Unanswered {
            at: now(),
            image: ledger.state.meta.images[image].clone(),
            nouns,
            class,
            message: message.to_owned(),
            for_good,
        })
    }
}

impl Job {
    fn new(question: Question) -> Self {
        Self {
            question,
            longer: 1,
            repeated: false,
            refused: false,
        }
    }

    /// The same question about half of the nouns each.
    fn halves(self) -> Vec<Self> {
        let middle = self.question.nouns.len().div_ceil(2);
        let (first, second) = self.question.nouns.split_at(middle);
        let half = |nouns: &[String]| Self {
            question: Question {
                nouns: nouns.to_vec(),
                ..self.question.clone()
            },
            ..self.clone()
        };
        vec![half(first), half(second)]
    }
}
