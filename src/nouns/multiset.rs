//! Texts of several nouns (`nouns-captions.md` section 5, `embedding-cache.md`
//! section 7).
//!
//! Samples come in repetitions of the noun dataset. A repetition with one noun
//! per text is the noun dataset itself. One with `k` nouns takes every prompt
//! as often as it counts; each time, `k` random permutations of all spellings,
//! every spelling as often as it counts, are combined position by position.

use std::ops::Range;

use super::article::article;
use super::dataset::NounDataset;
use super::error::NounsError;
use super::noun::Number;
use super::templates::Prompt;
use super::text_samples::{NounTexts, TextSamples};
use crate::random::{Draws, Purpose};

/// What is put between the nouns of a text.
const SEPARATOR: &str = " and ";

/// A spelling of a noun. They are drawn at random, so what a text needs of one
/// lies close together.
#[derive(Clone, Copy, Debug)]
struct Item {
    noun: u32,
    /// Where it begins among [`Items::texts`], and its length in bytes.
    start: u32,
    len: u32,
    takes_an: bool,
}

/// Every spelling of one number as often as it counts.
#[derive(Clone, Debug, Default)]
struct Items {
    items: Vec<Item>,
    /// The spellings, one after the other.
    texts: String,
}

impl Items {
    fn new(dataset: &NounDataset, number: Number) -> Option<Self> {
        let mut made = Self::default();
        for (noun, entry) in dataset.vocabulary().nouns().enumerate() {
            for spelling in entry.spellings(number) {
                let text = &spelling.text;
                let item = Item {
                    noun: u32::try_from(noun).ok()?,
                    start: u32::try_from(made.texts.len()).ok()?,
                    len: u32::try_from(text.len()).ok()?,
                    takes_an: dataset.articles().takes_an(text),
                };
                made.texts.push_str(text);
                let count = spelling.frequency as usize;
                made.items.extend(std::iter::repeat_n(item, count));
            }
        }
        Some(made)
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn text(&self, item: Item) -> &str {
        &self.texts[item.start as usize..][..item.len as usize]
    }
}

/// All texts with several nouns of a noun dataset.
#[derive(Clone, Debug)]
pub struct Multiset<'a> {
    dataset: &'a NounDataset,
    /// Repetitions with 1, 2, 3, … nouns per text; the last is not 0.
    repetitions: Vec<u64>,
    seed: u64,
    /// The spellings of each number.
    items: [Items; 2],
}

impl<'a> Multiset<'a> {
    /// Texts with `k` nouns in `repetitions[k - 1]` repetitions, combined at
    /// random by `seed`.
    ///
    /// # Errors
    /// The noun dataset has hypernyms, there are no repetitions, or more
    /// samples than can be counted.
    pub fn new(
        dataset: &'a NounDataset,
        repetitions: &[usize],
        seed: u64,
    ) -> Result<Self, NounsError> {
        if !dataset.hypernyms().templates().is_empty() || dataset.hypernyms().total_units() != 1 {
            return Err(NounsError::MultisetWithHypernyms);
        }
        let used = repetitions.iter().rposition(|&count| count > 0);
        let used = used.ok_or(NounsError::EmptyMultiset)? + 1;
        let repetitions: Vec<u64> = repetitions[..used]
            .iter()
            .map(|&count| count as u64)
            .collect();
        let total: u128 = repetitions.iter().map(|&count| u128::from(count)).sum();
        if total * u128::from(dataset.num_samples()) > u128::from(u32::MAX) {
            return Err(NounsError::MultisetTooLarge {
                samples: total * u128::from(dataset.num_samples()),
            });
        }
        let [singulars, plurals] = Number::ALL.map(|number| Items::new(dataset, number));
        let (Some(singulars), Some(plurals)) = (singulars, plurals) else {
            return Err(NounsError::TooManySamples);
        };
        Ok(Self {
            dataset,
            repetitions,
            seed,
            items: [singulars, plurals],
        })
    }

    /// Number of samples.
    pub fn num_samples(&self) -> u64 {
        self.repetitions.iter().sum::<u64>() * self.dataset.num_samples()
    }

    /// Largest number of nouns in a text.
    pub fn most_nouns(&self) -> usize {
        self.repetitions.len()
    }

    /// Whether every text has that many.
    pub fn is_full(&self) -> bool {
        let (_, fewer) = self.repetitions.split_last().unwrap_or((&0, &[]));
        fewer.iter().all(|&count| count == 0)
    }

