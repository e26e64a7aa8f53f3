//! Numbering, lookup and the text of a sample.

use super::blocks::{BlockIndex, Blocks, Spot};
use super::choices::{Choice, choices_by_count};
use super::samples::Samples;
use crate::nouns::NounsError;
use crate::nouns::article::{ArticleRules, article};
use crate::nouns::dictionary::Vocabulary;
use crate::nouns::noun::Number;
use crate::nouns::templates::{Hypernyms, Prompt, Prompts};

/// Number of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleId {
    /// Unique sample (USID).
    Unique(u64),
    /// Frequency sample (FSID).
    Frequency(u64),
}

/// One unique sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its number among the unique samples.
    pub usid: u64,
    /// The first of its frequency samples.
    pub fsid: u64,
    /// How many frequency samples it has.
    pub count: u64,
    /// Index of its target noun in [`NounDataset::targets`].
    pub target: usize,
    /// The text.
    pub text: &'a str,
}

/// The numbers of one unique sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleNumbers {
    /// Its number among the unique samples.
    pub usid: u64,
    /// The first of its frequency samples.
    pub fsid: u64,
    /// How many frequency samples it has.
    pub count: u64,
    /// Index of its target noun in [`NounDataset::targets`].
    pub target: usize,
}

/// All prompt texts of a vocabulary.
#[derive(Clone, Debug)]
pub struct NounDataset {
    vocabulary: Vocabulary,
    prompts: Prompts,
    hypernyms: Hypernyms,
    articles: ArticleRules,
    choices: Vec<Vec<Choice>>,
    /// Prompt frequencies before each prompt, per number.
    prompt_starts: [Vec<u64>; 2],
    blocks: Blocks,
    /// FSIDs of each block (noun, number).
    fsids: BlockIndex,
    /// USIDs of each block (noun, number).
    usids: BlockIndex,
}

/// A block: one noun in one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub target: usize,
    pub prompts: &'a [Prompt],
    pub choices: &'a [Choice],
    pub spellings: &'a [Spot],
    /// Sum of the frequencies of the spellings.
    pub repeated: u64,
}

/// Positions of a sample inside its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub prompt: usize,
    pub choice: usize,
    pub spelling: usize,
}

impl NounDataset {
    /// Combines nouns and templates.
    ///
    /// Fails if no text comes of it, or more samples than `i64` can count.
    pub fn new(
        vocabulary: Vocabulary,
        prompts: Prompts,
        hypernyms: Hypernyms,
    ) -> Result<Self, NounsError> {
        let most = vocabulary.nouns().map(|n| n.hypernyms.len()).max();
        let choices = choices_by_count(&hypernyms, most.unwrap_or(0));
        let prompt_starts = Number::ALL.map(|number| {
            let frequencies = prompts.of(number).iter().map(|p| p.frequency);
            running_sums(frequencies)
        });
        let articles = ArticleRules::default();
        let (fsids, usids) = number_samples(&vocabulary, &prompts, &hypernyms, &choices)?;
        let dataset = Self {
            blocks: Blocks::new(&vocabulary, articles)?,
            vocabulary,
            prompts,
            hypernyms,
            articles,
            choices,
            prompt_starts,
            fsids,
            usids,
        };
        if dataset.num_samples() == 0 {
            return Err(NounsError::NoSamples {
                singular_prompts: dataset.prompts.of(Number::Singular).len(),
                plural_prompts: dataset.prompts.of(Number::Plural).len(),
            });
        }
        Ok(dataset)
    }

    /// With other rules for "a" and "an".
    #[must_use]
    pub fn with_articles(mut self, articles: ArticleRules) -> Self {
        self.articles = articles;
        self.blocks.set_articles(articles);
        self
    }

    /// The rules for "a" and "an".
    pub fn articles(&self) -> ArticleRules {
        self.articles
    }

    /// The nouns.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The compiled prompts.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// The compiled hypernym templates.
    pub fn hypernyms(&self) -> &Hypernyms {
        &self.hypernyms
    }

