//! Random streams of a training: one per purpose, seekable by position, so that
//! a resumed run draws what the uninterrupted one would have drawn and nothing
//! but the seed and the position need to be stored (`training.md` 2.9).
//!
//! A stream is ChaCha8 with the 32-byte key `"novic" | purpose (11 bytes, zero
//! padded) | seed (u64) | position (u64)`, little-endian, as the cache's orders
//! are (which have purposes of their own).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; position 0.
    Init,
    /// Embedding noise; position = batch number.
    Noise,
    /// Dropout masks; position = batch number.
    Dropout,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Init => b"init",
            Self::Noise => b"noise",
            Self::Dropout => b"dropout",
        }
    }
}

/// Generator for one purpose at one position of a run with seed `seed`.
pub fn stream(seed: u64, purpose: Purpose, position: u64) -> ChaCha8Rng {
    const LABEL: &[u8] = b"novic";
    let mut key = [0; 32];
    key[..LABEL.len()].copy_from_slice(LABEL);
    let name = purpose.name();
    key[LABEL.len()..LABEL.len() + name.len()].copy_from_slice(name);
    key[16..24].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(&position.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_position() {
        let first = |seed, purpose, position| stream(seed, purpose, position).next_u64();
        let base = first(1, Purpose::Noise, 1);
        assert_eq!(base, first(1, Purpose::Noise, 1));
        assert_ne!(base, first(2, Purpose::Noise, 1));
        assert_ne!(base, first(1, Purpose::Dropout, 1));
        assert_ne!(base, first(1, Purpose::Noise, 2));
    }
}