    /// The texts from sample `start` on; none behind the last.
    pub fn texts_from(&self, start: u64) -> MultisetTexts<'_> {
        MultisetTexts {
            multiset: self,
            next: start,
            singles: None,
            combined: None,
        }
    }

    /// Nouns per text of a repetition.
    fn nouns_in(&self, repetition: u64) -> usize {
        let mut before = 0;
        let counts = self.repetitions.iter();
        counts
            .take_while(|&&count| {
                before += count;
                before <= repetition
            })
            .count()
            + 1
    }

    /// Where sample `at` of a repetition is.
    fn place(&self, mut at: u64) -> Option<Place> {
        let mut copies_before = 0;
        for (index, number) in Number::ALL.into_iter().enumerate() {
            let len = self.items[index].len() as u64;
            for (prompt, Prompt { frequency, .. }) in
                self.dataset.prompts().of(number).iter().enumerate()
            {
                if at < frequency * len {
                    return Some(Place {
                        number: index,
                        prompt,
                        copy: copies_before + at / len,
                        position: at % len,
                    });
                }
                at -= frequency * len;
                copies_before += frequency;
            }
        }
        None
    }
}

/// Place of a sample within a repetition.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// 0 singular, 1 plural.
    number: usize,
    prompt: usize,
    /// Uses of prompts before this one.
    copy: u64,
    position: u64,
}

/// An enumeration of the texts of a [`Multiset`].
#[derive(Debug)]
pub struct MultisetTexts<'a> {
    multiset: &'a Multiset<'a>,
    next: u64,
    /// Repetition with single nouns that is being read.
    singles: Option<(u64, NounTexts<'a>)>,
    combined: Option<Combination>,
}

/// One use of a prompt: which items come at which position.
#[derive(Debug)]
struct Combination {
    /// Samples of all repetitions before its first one and behind its last one.
    samples: Range<u64>,
    number: Number,
    prompt: usize,
    /// A permutation of the items for every noun of a text.
    orders: Vec<Vec<u32>>,
}

impl<'a> MultisetTexts<'a> {
    fn single(
        &mut self,
        repetition: u64,
        at: u64,
        text: &mut String,
        targets: &mut Vec<usize>,
    ) -> Option<u64> {
        if self
            .singles
            .as_ref()
            .is_none_or(|(known, _)| *known != repetition)
        {
            self.singles = Some((repetition, self.multiset.dataset.texts_from(at).ok()?));
        }
        self.singles.as_mut()?.1.next_text(text, targets)
    }

    /// The combination that sample `next` is of.
    fn combination(&mut self) -> Option<&Combination> {
        let next = self.next;
        let is_known = |known: &Combination| known.samples.contains(&next);
        if !self.combined.as_ref().is_some_and(is_known) {
            let samples = self.multiset.dataset.num_samples();
            let (repetition, at) = (next / samples, next % samples);
            let place = self.multiset.place(at)?;
            let items = &self.multiset.items[place.number];
            // There are at most 2³² samples, hence copies and repetitions.
            let index = (repetition << 32) | place.copy;
            let mut draws = Draws::new(Purpose::Multiset, self.multiset.seed, index);
            let nouns = self.multiset.nouns_in(repetition);
            let orders = (0..nouns).map(|_| draws.permutation(items.len() as u32));
            let first = next - place.position;
            self.combined = Some(Combination {
                samples: first..first + items.len() as u64,
                number: Number::ALL[place.number],
                prompt: place.prompt,
                orders: orders.collect(),
            });
        }
        self.combined.as_ref()
    }

    fn combine(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64> {
        let (multiset, next) = (self.multiset, self.next);
        let combination = self.combination()?;
        let position = (next - combination.samples.start) as usize;
        let items = &multiset.items[combination.number as usize];
        let prompt = &multiset.dataset.prompts().of(combination.number)[combination.prompt];
        text.clear();
        targets.clear();
        text.push_str(&prompt.before);
        for (at, order) in combination.orders.iter().enumerate() {
            let item = items.items[order[position] as usize];
            if at > 0 {
                text.push_str(SEPARATOR);
            }
            if prompt.article {
                text.push_str(article(item.takes_an));
            }
            text.push_str(items.text(item));
            targets.push(item.noun as usize);
        }
        text.push_str(&prompt.after);
        Some(1)
    }
}

impl TextSamples for MultisetTexts<'_> {
    fn next_text(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64> {
        if self.next >= self.multiset.num_samples() {
            return None;
        }
        let samples = self.multiset.dataset.num_samples();
        let repetition = self.next / samples;
        let count = match self.multiset.nouns_in(repetition) {
            1 => self.single(repetition, self.next % samples, text, targets)?,
            _ => self.combine(text, targets)?,
        };
        self.next += count;
        Some(count)
    }
}
