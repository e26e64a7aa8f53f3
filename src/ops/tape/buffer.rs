//! Buffers that are used again: a training step of a decoder needs some hundred
//! arrays of the same sizes as the step before, and fresh memory costs a page
//! fault for every 4 KiB and its clearing.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor};

use super::host::host;

/// Smaller arrays are left to the allocator.
const SMALLEST: usize = 4096;

/// Buffers of earlier passes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<f32>>>>);

impl Pool {
    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        // A list of buffers is never left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` numbers of any value.
    pub fn take(&self, len: usize) -> Buffer {
        if len < SMALLEST {
            return self.hold(vec![0.0; len]);
        }
        let mut free = self.free();
        let fits = |values: &Vec<f32>| values.capacity() >= len && values.capacity() <= 2 * len;
        let best = (0..free.len())
            .filter(|&i| fits(&free[i]))
            .min_by_key(|&i| free[i].capacity());
        let found = best.map(|i| free.swap_remove(i));
        drop(free);
        let mut values = found.unwrap_or_else(|| Vec::with_capacity(rounded(len)));
        values.resize(len, 0.0);
        self.hold(values)
    }

    /// A buffer of `len` zeros.
    pub fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A buffer that holds `values`.
    pub fn copy(&self, values: &[f32]) -> Buffer {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    fn hold(&self, values: Vec<f32>) -> Buffer {
        Buffer {
            values,
            pool: self.clone(),
        }
    }
}

/// Sizes differ a little from batch to batch; rounded up to a quarter of a power
/// of two they fit the same buffers.
fn rounded(len: usize) -> usize {
    let step = (len.next_power_of_two() / 8).max(1);
    len.next_multiple_of(step)
}

/// Numbers that go back to their pool in the end.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    pool: Pool,
}

impl Buffer {
    /// A copy of the elements of `tensor`.
    ///
    /// # Errors
    /// A tensor that is not contiguous f32 on the CPU.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        Ok(Pool::default().copy(&host(tensor)?))
    }

    /// The numbers; they do not go back.
    pub fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.values)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.values.capacity() >= SMALLEST {
            self.pool.free().push(std::mem::take(&mut self.values));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_for_about_the_same_size() {
        let pool = Pool::default();
        let first = pool.copy(&[1.0; 10_000]);
        let place = first.as_ptr();
        drop(first);
        assert_ne!(pool.take(1_000_000).as_ptr(), place);
        let second = pool.zeros(10_100);
        assert_eq!(second.as_ptr(), place);
        assert_eq!(*second, [0.0; 10_100]);
        assert_ne!(pool.take(10_000).as_ptr(), place);
        assert_eq!(second.into_vec().len(), 10_100);
    }
}
