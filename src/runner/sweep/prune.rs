//! Ending hopeless trials of a search early (`[search.prune]`).

use std::collections::HashMap;
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
    /// Places where trials of earlier processes were looked at.
    passed: HashMap<usize, usize>,
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
        let mut passed = HashMap::new();
        for look in folder.lines::<Look>(LOOKS)? {
            let places = passed.entry(look.point).or_insert(0);
            *places = look.place.saturating_add(1).max(*places);
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
            passed,
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
        // A trial that goes on is looked at where it was not yet.
        let mut passed = self.passed.get(&point).copied().unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::sweep::metric::Goal;
    use crate::runner::sweep::spec::PrunePlaces;

    #[test]
    fn trials_that_go_on_are_not_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = SweepFolder::at(dir.path());
        let spec = PruneSpec {
            method: PruneMethod::Asha,
            stage: "train".into(),
            metric: "loss".into(),
            goal: Goal::Min,
            resource: "chunk".into(),
            min: 1.0,
            max: 9.0,
            factor: 3.0,
            places: PrunePlaces::default(),
        };
        // The rows that a process sees of a trial.
        let see = |rows: &[(f64, f64)]| {
            let pruner = Pruner::new(&spec, &folder).unwrap();
            let (tell, heard) = mpsc::channel();
            for (resource, value) in rows.iter().copied() {
                tell.send(Happening::Followed { resource, value }).unwrap();
            }
            drop(tell);
            pruner.listen(0, &heard, &Interrupt::new(), &AtomicBool::new(false));
        };
        see(&[(0.0, 9.0), (1.0, 5.0), (2.0, 4.0)]);
        see(&[(2.0, 4.0), (3.0, 3.0), (4.0, 2.0)]);
        let looks = folder.lines::<Look>(LOOKS).unwrap();
        let looks: Vec<_> = looks.iter().map(|look| (look.place, look.loss)).collect();
        assert_eq!(looks, [(0, 5.0), (1, 3.0)]);
    }
}
