//! Random permutations that need no table: row → sample in constant memory.

use crate::random::{Draws, Purpose};

/// Up to this many elements a permutation is a table, drawn uniformly.
const TABLE: u64 = 1 << 20;

/// Rounds of the network.
const ROUNDS: usize = 8;

/// A permutation of `0..n` that depends on a seed only.
///
/// Small ones are tables. Larger ones are a balanced Feistel network over the
/// smallest even number of bits that can count `n`, walked until the result
/// lies below `n`; its round function is the finaliser of SplitMix64 over the
/// half and a round key from ChaCha8.
#[derive(Clone, Debug)]
pub(super) struct KeyedPermutation(Form);

#[derive(Clone, Debug)]
enum Form {
    Table(Vec<u32>),
    Network {
        n: u64,
        half_bits: u32,
        keys: [u64; ROUNDS],
    },
}

impl KeyedPermutation {
    pub(super) fn new(seed: u64, n: u64) -> Self {
        if n <= TABLE {
            return Self(Form::Table(
                Draws::new(Purpose::MergedRows, seed, 0).permutation(n as u32),
            ));
        }
        Self::network(seed, n)
    }

    fn network(seed: u64, n: u64) -> Self {
        let mut draws = Draws::new(Purpose::MergedRows, seed, 0);
        let bits = u64::BITS - (n - 1).leading_zeros();
        Self(Form::Network {
            n,
            half_bits: bits.div_ceil(2),
            keys: std::array::from_fn(|_| draws.number()),
        })
    }

    /// Element `index`; `index` must be below `n`.
    pub(super) fn at(&self, index: u64) -> u64 {
        match &self.0 {
            Form::Table(table) => u64::from(table[index as usize]),
            Form::Network { n, half_bits, keys } => {
                let mut value = index;
                loop {
                    value = feistel(value, *half_bits, keys);
                    if value < *n {
                        return value;
                    }
                }
            }
        }
    }
}

fn feistel(value: u64, half_bits: u32, keys: &[u64; ROUNDS]) -> u64 {
    let mask = (1 << half_bits) - 1;
    let (mut left, mut right) = (value >> half_bits, value & mask);
    for key in keys {
        (left, right) = (right, left ^ (mix(right ^ key) & mask));
    }
    left << half_bits | right
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_hits_every_element_once() {
        for n in [1, 2, 3, 7, 64, 1000, 4097] {
            for form in [KeyedPermutation::new(3, n), KeyedPermutation::network(3, n)] {
                let mut seen: Vec<u64> = (0..n).map(|index| form.at(index)).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn neighbours_are_spread_over_the_whole_range() {
        let n = 92_000_000;
        let order = KeyedPermutation::new(1, n);
        let mut counts = [0_u32; 16];
        for index in 40_000_000..40_016_000 {
            counts[(order.at(index) * 16 / n) as usize] += 1;
        }
        // A standard deviation is 31.
        assert!(
            counts.iter().all(|&count| (820..1180).contains(&count)),
            "{counts:?}"
        );
        let other = KeyedPermutation::new(2, n);
        assert!((0..1000).filter(|&i| order.at(i) == other.at(i)).count() < 3);
    }
}
