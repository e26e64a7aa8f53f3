//! What earlier runs left unsent, sent beside a run that is at work: the mirror of
//! a stage that was over before its process was killed, or that found no time.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{Control, Say};
use super::error::WandbError;
use super::state::{MirrorState, seconds};
use super::sync::{SyncAction, SyncReport, Synced, sync_until};

/// Mirrors that are sent at the same time.
const JOBS: usize = 4;

/// Mirrors of earlier runs in the folder `runs`, of stages with these keys, that
/// are not complete. Runs that are at work are among them.
///
/// # Errors
/// What is known of a mirror cannot be read.
pub fn unsent(runs: &Path, keys: &HashSet<String>) -> Result<Vec<MirrorState>, WandbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut states = MirrorState::of_all(runs)?;
    states.retain(|state| {
        let progress = &state.progress;
        // What the service does not want, it does not want later.
        let is_refused = progress.refused.is_some() && !progress.refused_key;
        let is_open = !state.offline && !state.is_settled() && !is_refused;
        is_open && keys.contains(&state.key)
    });
    Ok(states)
}

/// Sends in the background what earlier runs left.
pub struct LateMirrors {
    control: Arc<Control>,
    finish_timeout: Duration,
    reports: Arc<Mutex<Vec<SyncReport>>>,
    say: Say,
}

impl LateMirrors {
    /// Begins to send; nothing if there is nothing to send. What goes wrong is
    /// said, and never disturbs the run.
    pub fn start(states: Vec<MirrorState>, say: Say) -> Option<LateMirrors> {
        let timeouts = states.iter().map(|state| state.settings.finish_timeout);
        let finish_timeout = seconds(timeouts.reduce(f64::max)?);
        let late = LateMirrors {
            control: Arc::default(),
            finish_timeout,
            reports: Arc::default(),
            say,
        };
        let (control, reports, say) =
            (late.control.clone(), late.reports.clone(), late.say.clone());
        let send = move || {
            let tell = (&say, &control);
            let sent = sync_until(states, &SyncAction::Upload, None, JOBS, tell);
            *reports.lock().unwrap_or_else(PoisonError::into_inner) = sent;
            control.set_over();
        };
        let thread = thread::Builder::new().name("late mirrors".into());
        thread.spawn(send).ok().map(|_| late)
    }

    /// From now on there is no more time than mirrors have at the end of a run.
    pub fn hurry(&self) {
        self.control.finish(Instant::now() + self.finish_timeout);
    }

    /// Waits as long as there is time, and says what became of them.
    pub fn finish(self) {
        let by = self.control.finish_by().unwrap_or_else(|| {
            self.hurry();
            Instant::now() + self.finish_timeout
        });
        if !self.control.wait_until_over(by) {
            (self.say)(
                "what earlier runs left is not at Weights & Biases yet; `novic sync` sends it",
            );
            return;
        }
        let reports = self.reports.lock();
        for report in reports.unwrap_or_else(PoisonError::into_inner).iter() {
            let (run, stage) = (&report.run, &report.stage);
            match &report.synced {
                Synced::Complete { page } => (self.say)(&format!("{stage} of {run}: {page}")),
                Synced::Failed { message, .. } => (self.say)(&format!(
                    "{stage} of {run} is not at Weights & Biases yet ({message}); `novic sync` \
                     sends it"
                )),
                _ => {}
            }
        }
    }
}
