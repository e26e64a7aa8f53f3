//! Pictures in batches, decoded ahead of whoever uses them.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

/// Makes `count` things in batches on the worker threads while `consume` works
/// on the batch before: at most three batches are in memory. Batches come in
/// order; an error of `consume` ends the work.
///
/// # Errors
/// The error of `consume`.
pub fn in_batches<T: Send, E: Send>(
    count: usize,
    batch: usize,
    make: impl Fn(usize) -> T + Sync,
    mut consume: impl FnMut(Range<usize>, Vec<T>) -> Result<(), E>,
) -> Result<(), E> {
    let batch = batch.max(1);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let make = &make;
        scope.spawn(move || {
            for start in (0..count).step_by(batch) {
                let range = start..count.min(start + batch);
                let made: Vec<T> = range.clone().into_par_iter().map(make).collect();
                // Nobody listens any more after an error.
                if sender.send((range, made)).is_err() {
                    return;
                }
            }
        });
        for (range, made) in receiver {
            consume(range, made)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn batches_come_in_order_and_few_are_made_ahead() {
        let made = AtomicUsize::new(0);
        let mut seen = Vec::new();
        let done: Result<(), ()> = in_batches(
            50,
            4,
            |i| {
                made.fetch_add(1, Ordering::SeqCst);
                i * 2
            },
            |range, batch| {
                assert!(made.load(Ordering::SeqCst) <= range.end + 3 * 4);
                assert_eq!(range.len(), batch.len());
                seen.extend(batch);
                Ok(())
            },
        );
        done.unwrap();
        assert_eq!(seen, (0..50).map(|i| i * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_the_work() {
        let made = AtomicUsize::new(0);
        let result = in_batches(
            1000,
            10,
            |_| made.fetch_add(1, Ordering::SeqCst),
            |range, _| {
                if range.start >= 20 {
                    Err("enough")
                } else {
                    Ok(())
                }
            },
        );
        assert_eq!(result, Err("enough"));
        assert!(made.load(Ordering::SeqCst) <= 60);
        assert_eq!(in_batches(0, 8, |i| i, |_, _| Err(())), Ok(()));
    }
}
