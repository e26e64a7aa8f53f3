//! Late upload: what runs left unsent, many of them at the same time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use super::control::{Control, Say};
use super::error::WandbError;
use super::mirror::{Mirror, Outcome, Stop};
use super::offline::write_offline;
use super::source::count_unsent;
use super::state::MirrorState;
use crate::store::{Attempt, Lease, LeaseState, LockSupport};
use crate::tracking::recorder::LEASE;

/// What became of a mirror.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Synced {
    /// The service has everything.
    Complete {
        /// Where people look at it.
        page: String,
    },
    /// A directory for `wandb sync` was written.
    Offline {
        /// The directory.
        dir: PathBuf,
    },
    /// It would be sent.
    Pending {
        /// Rows and lines that the service does not have.
        lines: u64,
    },
    /// Its run is at work, or another process sends it.
    Busy,
    /// The stage never began.
    Nothing,
    /// It did not work.
    Failed {
        /// Why.
        message: String,
        /// Whether the service does not accept the key, or there is none.
        key: bool,
        /// Whether the account has nothing left.
        quota: bool,
    },
}

/// A mirror and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SyncReport {
    /// Run of this store.
    pub run: String,
    /// Stage.
    pub stage: String,
    /// The service's name of the run.
    pub wandb_run: String,
    /// What became of it.
    #[serde(flatten)]
    pub synced: Synced,
}

/// What to do with mirrors that are not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncAction {
    /// Say what would be sent.
    DryRun,
    /// Send it.
    Upload,
    /// Write directories for `wandb sync` into a folder.
    ToOffline {
        /// The folder.
        parent: PathBuf,
        /// Whether runs of which the service has a part are written too.
        force: bool,
    },
}

/// Brings mirrors to their end, `jobs` at the same time; the reports are in the
/// order of the mirrors.
pub fn sync(
    states: Vec<MirrorState>,
    action: &SyncAction,
    base_url: Option<&str>,
    jobs: usize,
    say: &Say,
) -> Vec<SyncReport> {
    let control = Arc::new(Control::default());
    sync_until(states, action, base_url, jobs, (say, &control))
}

/// The same, until the control says when it must be over.
pub(super) fn sync_until(
    states: Vec<MirrorState>,
    action: &SyncAction,
    base_url: Option<&str>,
    jobs: usize,
    (say, control): (&Say, &Arc<Control>),
) -> Vec<SyncReport> {
    let count = states.len();
    let queue: VecDeque<_> = states.into_iter().enumerate().collect();
    let queue = Mutex::new(queue);
    let reports = Mutex::new(vec![None; count]);
    let work = || {
        loop {
            let next = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some((at, mut state)) = next else {
                return;
            };
            if let Some(base_url) = base_url {
                base_url.clone_into(&mut state.settings.base_url);
            }
            let report = SyncReport {
                run: state.records.last().cloned().unwrap_or_default(),
                stage: state.stage.clone(),
                wandb_run: state.run.id.clone(),
                synced: sync_one(state, action, say, control),
            };
            reports.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(report);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(work);
        }
    });
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.into_iter().flatten().collect()
}

fn sync_one(state: MirrorState, action: &SyncAction, say: &Say, control: &Arc<Control>) -> Synced {
    let failed = |error: &WandbError| Synced::Failed {
        message: error.to_string(),
        key: matches!(error, WandbError::NoKey { .. }),
        quota: false,
    };
    match act(state, action, say, control) {
        Ok(synced) => synced,
        Err(error) => failed(&error),
    }
}

fn act(
    mut state: MirrorState,
    action: &SyncAction,
    say: &Say,
    control: &Arc<Control>,
) -> Result<Synced, WandbError> {
    if is_at_work(state.dir()) {
        return Ok(Synced::Busy);
    }
    let Some(lines) = count_unsent(&state)? else {
        if *action != SyncAction::DryRun {
            state.forget();
        }
        return Ok(Synced::Nothing);
    };
    if *action == SyncAction::DryRun {
        return Ok(Synced::Pending { lines });
    }
    let lease = match Lease::try_take(&state.lease(), "novic sync", LockSupport::default())? {
        Attempt::Held(lease) => lease,
        Attempt::Busy(_) => return Ok(Synced::Busy),
    };
    let synced = match action {
        SyncAction::ToOffline { parent, force } => {
            let had = state.progress.acknowledged;
            if had.history + had.events + had.log > 0 && !force {
                let message = "the service has a part of it, and `wandb sync` would append all \
                               of it once more; --force writes it all the same";
                return Ok(Synced::Failed {
                    message: message.to_owned(),
                    key: false,
                    quota: false,
                });
            }
            let dir = write_offline(&state, parent, true)?;
            let older = state.progress.offline.replace(dir.clone());
            let older = older.filter(|older| *older != dir);
            state.progress.older_offline.extend(older);
            state.save()?;
            Synced::Offline { dir }
        }
        SyncAction::DryRun | SyncAction::Upload => upload(state, say, control)?,
    };
    lease.remove()?;
    Ok(synced)
}

fn upload(state: MirrorState, say: &Say, control: &Arc<Control>) -> Result<Synced, WandbError> {
    let client = state.settings.client()?;
    let tell = (say.clone(), Arc::new(|| {}) as Arc<dyn Fn() + Send + Sync>);
    let address = client.address().to_owned();
    let mut mirror = Mirror::new(state, client, control.clone(), tell, true);
    Ok(match mirror.run() {
        Outcome::Complete if !mirror.state.is_sent() => Synced::Failed {
            message: format!(
                "{} are not uploaded",
                mirror.state.progress.missing.join(", ")
            ),
            key: false,
            quota: false,
        },
        Outcome::Complete => {
            mark_offline(&mirror.state);
            Synced::Complete {
                page: mirror.state.page(),
            }
        }
        Outcome::Stopped(Stop::OutOfTime) => {
            let why = mirror.state.progress.last_error.as_deref();
            Synced::Failed {
                message: format!("{address}: {}", why.unwrap_or("it does not answer")),
                key: false,
                quota: false,
            }
        }
        Outcome::Stopped(Stop::Refused(fault)) => Synced::Failed {
            message: format!("{address}: {fault}"),
            key: fault.is_about_the_key(),
            quota: fault.is_about_the_account(),
        },
        Outcome::Stopped(Stop::Error(error)) => return Err(error),
    })
}

/// Keeps `wandb sync` from uploading a directory once more.
fn mark_offline(state: &MirrorState) {
    let progress = &state.progress;
    for dir in progress.offline.iter().chain(&progress.older_offline) {
        // A hint for another program; nothing of ours depends on it.
        let _ = std::fs::write(dir.join(format!("run-{}.wandb.synced", state.run.id)), "");
    }
}

/// Whether the run's process lives.
fn is_at_work(dir: &Path) -> bool {
    matches!(
        Lease::inspect(&dir.join(LEASE), LockSupport::default()),
        Ok(LeaseState::Held(_))
    )
}