    /// The target nouns; [`Sample::target`] is an index into these.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &str> {
        self.vocabulary.targets()
    }

    /// Number of frequency samples (FSIDs).
    pub fn num_samples(&self) -> u64 {
        self.fsids.total()
    }

    /// Number of unique samples (USIDs).
    pub fn num_unique_samples(&self) -> u64 {
        self.usids.total()
    }

    /// First FSID of each noun's singular and plural samples in turn, and the
    /// end: `2 × targets + 1` numbers.
    pub fn fsid_starts(&self) -> &[u64] {
        self.fsids.starts()
    }

    /// As [`NounDataset::fsid_starts`] for USIDs.
    pub fn usid_starts(&self) -> &[u64] {
        self.usids.starts()
    }

    /// All unique samples in order.
    pub fn unique_samples(&self) -> Samples<'_> {
        Samples::new(self, 0)
    }

    /// The unique samples from number `usid` on.
    pub fn unique_samples_from(&self, usid: u64) -> Samples<'_> {
        Samples::new(self, usid)
    }

    /// Finds a sample; its text replaces the content of `text`.
    pub fn lookup<'t>(&self, id: SampleId, text: &'t mut String) -> Result<Sample<'t>, NounsError> {
        let (index, place) = self.place_of(id)?;
        let block = self.block(index);
        text.clear();
        self.write_text(&block, place, text);
        let SampleNumbers {
            usid,
            fsid,
            count,
            target,
        } = self.numbers_of(index, &block, place);
        Ok(Sample {
            usid,
            fsid,
            count,
            target,
            text,
        })
    }

    /// Finds the numbers of a sample, without its text.
    pub fn numbers(&self, id: SampleId) -> Result<SampleNumbers, NounsError> {
        let (index, place) = self.place_of(id)?;
        Ok(self.numbers_of(index, &self.block(index), place))
    }

    fn numbers_of(&self, index: usize, block: &Block<'_>, place: Place) -> SampleNumbers {
        SampleNumbers {
            usid: self.usids.starts()[index] + block.unique_before(place),
            fsid: self.fsids.starts()[index] + self.repetitions_before(index, block, place),
            count: block.count(place),
            target: block.target,
        }
    }

    fn place_of(&self, id: SampleId) -> Result<(usize, Place), NounsError> {
        match id {
            SampleId::Unique(usid) => self.place_of_usid(usid),
            SampleId::Frequency(fsid) => self.place_of_fsid(fsid),
        }
        .ok_or_else(|| {
            let (kind, id, length) = match id {
                SampleId::Unique(usid) => ("USID", usid, self.num_unique_samples()),
                SampleId::Frequency(fsid) => ("FSID", fsid, self.num_samples()),
            };
            NounsError::NoSuchSample { kind, id, length }
        })
    }

    /// Number of blocks (noun, number).
    pub(super) fn num_blocks(&self) -> usize {
        2 * self.vocabulary.len()
    }

    pub(super) fn block(&self, index: usize) -> Block<'_> {
        Block {
            target: index / 2,
            prompts: self.prompts.of(Number::ALL[index % 2]),
            choices: &self.choices[self.blocks.hypernyms(index)],
            spellings: self.blocks.spots(index),
            repeated: self.blocks.repeated(index),
        }
    }

    /// Block and position of a unique sample.
    pub(super) fn place_of_usid(&self, usid: u64) -> Option<(usize, Place)> {
        let index = self.usids.block_of(usid)?;
        let block = self.block(index);
        let (spellings, choices) = (block.spellings.len() as u64, block.choices.len() as u64);
        let offset = usid - self.usids.starts()[index];
        let place = Place {
            prompt: (offset / (spellings * choices)) as usize,
            choice: (offset / spellings % choices) as usize,
            spelling: (offset % spellings) as usize,
        };
        Some((index, place))
    }

    fn place_of_fsid(&self, fsid: u64) -> Option<(usize, Place)> {
        let index = self.fsids.block_of(fsid)?;
        let block = self.block(index);
        let repeated = block.repeated;
        let prompt_starts = &self.prompt_starts[index % 2];

        // Repetitions per unit of prompt frequency, then per unit of choice.
        let per_frequency = self.hypernyms.total_units() * repeated;
        let offset = fsid - self.fsids.starts()[index];
        let prompt = prompt_starts.partition_point(|&start| start <= offset / per_frequency) - 1;
        let offset = offset - prompt_starts[prompt] * per_frequency;

        let per_unit = block.prompts[prompt].frequency * repeated;
        let unit = offset / per_unit;
        let choice = block.choices.partition_point(|c| c.start <= unit) - 1;
        let Choice { start, units, .. } = block.choices[choice];
        let offset = offset - start * per_unit;

        let mut rest = offset / (block.prompts[prompt].frequency * units);
        let spelling = block.spellings.iter().position(|spelling| {
            let frequency = u64::from(spelling.frequency);
            let here = rest < frequency;
            rest = rest.saturating_sub(frequency);
            here
        })?;
        let place = Place {
            prompt,
            choice,
            spelling,
        };
        Some((index, place))
    }

    /// Frequency samples of the block before `place`.
    pub(super) fn repetitions_before(&self, index: usize, block: &Block<'_>, place: Place) -> u64 {
        let repeated = block.repeated;
        let prompt = self.prompt_starts[index % 2][place.prompt] * self.hypernyms.total_units();
        let frequency = block.prompts[place.prompt].frequency;
        let choice = block.choices[place.choice];
        let spellings = block.spellings.iter().take(place.spelling);
        let spelling: u64 = spellings.map(|s| u64::from(s.frequency)).sum();
        (prompt + frequency * choice.start) * repeated + frequency * choice.units * spelling
    }

    /// Appends the text of a sample.
    pub(super) fn write_text(&self, block: &Block<'_>, place: Place, text: &mut String) {
        let prompt = &block.prompts[place.prompt];
        let spelling = block.spellings[place.spelling];
        text.push_str(&prompt.before);
        if prompt.article {
            text.push_str(article(spelling.takes_an));
        }
        text.push_str(self.blocks.text(spelling));
        if let Some((template, hypernym)) = block.choices[place.choice].hypernym {
            let noun = self.vocabulary.noun(block.target);
            self.write_hypernym(noun.hypernyms[hypernym], template, text);
            if prompt.hypernym_comma {
                text.push(',');
            }
        }
        text.push_str(&prompt.after);
    }

    fn write_hypernym(&self, id: u64, template: usize, text: &mut String) {
        let template = &self.hypernyms.templates()[template];
        // Vocabularies are checked to name only hypernyms that exist.
        let hypernym = self.vocabulary.dictionary().noun_by_id(id);
        let target = hypernym.map_or("", |noun| noun.target.as_str());
        text.push_str(&template.before);
        if template.article {
            text.push_str(self.articles.of(target));
        }
        text.push_str(target);
        text.push_str(&template.after);
    }
}

