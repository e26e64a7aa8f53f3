//! Noticing what people want to hear of, while it is recorded.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Sender;

use serde::Serialize;

use super::event::{Event, StageOutcome};
use super::rows::Block;

/// Something that people may want to hear of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A metric became NaN, or infinite after it was finite.
    Nan {
        /// The stage.
        stage: String,
        /// The metric.
        metric: String,
        /// Number of the row within the stage.
        row: u64,
    },
    /// A metric has had no new minimum for long.
    Plateau {
        /// The stage.
        stage: String,
        /// The metric.
        metric: String,
        /// Number of the row within the stage.
        row: u64,
        /// The minimum.
        best: f64,
    },
    /// A stage failed.
    Failure {
        /// The stage.
        stage: String,
        /// Why.
        message: String,
    },
    /// A metric that is followed has a value.
    Followed {
        /// How far the stage is.
        resource: f64,
        /// The value.
        value: f64,
    },
    /// The run is over.
    Finish {
        /// Its exit code.
        exit_code: u8,
        /// Why it ended.
        reason: String,
    },
}

/// Looks at everything that is recorded, on the thread that writes it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Metric whose plateaus are noticed.
    pub plateau_metric: String,
    /// After how many rows without a new minimum.
    pub plateau_rows: u64,
    /// A metric of which every value is told.
    pub follow: Option<Follow>,
    /// Who hears of it.
    pub tell: Sender<Happening>,
}

/// A metric that is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Follow {
    /// The stage.
    pub stage: String,
    /// The metric.
    pub metric: String,
    /// The metric of the same rows that counts how far the stage is.
    pub resource: String,
}

/// A watch and what it has seen.
#[derive(Debug)]
pub(super) struct Watching {
    watch: Watch,
    /// Stages and metrics that were finite once, and those of which it was told
    /// that they are no more.
    finite: HashSet<(String, String)>,
    not_finite: HashSet<(String, String)>,
    /// Number of rows of each stage.
    rows: HashMap<String, u64>,
    minima: HashMap<String, Minimum>,
}

#[derive(Debug)]
struct Minimum {
    best: f64,
    rows_since: u64,
    told: bool,
}

impl Watching {
    pub(super) fn new(watch: Watch) -> Watching {
        Watching {
            watch,
            finite: HashSet::new(),
            not_finite: HashSet::new(),
            rows: HashMap::new(),
            minima: HashMap::new(),
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::StageFinished {
                stage,
                outcome: StageOutcome::Failed,
                message,
                ..
            } => self.tell(Happening::Failure {
                stage: stage.clone(),
                message: message.clone().unwrap_or_default(),
            }),
            Event::NotFinite { stage, metric }
                if self.not_finite.insert((stage.clone(), metric.clone())) =>
            {
                self.tell(Happening::Nan {
                    stage: stage.clone(),
                    metric: metric.clone(),
                    row: self.rows.get(stage).copied().unwrap_or(0),
                });
            }
            // The stage begins again from there.
            Event::Rewind { stage, position } => {
                self.minima.remove(stage);
                self.rows.insert(stage.clone(), *position);
            }
            Event::End(end) => self.tell(Happening::Finish {
                exit_code: end.exit_code,
                reason: end.reason.clone(),
            }),
            _ => {}
        }
    }

    pub(super) fn rows(&mut self, stage: &str, names: &[String], block: &Block) {
        self.follow(stage, names, block);
        if let Some(last) = block.positions.last() {
            self.rows.insert(stage.to_owned(), last + 1);
        }
        for (name, column) in names.iter().zip(&block.columns) {
            let numbers = || block.positions.iter().zip(column.numbers());
            let metric = (stage.to_owned(), name.clone());
            let mut was_finite = self.finite.contains(&metric);
            // Minima so far begin with infinity.
            let bad = numbers().find(|(_, value)| {
                was_finite |= value.is_some_and(f64::is_finite);
                value.is_some_and(|value| value.is_nan() || value.is_infinite() && was_finite)
            });
            let bad = bad.map(|(row, _)| *row);
            if was_finite {
                self.finite.insert(metric.clone());
            }
            if let Some(row) = bad
                && self.not_finite.insert(metric)
            {
                self.tell(Happening::Nan {
                    stage: stage.to_owned(),
                    metric: name.clone(),
                    row,
                });
            }
            if *name == self.watch.plateau_metric {
                let found = numbers().find_map(|(row, value)| {
                    let best = self.has_plateau(stage, value?)?;
                    Some((*row, best))
                });
                if let Some((row, best)) = found {
                    self.tell(Happening::Plateau {
                        stage: stage.to_owned(),
                        metric: name.clone(),
                        row,
                        best,
                    });
                }
            }
        }
    }

