//! Ctrl-C: once to stop cleanly, twice to stop at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Signals that come this soon after each other are one: a terminal sends its
/// own to this process and its parent, which passes it on.
const ONE: Duration = Duration::from_millis(100);

/// Whether somebody wants the program to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
    above: Option<Arc<AtomicBool>>,
}

impl Interrupt {
    /// One that only [`Interrupt::raise`] raises.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// One that is raised by the first SIGINT or SIGTERM. The second one ends
    /// the process with exit code 130; what is in the store stays resumable.
    pub fn of_signals() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
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
            raised: Arc::default(),
            above: Some(self.raised.clone()),
        }
    }

    /// Asks the program to stop.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked to.
    pub fn is_raised(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        is(&self.raised) || self.above.as_deref().is_some_and(is)
    }
}
