//! Mirrors of a run that is at work: a thread per stage, which reads the run's
//! record. The run never waits for them, except a bounded time at its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{Control, OnStop, Say};
use super::error::WandbError;
use super::mirror::{Mirror, Outcome, Stop};
use super::offline::write_offline;
use super::source::{Nothing, Source, count_unsent};
use super::state::{Description, MirrorState, Resume, Settings, seconds};

/// Longest time between two looks for the start of a stage.
const LOOK: Duration = Duration::from_secs(1);

/// Whether and how a stage goes on with what an earlier run mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continues {
    /// It begins.
    No,
    /// It takes up the partial work of an earlier run.
    PartialWork,
    /// Its rows follow those of the run with the same id.
    SameId,
}

/// A stage to mirror.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub stage: String,
    /// Its key; empty if it has none.
    pub key: String,
    /// Whether a directory for `wandb sync` is written instead.
    pub offline: bool,
    /// Whether it goes on with an earlier mirror.
    pub continues: Continues,
    /// Whether it must not run without its mirror.
    pub strict: bool,
    /// Where it goes.
    pub settings: Settings,
    /// How it is called.
    pub run: Description,
}

/// Mirrors at work.
pub struct Mirrors {
    following: Vec<Following>,
    offline: Vec<(MirrorState, Continues)>,
    say: Say,
    /// Store that `novic sync` is told of.
    home: PathBuf,
}

/// A mirror whose thread has ended; no outcome if the stage never began.
type Ended = (MirrorState, Option<Outcome>);

struct Following {
    control: Arc<Control>,
    finish_timeout: Duration,
    ended: Arc<Mutex<Option<Ended>>>,
    dir: PathBuf,
    stage: String,
}

impl Mirrors {
    /// Begins to mirror stages of the run in `dir`. What goes wrong is said,
    /// and never disturbs the run.
    pub fn start(dir: &Path, wanted: Vec<Wanted>, say: Say, on_stop: OnStop) -> Mirrors {
        let runs = dir.parent().unwrap_or(Path::new("."));
        let mut mirrors = Mirrors {
            following: Vec::new(),
            offline: Vec::new(),
            say,
            home: runs.parent().unwrap_or(runs).to_path_buf(),
        };
        for wanted in wanted {
            if let Err(error) = mirrors.begin(dir, wanted, &on_stop) {
                (mirrors.say)(&format!("warning: not mirrored: {error}"));
            }
        }
        mirrors
    }