impl Block<'_> {
    /// Repetitions of one sample.
    pub(super) fn count(&self, place: Place) -> u64 {
        let spelling = u64::from(self.spellings[place.spelling].frequency);
        self.prompts[place.prompt].frequency * self.choices[place.choice].units * spelling
    }

    /// Unique samples of the block before `place`.
    fn unique_before(&self, place: Place) -> u64 {
        let choices = place.prompt * self.choices.len() + place.choice;
        (choices * self.spellings.len() + place.spelling) as u64
    }
}

/// Sums of all earlier elements, and of all.
fn running_sums(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut sum = 0;
    let mut sums = vec![0];
    sums.extend(numbers.map(|number| {
        sum += number;
        sum
    }));
    sums
}

/// The FSIDs and the USIDs of all blocks.
fn number_samples(
    vocabulary: &Vocabulary,
    prompts: &Prompts,
    hypernyms: &Hypernyms,
    choices: &[Vec<Choice>],
) -> Result<(BlockIndex, BlockIndex), NounsError> {
    let weights = Number::ALL.map(|number| {
        let prompts = prompts.of(number);
        let frequencies = prompts.iter().map(|p| u128::from(p.frequency));
        (frequencies.sum::<u128>(), prompts.len() as u128)
    });
    let units = u128::from(hypernyms.total_units());
    let (mut fsid, mut usid) = (0_u128, 0_u128);
    let mut fsids = Vec::with_capacity(2 * vocabulary.len() + 1);
    let mut usids = Vec::with_capacity(2 * vocabulary.len() + 1);
    for noun in vocabulary.nouns() {
        let choices = choices[noun.hypernyms.len()].len() as u128;
        for (number, (frequency, prompts)) in Number::ALL.into_iter().zip(weights) {
            fsids.push(sample_number(fsid)?);
            usids.push(sample_number(usid)?);
            let spellings = noun.spellings(number);
            let repeated: u128 = spellings.iter().map(|s| u128::from(s.frequency)).sum();
            // Each factor is below 2⁶⁴ and the first two are sums of 32-bit
            // numbers in a file of limited size.
            let repetitions = frequency
                .checked_mul(units)
                .and_then(|product| product.checked_mul(repeated))
                .ok_or(NounsError::TooManySamples)?;
            fsid = fsid.saturating_add(repetitions);
            usid += prompts * choices * spellings.len() as u128;
        }
    }
    fsids.push(sample_number(fsid)?);
    usids.push(sample_number(usid)?);
    Ok((BlockIndex::new(fsids), BlockIndex::new(usids)))
}

fn sample_number(number: u128) -> Result<u64, NounsError> {
    i64::try_from(number)
        .map(i64::unsigned_abs)
        .map_err(|_| NounsError::TooManySamples)
}
