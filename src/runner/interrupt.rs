//! Ctrl-C: once to stop cleanly, twice to stop at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::Notify;

/// Signals that come this soon after each other are one: a terminal sends its
/// own to this process and its parent, which passes it on.
const ONE: Duration = Duration::from_millis(100);

/// Signals that ask the program to stop: Ctrl-C, an end of the session, and a
/// terminal that is closed, unless the program was started to outlive it
/// (`nohup`).
pub fn stop_signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    signals
}

/// Whether this process was started with a signal switched off.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether somebody wants the program to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    own: Arc<Flag>,
    above: Option<Arc<Flag>>,
}

#[derive(Debug, Default)]
struct Flag {
    raised: AtomicBool,
    news: Notify,
}

impl Flag {
    fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    async fn raised(&self) {
        // Before the look, so that nothing is missed.
        let news = self.news.notified();
        if !self.is_raised() {
            news.await;
        }
    }
}

impl Interrupt {
    /// One that only [`Interrupt::raise`] raises.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// One that is raised by the first of the [`stop_signals`]. The second one ends
    /// the process with exit code 130; what is in the store stays resumable.
    pub fn of_signals() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        let mut signals = Signals::new(stop_signals())?;
        let raised = interrupt.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut first: Option<Instant> = None;
                for _ in signals.forever() {
                    match first {
                        None => {
                            raised.raise();
                            first = Some(Instant::now());
                        }
                        Some(first) if first.elapsed() < ONE => {}
                        Some(_) => low_level::exit(130),
                    }
                }
            })?;
        Ok(interrupt)
    }

    /// One that is raised with this one, but may be raised alone.
    pub fn part(&self) -> Interrupt {
        Interrupt {
            own: Arc::default(),
            above: Some(self.own.clone()),
        }
    }

    /// Asks the program to stop.
    pub fn raise(&self) {
        self.own.raised.store(true, Ordering::SeqCst);
        self.own.news.notify_waiters();
    }

    /// Whether it was asked to.
    pub fn is_raised(&self) -> bool {
        self.own.is_raised() || self.above.as_deref().is_some_and(Flag::is_raised)
    }

    /// Waits until it is.
    pub async fn raised(&self) {
        match &self.above {
            None => self.own.raised().await,
            Some(above) => tokio::select! {
                () = self.own.raised() => {}
                () = above.raised() => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_hears_of_it_before_and_after() {
        let whole = Interrupt::new();
        let part = whole.part();
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        let runtime = runtime.expect("a runtime");
        let waiting = {
            let part = part.clone();
            runtime.spawn(async move { part.raised().await })
        };
        assert!(!part.is_raised());
        whole.raise();
        runtime.block_on(waiting).expect("no panic");
        runtime.block_on(whole.raised());
        assert!(part.is_raised());
        // A part alone stops nothing else.
        let other = Interrupt::new();
        other.part().raise();
        assert!(!other.is_raised());
    }
}
