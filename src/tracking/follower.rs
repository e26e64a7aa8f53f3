//! Reading a record while it is being written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::TrackingError;
use super::event::{ConsoleLine, Event};
use super::frame::FrameReader;
use super::metrics::Metrics;
use super::reader::{RECORD, Scan};

/// Progress events that the pace of a stage is measured over; one is about a
/// second.
const PACE_EVENTS: usize = 30;

/// A record that is read again and again, each time only what is new.
#[derive(Debug, Default)]
pub struct RunFollower {
    path: PathBuf,
    scan: Scan,
    /// Length of what was read.
    good: u64,
}

impl RunFollower {
    /// Follows the run in `dir`; nothing is read yet.
    pub fn new(dir: &Path) -> RunFollower {
        RunFollower {
            path: dir.join(RECORD),
            ..RunFollower::default()
        }
    }

    /// Reads what was written since the last time.
    ///
    /// # Errors
    /// The file cannot be read, or is no record.
    pub fn follow(&mut self) -> Result<(), TrackingError> {
        let length = std::fs::metadata(&self.path)
            .map_err(TrackingError::io("read", &self.path))?
            .len();
        if length <= self.good {
            return Ok(());
        }
        let mut reader = FrameReader::open(&self.path)?;
        if self.good > 0 {
            reader = reader.resume(self.good)?;
        }
        self.good = self.scan.read(reader)?;
        Ok(())
    }

    /// Metrics by stage, so far.
    pub fn metrics(&self) -> &BTreeMap<String, Metrics> {
        &self.scan.metrics
    }

    /// The lines that were shown, so far, the newest first.
    pub fn console(&self) -> impl Iterator<Item = &ConsoleLine> {
        let events = self.scan.events.iter().rev();
        events.filter_map(|event| match &event.what {
            Event::Console(line) => Some(line),
            _ => None,
        })
    }

    /// What a stage gets done per second, lately.
    pub fn pace(&self, stage: &str) -> Option<f64> {
        let events = self.scan.events.iter().rev();
        let points = events.filter_map(|event| match &event.what {
            Event::StageProgress {
                stage: of, done, ..
            } if of == stage => Some((event.time_us, *done)),
            _ => None,
        });
        let points: Vec<_> = points.take(PACE_EVENTS).collect();
        let ((end, done), (begin, before)) = (points.first()?, points.last()?);
        let seconds = end.checked_sub(*begin)? as f64 / 1e6;
        let units = done.checked_sub(*before)? as f64;
        (seconds > 0.0 && units > 0.0).then(|| units / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RunEnd, RunRecorder, RunStart, read_record};
    use super::*;
    use crate::store::Project;

    #[test]
    fn what_is_followed_is_what_is_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        let mut follower = RunFollower::new(run.dir());
        let log = run.stage("train");
        for step in 0..5u64 {
            log.row(&[("step", step.into())]);
            run.event(Event::StageProgress {
                stage: "train".into(),
                unit: "steps".into(),
                done: step,
                total: Some(5),
            });
            if step == 3 {
                log.rewind(2);
            }
            run.flush().unwrap();
            follower.follow().unwrap();
            let at_once = read_record(run.dir()).unwrap();
            assert_eq!(follower.metrics(), &at_once.metrics);
            assert_eq!(follower.scan.events, at_once.events);
        }
        assert!(follower.pace("train").unwrap() > 0.0);
        assert_eq!(follower.pace("other"), None);
        run.finish(RunEnd {
            exit_code: 0,
            reason: String::new(),
        })
        .unwrap();
    }
}
