//! Ending many runs at once.

use std::collections::VecDeque;
use std::thread::{self, JoinHandle};

use super::error::TrackingError;
use super::event::RunEnd;
use super::listing::RunOverview;
use super::recorder::RunRecorder;

/// Most runs whose records are being forced to the disk at the same time.
const MOST: usize = 64;

/// Ends runs without waiting for the disk one by one: it takes the ends of many
/// in the time of one. Dropping it waits for all of them.
#[derive(Debug, Default)]
pub struct RunEndings {
    waiting: VecDeque<JoinHandle<Result<RunOverview, TrackingError>>>,
}

impl RunEndings {
    /// Ends the record of a run. Waits only while very many others are ending.
    ///
    /// # Errors
    /// An earlier record could not be written.
    pub fn finish(&mut self, recorder: RunRecorder, end: RunEnd) -> Result<(), TrackingError> {
        let ending = thread::Builder::new()
            .name("end of a run".into())
            .spawn(move || recorder.finish(end));
        // Without a thread, the recorder ends itself when it is dropped.
        self.waiting.extend(ending);
        while self.waiting.len() > MOST {
            self.wait_for_one()?;
        }
        Ok(())
    }

    /// Waits until all records are on the disk.
    ///
    /// # Errors
    /// One of them could not be written.
    pub fn wait(mut self) -> Result<(), TrackingError> {
        while !self.waiting.is_empty() {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<(), TrackingError> {
        let Some(ending) = self.waiting.pop_front() else {
            return Ok(());
        };
        ending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map(drop)
    }
}

impl Drop for RunEndings {
    fn drop(&mut self) {
        for ending in self.waiting.drain(..) {
            let _ = ending.join();
        }
    }
}
