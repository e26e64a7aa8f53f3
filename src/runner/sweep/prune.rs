//! Ending hopeless trials of a search early (`[search.prune]`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::runner::interrupt::Interrupt;
use crate::runner::search::{Halving, Verdict};
use crate::tracking::{Follow, Happening, Watch};

use super::error::SweepError;
use super::folder::SweepFolder;
use super::spec::{PruneMethod, PruneSpec};

/// File with the losses at the places where trials are looked at.
const LOOKS: &str = "looks.jsonl";

/// A look at a trial.
#[derive(Debug, Serialize, Deserialize)]
struct Look {
    point: usize,
    race: usize,
    place: usize,
    loss: f64,
}

/// Ends trials early.
#[derive(Debug)]
pub struct Pruner {
    spec: PruneSpec,
    folder: SweepFolder,
    races: Mutex<Vec<Halving>>,
}

/// A trial that is watched.
#[derive(Debug)]
pub struct Watched {
    /// Who watches its run.
    pub watch: Watch,
    /// Raised when it is to end, or when everything is.
    pub interrupt: Interrupt,
    ended: Arc<AtomicBool>,
}

impl Watched {
    /// Whether it was ended because it is hopeless.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Pruner {
    /// A pruner that knows of the earlier looks.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn new(spec: &PruneSpec, folder: &SweepFolder) -> Result<Arc<Pruner>, SweepError> {
        let mut races = match spec.method {
            PruneMethod::Asha => vec![Halving::new(spec.min, spec.max, spec.factor)],
            PruneMethod::Hyperband => Halving::hyperband(spec.min, spec.max, spec.factor),
        };
        for look in folder.lines::<Look>(LOOKS)? {
            if let Some(race) = races.get_mut(look.race)
                && look.place < race.places()
            {
                race.look(look.place, look.loss);
            }
        }
        Ok(Arc::new(Pruner {
            spec: spec.clone(),
            folder: folder.clone(),
            races: Mutex::new(races),
        }))
    }

    /// Watches the trial of a point.
    pub fn watch(self: &Arc<Pruner>, point: usize, interrupt: &Interrupt) -> Watched {
        let (tell, heard) = mpsc::channel();
        let watched = Watched {
            watch: Watch {
                plateau_metric: String::new(),
                plateau_rows: u64::MAX,
                follow: Some(Follow {
                    stage: self.spec.stage.clone(),
                    metric: self.spec.metric.clone(),
                    resource: self.spec.resource.clone(),
                }),
                tell,
            },
            interrupt: interrupt.part(),
            ended: Arc::default(),
        };
        let (pruner, ended) = (self.clone(), watched.ended.clone());
        let interrupt = watched.interrupt.clone();
        // It ends with the record of the run.
        let _ = thread::Builder::new()
            .name("pruning".into())
            .spawn(move || pruner.listen(point, &heard, &interrupt, &ended));
        watched
    }

    fn listen(
        &self,
        point: usize,
        heard: &Receiver<Happening>,
        interrupt: &Interrupt,
        ended: &AtomicBool,
    ) {
        let mut passed = 0;
        for happening in heard {
            let Happening::Followed { resource, value } = happening else {
                continue;
            };
            let races = self.races.lock();
            let mut races = races.unwrap_or_else(|poisoned| poisoned.into_inner());
            let number = point % races.len();
            let race = &mut races[number];
            let Some(place) = race.reached(passed, resource) else {
                continue;
            };
            passed += 1;
            let loss = self.spec.goal.loss(value);
            let verdict = race.look(place, loss);
            let look = Look {
                point,
                race: number,
                place,
                loss,
            };
            // Lost looks make later verdicts milder, no more.
            let _ = self.folder.append(LOOKS, &[look]);
            // At its end a trial is over anyway.
            if verdict == Verdict::End && place + 1 < race.places() {
                ended.store(true, Ordering::SeqCst);
                interrupt.raise();
            }
        }
    }
}
