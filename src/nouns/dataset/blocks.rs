//! What a lookup needs of the blocks (noun, number), packed: samples are looked
//! up at random, and each place in memory that is far from the others costs as
//! much as making the text.

use crate::nouns::NounsError;
use crate::nouns::article::ArticleRules;
use crate::nouns::dictionary::Vocabulary;
use crate::nouns::noun::Number;

/// A spelling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// How often it counts.
    pub frequency: u32,
    /// Where it begins among all spellings, and its length in bytes.
    start: u32,
    length: u32,
    pub takes_an: bool,
}

/// A block.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Sum of the frequencies of its spellings.
    repeated: u64,
    /// Its first spelling; the next block has the first that is not its.
    first: u32,
    /// Number of hypernyms of its noun.
    hypernyms: u32,
}

/// The spellings of all blocks.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// One per block, and one behind them.
    entries: Vec<Entry>,
    spots: Vec<Spot>,
    /// All spellings, one after the other.
    texts: String,
}

impl Blocks {
    pub(super) fn new(vocabulary: &Vocabulary, articles: ArticleRules) -> Result<Self, NounsError> {
        let mut blocks = Self {
            entries: Vec::with_capacity(2 * vocabulary.len() + 1),
            spots: Vec::with_capacity(2 * vocabulary.len()),
            texts: String::new(),
        };
        for noun in vocabulary.nouns() {
            let hypernyms = narrow(noun.hypernyms.len())?;
            for number in Number::ALL {
                let spellings = noun.spellings(number);
                blocks.entries.push(Entry {
                    repeated: spellings.iter().map(|s| u64::from(s.frequency)).sum(),
                    first: narrow(blocks.spots.len())?,
                    hypernyms,
                });
                for spelling in spellings {
                    blocks.spots.push(Spot {
                        frequency: spelling.frequency,
                        start: narrow(blocks.texts.len())?,
                        length: narrow(spelling.text.len())?,
                        takes_an: articles.takes_an(&spelling.text),
                    });
                    blocks.texts.push_str(&spelling.text);
                }
            }
        }
        blocks.entries.push(Entry {
            repeated: 0,
            first: narrow(blocks.spots.len())?,
            hypernyms: 0,
        });
        Ok(blocks)
    }

    /// Chooses between "a" and "an" by other rules.
    pub(super) fn set_articles(&mut self, articles: ArticleRules) {
        for spot in &mut self.spots {
            let text = &self.texts[spot.start as usize..][..spot.length as usize];
            spot.takes_an = articles.takes_an(text);
        }
    }

    /// Spellings of a block.
    pub(super) fn spots(&self, block: usize) -> &[Spot] {
        let (first, end) = (self.entries[block].first, self.entries[block + 1].first);
        &self.spots[first as usize..end as usize]
    }

    /// Sum of the frequencies of the spellings of a block.
    pub(super) fn repeated(&self, block: usize) -> u64 {
        self.entries[block].repeated
    }

    /// Number of hypernyms of the noun of a block.
    pub(super) fn hypernyms(&self, block: usize) -> usize {
        self.entries[block].hypernyms as usize
    }

    /// A spelling as text.
    pub(super) fn text(&self, spot: Spot) -> &str {
        &self.texts[spot.start as usize..][..spot.length as usize]
    }
}

fn narrow(count: usize) -> Result<u32, NounsError> {
    u32::try_from(count).map_err(|_| NounsError::TooManySamples)
}

/// Finds the block of a sample.
#[derive(Clone, Debug)]
pub(super) struct BlockIndex {
    /// First sample of every block, and the end.
    starts: Vec<u64>,
    /// Block of every sample whose number is a multiple of `2^shift`, and the
    /// last block.
    coarse: Vec<u32>,
    shift: u32,
}

impl BlockIndex {
    pub(super) fn new(starts: Vec<u64>) -> Self {
        let blocks = starts.len().saturating_sub(1) as u64;
        let total = starts.last().copied().unwrap_or(0);
        let shift = (total / blocks.max(1)).checked_ilog2().unwrap_or(0);
        let mut block = 0;
        let mut coarse: Vec<u32> = (0..total)
            .step_by(1 << shift)
            .map(|sample| {
                while starts[block + 1] <= sample {
                    block += 1;
                }
                block as u32
            })
            .collect();
        coarse.push(blocks.saturating_sub(1) as u32);
        Self {
            starts,
            coarse,
            shift,
        }
    }

    /// First sample of every block, and the end.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// Number of samples.
    pub(super) fn total(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The block that holds a sample; blocks without samples hold none.
    pub(super) fn block_of(&self, sample: u64) -> Option<usize> {
        if sample >= self.total() {
            return None;
        }
        let place = (sample >> self.shift) as usize;
        let (first, last) = (self.coarse[place] as usize, self.coarse[place + 1] as usize);
        let later = &self.starts[first + 1..=last];
        Some(first + later.partition_point(|&start| start <= sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_found_in_its_block() {
        let many_small = (0..1000).chain([100_000, 100_000, 100_003]).collect();
        let starts: [Vec<u64>; 6] = [
            vec![0],
            vec![0, 0, 0],
            vec![0, 1],
            vec![0, 0, 3, 3, 3, 10, 10],
            vec![0, 900, 901, 901, 902, 5000],
            many_small,
        ];
        for starts in starts {
            let index = BlockIndex::new(starts.clone());
            for sample in 0..index.total() {
                let block = index.block_of(sample).unwrap();
                assert!((starts[block]..starts[block + 1]).contains(&sample));
            }
            assert_eq!(index.block_of(index.total()), None);
        }
    }
}
