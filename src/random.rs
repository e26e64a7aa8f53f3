//! Random orders that are the same on every machine and with every version
//! of our dependencies; used by every room that shuffles data.
//!
//! A generator is ChaCha8 with the 32-byte key
//! `"novic" | purpose (11 bytes, zero padded) | seed (u64) | index (u64)`,
//! little-endian, stream 0, position 0. A number below `n` is the high half
//! of `x · n` for a 64-bit draw `x`, drawn again while the low half is below
//! `2⁶⁴ mod n`. A permutation is the identity after swapping each place `i`,
//! from the last down to 1, with place `below(i + 1)`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What an order is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Rows of a written file.
    FileRows,
    /// Order of the batches of an epoch.
    BatchOrder,
    /// Shift of the batches of an epoch.
    BatchOffset,
    /// Rows of a window of batches.
    WindowRows,
    /// Rows of merged files.
    MergedRows,
    /// Nouns that are combined in texts of several.
    Multiset,
    /// Which captions are used.
    Captions,
    /// Which samples are shown to people.
    Shown,
    /// Which samples of a dataset are evaluated.
    Evaluated,
    /// Which nouns are asked about together.
    Annotation,
    /// Which pictures are drawn.
    Sampled,
    /// Order of the pages of an encyclopaedia.
    WikiTitles,
    /// Order in which people are asked.
    Judged,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::FileRows => b"file rows",
            Self::BatchOrder => b"batch order",
            Self::BatchOffset => b"batch shift",
            Self::WindowRows => b"window rows",
            Self::MergedRows => b"merged rows",
            Self::Multiset => b"multiset",
            Self::Captions => b"captions",
            Self::Shown => b"shown",
            Self::Evaluated => b"evaluated",
            Self::Annotation => b"annotation",
            Self::Sampled => b"sampled",
            Self::WikiTitles => b"wiki titles",
            Self::Judged => b"judged",
        }
    }
}

/// A generator for one purpose.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(purpose: Purpose, seed: u64, index: u64) -> Self {
        const LABEL: &[u8] = b"novic";
        let mut key = [0; 32];
        key[..LABEL.len()].copy_from_slice(LABEL);
        let name = purpose.name();
        key[LABEL.len()..LABEL.len() + name.len()].copy_from_slice(name);
        key[16..24].copy_from_slice(&seed.to_le_bytes());
        key[24..].copy_from_slice(&index.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..n`; `n` must not be 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            let low = product as u64;
            // The rest of a division by `n` is below `n`: it is seldom needed.
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// A permutation of `0..n`.
    pub(crate) fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_pinned() {
        assert_eq!(
            Draws::new(Purpose::FileRows, 1, 0).permutation(8),
            Draws::new(Purpose::FileRows, 1, 0).permutation(8)
        );
        assert_ne!(
            Draws::new(Purpose::BatchOrder, 1, 0).permutation(50),
            Draws::new(Purpose::BatchOrder, 1, 1).permutation(50)
        );
    }

    #[test]
    fn small_permutations_are_uniform() {
        let mut counts = std::collections::HashMap::new();
        let mut draws = Draws::new(Purpose::FileRows, 7, 0);
        for _ in 0..24_000 {
            *counts.entry(draws.permutation(4)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| (850..1150).contains(&count)));
    }
}
