//! Which captions are used, and how often.

use super::Captions;
use crate::nouns::dictionary::Vocabulary;
use crate::nouns::error::NounsError;
use crate::nouns::noun::{Noun, Number};
use crate::random::{Draws, Purpose};

/// How many captions are used and how many samples are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionCounts {
    templates: u64,
    samples: u64,
}

impl CaptionCounts {
    /// At most `templates` captions per unit of noun frequency, exactly
    /// `samples` samples.
    ///
    /// # Errors
    /// One of them is 0.
    pub fn new(templates: u64, samples: u64) -> Result<Self, NounsError> {
        match templates.min(samples) {
            0 => Err(NounsError::CaptionMultipliers { templates, samples }),
            templates => Ok(Self { templates, samples }),
        }
    }

    /// Captions per unit of frequency, at most as many as samples.
    pub fn templates(self) -> u64 {
        self.templates
    }

    /// Samples per unit of frequency.
    pub fn samples(self) -> u64 {
        self.samples
    }
}

/// The captions of a noun that are used, in the order of their use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NounChoice {
    /// Index of the noun in the vocabulary.
    pub target: usize,
    /// Captions with `{singular}`, then captions with `{plural}`.
    pub captions: [Vec<String>; 2],
}

/// The captions that are used, and the samples they make.
#[derive(Clone, Debug)]
pub struct ChosenCaptions {
    pub(super) vocabulary: Vocabulary,
    pub(super) counts: CaptionCounts,
    pub(super) nouns: Vec<NounChoice>,
    /// First sample of each noun's singular and plural samples in turn, and
    /// the end.
    pub(super) starts: Vec<u64>,
}

impl ChosenCaptions {
    /// Draws captions by `seed`: per noun and number without replacement, as
    /// many as there are, but not more than its frequency asks for.
    ///
    /// # Errors
    /// No caption can be used.
    pub fn draw(
        source: &str,
        captions: &Captions,
        vocabulary: Vocabulary,
        counts: CaptionCounts,
        seed: u64,
    ) -> Result<Self, NounsError> {
        let choose = |noun: &super::NounCaptions| {
            let entry = vocabulary.noun(noun.target);
            let mut choice = NounChoice {
                target: noun.target,
                captions: [Vec::new(), Vec::new()],
            };
            for (index, number) in Number::ALL.into_iter().enumerate() {
                let all = &noun.captions[index];
                let limit = counts.templates.saturating_mul(repeated(entry, number));
                let kept = (all.len() as u64).min(limit) as usize;
                let place = 2 * noun.target as u64 + index as u64;
                let mut draws = Draws::new(Purpose::Captions, seed, place);
                let order = draws.permutation(all.len() as u32);
                let chosen = order.iter().take(kept).map(|&at| all[at as usize].clone());
                choice.captions[index] = chosen.collect();
            }
            choice
        };
        let nouns = captions.nouns.iter().map(choose).collect();
        let chosen = Self::of(vocabulary, counts, nouns);
        if chosen.num_samples() == 0 {
            return Err(NounsError::NoUsableCaption {
                file: source.to_owned(),
                unknown: captions.unknown_nouns,
                known: captions.nouns.len() as u64,
            });
        }
        Ok(chosen)
    }

    /// A choice that was made elsewhere. Nouns without a caption are left out.
    pub fn of(vocabulary: Vocabulary, counts: CaptionCounts, nouns: Vec<NounChoice>) -> Self {
        let nouns: Vec<NounChoice> = nouns
            .into_iter()
            .filter(|noun| noun.captions.iter().any(|captions| !captions.is_empty()))
            .collect();
        let mut starts = Vec::with_capacity(2 * nouns.len() + 1);
        let mut samples = 0;
        for noun in &nouns {
            let entry = vocabulary.noun(noun.target);
            for (number, captions) in Number::ALL.into_iter().zip(&noun.captions) {
                starts.push(samples);
                if !captions.is_empty() {
                    samples += counts.samples * repeated(entry, number);
                }
            }
        }
        starts.push(samples);
        Self {
            vocabulary,
            counts,
            nouns,
            starts,
        }
    }

    /// The nouns with the captions that are used.
    pub fn nouns(&self) -> &[NounChoice] {
        &self.nouns
    }

    /// Number of samples.
    pub fn num_samples(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// About `wanted` samples to show to people, drawn by `seed`: each one with
    /// the same probability.
    pub fn shown(&self, wanted: u64, seed: u64) -> Vec<u64> {
        let samples = self.num_samples();
        if wanted == 0 {
            return Vec::new();
        }
        let mut draws = Draws::new(Purpose::Shown, seed, 0);
        (0..samples)
            .filter(|_| draws.below(samples) < wanted)
            .collect()
    }
}

/// Sum of the frequencies of the spellings of a number.
fn repeated(noun: &Noun, number: Number) -> u64 {
    let spellings = noun.spellings(number).iter();
    spellings
        .map(|spelling| u64::from(spelling.frequency))
        .sum()
}