    fn follow(&self, stage: &str, names: &[String], block: &Block) {
        let Some(follow) = self.watch.follow.as_ref().filter(|f| f.stage == stage) else {
            return;
        };
        let column = |wanted: &String| {
            let at = names.iter().position(|name| name == wanted)?;
            Some(block.columns[at].numbers())
        };
        if let (Some(resources), Some(values)) = (column(&follow.resource), column(&follow.metric))
        {
            for pair in resources.into_iter().zip(values) {
                if let (Some(resource), Some(value)) = pair {
                    self.tell(Happening::Followed { resource, value });
                }
            }
        }
    }

    /// The minimum, when it has just become too old.
    fn has_plateau(&mut self, stage: &str, value: f64) -> Option<f64> {
        let rows = self.watch.plateau_rows;
        if !self.minima.contains_key(stage) {
            let none = Minimum {
                best: f64::INFINITY,
                rows_since: 0,
                told: false,
            };
            self.minima.insert(stage.to_owned(), none);
        }
        let minimum = self.minima.get_mut(stage)?;
        if value < minimum.best {
            minimum.best = value;
            minimum.rows_since = 0;
            return None;
        }
        minimum.rows_since += 1;
        let new = minimum.rows_since >= rows && !minimum.told;
        minimum.told |= new;
        new.then_some(minimum.best)
    }

    fn tell(&self, happening: Happening) {
        // Nobody listens any more: nobody wants to hear.
        let _ = self.watch.tell.send(happening);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::{RunEnd, RunRecorder, RunStart};
    use super::*;
    use crate::store::Project;

    #[test]
    fn what_happens_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let (tell, heard) = mpsc::channel();
        let watch = Watch {
            plateau_metric: "loss".into(),
            plateau_rows: 3,
            follow: None,
            tell,
        };
        let start = RunStart {
            watch: Some(watch),
            ..RunStart::default()
        };
        let run = RunRecorder::start(&project, start).unwrap();
        let log = run.stage("train");
        for loss in [3.0, 2.0, 2.5, f64::NAN, 2.0, 2.0, f64::NAN] {
            let least = if loss > 2.9 { f64::INFINITY } else { 2.0 };
            log.row(&[("loss", loss.into()), ("least", least.into())]);
            run.flush().unwrap();
        }
        // Of the first, rows told already.
        for metric in ["loss", "gradient norm"] {
            run.event(Event::NotFinite {
                stage: "train".into(),
                metric: metric.into(),
            });
        }
        run.event(Event::StageFinished {
            stage: "train".into(),
            outcome: StageOutcome::Failed,
            seconds: 0.0,
            message: Some("no more".into()),
            results: serde_json::Value::Null,
        });
        run.finish(RunEnd {
            exit_code: 1,
            reason: "1 failed".into(),
        })
        .unwrap();
        let (stage, metric) = ("train".to_owned(), "loss".to_owned());
        let expected = [
            Happening::Nan {
                stage: stage.clone(),
                metric: metric.clone(),
                row: 3,
            },
            Happening::Plateau {
                stage: stage.clone(),
                metric,
                row: 4,
                best: 2.0,
            },
            Happening::Nan {
                stage: stage.clone(),
                metric: "gradient norm".into(),
                row: 7,
            },
            Happening::Failure {
                stage,
                message: "no more".into(),
            },
            Happening::Finish {
                exit_code: 1,
                reason: "1 failed".into(),
            },
        ];
        // The channel is closed when the record is.
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    }
}