    fn begin(&mut self, dir: &Path, wanted: Wanted, on_stop: &OnStop) -> Result<(), WandbError> {
        let appended = wanted.continues == Continues::SameId;
        let mut state =
            MirrorState::new(dir, &wanted.stage, &wanted.key, wanted.settings, wanted.run);
        state.appended = appended;
        state.offline = wanted.offline;
        state.save()?;
        let continues = wanted.continues;
        if continues == Continues::SameId {
            go_on(&mut state, continues)?;
        }
        let client = match state.offline {
            true => None,
            false => match state.settings.client() {
                Ok(client) => Some(client),
                Err(error @ WandbError::NoKey { .. }) => {
                    (self.say)(&format!(
                        "warning: {error}; offline files are written instead"
                    ));
                    state.offline = true;
                    state.save()?;
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let Some(client) = client else {
            self.offline.push((state, continues));
            return Ok(());
        };
        let control = Arc::new(Control::default());
        let ended = Arc::new(Mutex::new(None));
        let finish_timeout = seconds(state.settings.finish_timeout);
        let (dir, stage) = (state.dir().to_path_buf(), state.stage.clone());
        let tell = (self.say.clone(), on_stop.clone());
        let (its_control, its_end) = (control.clone(), ended.clone());
        let follow = move || {
            let mut state = state;
            let begun = wait_for_start(&state, &its_control).and_then(|begun| {
                if begun && continues == Continues::PartialWork {
                    go_on(&mut state, continues)?;
                }
                Ok(begun)
            });
            let ended = match begun {
                Ok(true) => {
                    let mut mirror = Mirror::new(state, client, its_control.clone(), tell, false);
                    let outcome = mirror.run();
                    (mirror.state, Some(outcome))
                }
                Ok(false) => (state, None),
                Err(error) => {
                    (tell.0)(&format!("warning: not mirrored: {error}"));
                    (state, Some(Outcome::Stopped(Stop::Error(error))))
                }
            };
            *its_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
            its_control.set_over();
        };
        thread::Builder::new()
            .name("wandb".into())
            .spawn(follow)
            .map_err(WandbError::io("start a thread for", &dir))?;
        self.following.push(Following {
            control,
            finish_timeout,
            ended,
            dir,
            stage,
        });
        Ok(())
    }

    /// Whether somebody at the service wants the run to end.
    pub fn is_stop_requested(&self) -> bool {
        let mut following = self.following.iter();
        following.any(|following| following.control.is_stop_requested())
    }

    /// Waits until somebody wants the run to end, at most for `wait`; whether
    /// somebody does.
    pub fn wait_for_stop(&self, wait: Duration) -> bool {
        let first = self.following.first();
        first.is_some_and(|following| following.control.wait_for_stop(wait))
    }

    /// Gives the mirrors what time they have after the record was closed, and
    /// says what became of them.
    pub fn finish(self, offline_parent: &Path) {
        let begun = Instant::now();
        for following in &self.following {
            following.control.finish(begun + following.finish_timeout);
        }
        for following in &self.following {
            let by = begun + following.finish_timeout;
            following.control.wait_until_over(by);
            let mut end = following
                .ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match end.take() {
                Some((state, None)) => state.forget(),
                Some((state, Some(Outcome::Complete))) => {
                    (self.say)(&format!("{}: {}", state.stage, state.page()));
                }
                Some((state, Some(Outcome::Stopped(_)))) => self.unsent(&state),
                None => {
                    let states = MirrorState::of_run(&following.dir).unwrap_or_default();
                    let mut states = states.iter();
                    if let Some(state) = states.find(|state| state.stage == following.stage) {
                        self.unsent(state);
                    }
                }
            }
        }
        for (state, continues) in &self.offline {
            match offline(state.clone(), *continues, offline_parent) {
                Ok(Some(dir)) => (self.say)(&format!(
                    "{}: `wandb sync {}` uploads it",
                    state.stage,
                    dir.display()
                )),
                Ok(None) => state.forget(),
                Err(error) => (self.say)(&format!(
                    "warning: no files for `wandb sync`: {error}; `novic sync --to-offline` \
                     writes them"
                )),
            }
        }
    }

    /// Says how much has not arrived.
    fn unsent(&self, state: &MirrorState) {
        let count = count_unsent(state).unwrap_or_default().unwrap_or_default();
        (self.say)(&format!(
            "{}: {count} rows and lines of run {} are not at Weights & Biases yet; `novic sync {}` \
             sends them",
            state.stage,
            state.run.id,
            self.home.display()
        ));
    }
}

/// Waits until the stage begins; false if the run ends before.
fn wait_for_start(state: &MirrorState, control: &Control) -> Result<bool, WandbError> {
    let look = seconds(state.settings.flush_interval).min(LOOK);
    let mut source = Source::new(state);
    loop {
        let ended = control.finish_by().is_some();
        source.read(&mut Nothing)?;
        if source.has_begun() || ended {
            return Ok(source.has_begun());
        }
        control.sleep_until(Instant::now() + look);
    }
}

/// Writes the files of a stage, if it ran.
fn offline(
    mut state: MirrorState,
    continues: Continues,
    parent: &Path,
) -> Result<Option<PathBuf>, WandbError> {
    if count_unsent(&state)?.is_none() {
        return Ok(None);
    }
    if continues == Continues::PartialWork {
        go_on(&mut state, continues)?;
    }
    let dir = write_offline(&state, parent, false)?;
    state.progress.offline = Some(dir.clone());
    state.save()?;
    Ok(Some(dir))
}

/// Goes on with the mirror of an earlier run, if there is one.
fn go_on(state: &mut MirrorState, continues: Continues) -> Result<(), WandbError> {
    let runs = state.dir().parent().unwrap_or(Path::new("."));
    let run = &state.run;
    let is_it = |other: &MirrorState| match continues {
        Continues::No => false,
        Continues::PartialWork => {
            other.key == state.key && !state.key.is_empty() && (run.drawn || run.id == other.run.id)
        }
        Continues::SameId => {
            other.run.id == run.id
                && other.run.project == run.project
                && other.run.entity == run.entity
                && run.resume != Some(Resume::Never)
        }
    };
    let found = MirrorState::of_all(runs)?.into_iter().rev().find(|other| {
        other.dir() != state.dir() && other.progress.continued_by.is_none() && is_it(other)
    });
    match found {
        // Without its records, its lines cannot be counted.
        Some(mut found) if found.record_dirs().iter().all(|dir| dir.is_dir()) => {
            state.continue_from(&mut found)
        }
        _ => Ok(()),
    }
}
