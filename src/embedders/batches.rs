//! How many inputs go through a tower together: as many as its device has
//! memory for.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::EmbedderError;
use crate::device;

/// Most inputs that an embedder takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchSizes {
    /// Texts per call of the tokenizer.
    pub tokens: usize,
    /// Texts that go through the tower together.
    pub texts: usize,
    /// Pictures that go through the tower together; on processors at most
    /// [`BatchSizes::ON_PROCESSORS`], because more are no faster there and take
    /// more memory.
    pub images: usize,
}

impl BatchSizes {
    /// Most pictures that go through a tower together on a processor.
    pub const ON_PROCESSORS: usize = 64;
}

impl Default for BatchSizes {
    /// Those of `embedder.batch_token`, `batch_text` and `batch_image`.
    fn default() -> Self {
        Self {
            tokens: 2048,
            texts: 512,
            images: 256,
        }
    }
}

/// Largest number of inputs that go through a tower together. When the device
/// has no memory for so many, half of them are tried, and it stays so.
#[derive(Debug)]
pub struct BatchLimit(AtomicUsize);

impl BatchLimit {
    /// At most `count` together.
    pub const fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    /// The limit now, at least 1.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// Calls `forward` with ranges of `0..count`, one after the other; `halved`
    /// hears of each new limit.
    pub fn run(
        &self,
        count: usize,
        mut forward: impl FnMut(Range<usize>) -> Result<(), EmbedderError>,
        mut halved: impl FnMut(usize),
    ) -> Result<(), EmbedderError> {
        let mut start = 0;
        while start < count {
            let end = count.min(start + self.get());
            match forward(start..end) {
                Ok(()) => start = end,
                Err(error) if end - start > 1 && is_out_of_memory(&error) => {
                    let lower = (end - start) / 2;
                    // Another thread may have lowered it more.
                    if self.0.fetch_min(lower, Ordering::Relaxed) > lower {
                        halved(lower);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether something failed because the device has no memory left.
pub fn is_out_of_memory(error: &EmbedderError) -> bool {
    matches!(error, EmbedderError::Compute(error) if device::is_out_of_memory(error))
}

#[cfg(test)]
mod tests {
    use candle_core::Error;

    use super::*;

    /// A device with room for `room` inputs.
    fn with_room(room: usize) -> impl FnMut(Range<usize>) -> Result<(), EmbedderError> {
        move |range| match range.len() > room {
            true => Err(Error::Cuda("CUDA_ERROR_OUT_OF_MEMORY".into()).into()),
            false => Ok(()),
        }
    }

    #[test]
    fn batches_are_halved_until_they_fit_and_stay_so() {
        let limit = BatchLimit::new(64);
        let (mut seen, mut notices) = (Vec::new(), Vec::new());
        let mut device = with_room(20);
        let forward = |range: Range<usize>| device(range.clone()).map(|()| seen.push(range));
        limit
            .run(100, forward, |lower| notices.push(lower))
            .unwrap();
        assert_eq!(notices, [32, 16]);
        let covered: Vec<usize> = seen.iter().cloned().flatten().collect();
        assert_eq!(covered, (0..100).collect::<Vec<_>>());
        assert!(seen.iter().all(|range| range.len() <= 16));
        let again = limit.run(40, with_room(20), |_| panic!("halved again"));
        again.unwrap();
    }

    #[test]
    fn one_input_that_does_not_fit_ends_the_work_and_other_errors_do_at_once() {
        let limit = BatchLimit::new(8);
        let error = limit.run(5, with_room(0), |_| ()).unwrap_err();
        assert!(is_out_of_memory(&error));
        let limit = BatchLimit::new(8);
        let wrong = |_: Range<usize>| Err(Error::Msg("no such token".into()).into());
        let error = limit.run(5, wrong, |_| panic!("halved")).unwrap_err();
        assert!(!is_out_of_memory(&error));
    }
}
