//! The captions of one noun while they are written.

use serde::Serialize;

use super::answer::{Answer, AnswerEnd, Lines};
use super::matching::{self, Rejected};
use super::original;
use super::question::Question;
use crate::nouns::canonical::{collapse_spaces, transliterated};
use crate::nouns::captions::field;
use crate::nouns::noun::{Noun, Number};

/// Fewest characters of a caption.
const SHORTEST: usize = 10;

/// Fruitless answers after which a noun is given up: one more than these at its
/// begin, these after one that was not.
const FRUITLESS: u32 = 3;

/// Refusals after which a noun is given up.
const REFUSALS: u32 = 2;

/// How lines of answers become captions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptionParser {
    /// Nouns as words, nothing of them left over, no caption twice.
    #[default]
    Mended,
    /// As the original does.
    Original,
}

/// Spellings of a noun, as they are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spellings {
    pretty: String,
    lists: [Vec<String>; 2],
    /// Every spelling in ASCII with its numbers, longest first.
    by_length: Vec<(String, [bool; 2])>,
}

impl Spellings {
    pub(super) fn new(pretty: &str, singulars: &[&str], plurals: &[&str]) -> Self {
        let lists = [singulars, plurals].map(|list| list.iter().map(|&s| s.to_owned()).collect());
        let mut by_length: Vec<(String, [bool; 2])> = Vec::new();
        let shown = (!singulars.is_empty()).then_some((pretty, 0));
        let all = shown
            .into_iter()
            .chain(singulars.iter().map(|&s| (s, 0)))
            .chain(plurals.iter().map(|&s| (s, 1)));
        for (spelling, number) in all {
            let spelling = collapse_spaces(&transliterated(spelling)).to_lowercase();
            match by_length.iter_mut().find(|(known, _)| *known == spelling) {
                Some((_, numbers)) => numbers[number] = true,
                None if spelling.is_empty() => {}
                None => by_length.push((spelling, [number == 0, number == 1])),
            }
        }
        by_length.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self {
            pretty: pretty.to_owned(),
            lists,
            by_length,
        }
    }

    pub(super) fn pretty(&self) -> &str {
        &self.pretty
    }

    pub(super) fn of(&self, number: Number) -> &[String] {
        &self.lists[place(number)]
    }

    pub(super) fn by_length(&self) -> impl Iterator<Item = (&str, [bool; 2])> {
        self.by_length
            .iter()
            .map(|(spelling, numbers)| (spelling.as_str(), *numbers))
    }
}

/// Place of a number in pairs.
pub(super) fn place(number: Number) -> usize {
    match number {
        Number::Singular => 0,
        Number::Plural => 1,
    }
}

/// Whether a noun needs more captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// It does.
    Open,
    /// It has as many as are wanted.
    Complete,
    /// It gets none in this run.
    Parked(Parked),
}

/// Why a noun gets no more captions in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parked {
    /// Several answers in a row had no new caption.
    Fruitless,
    /// The model refuses.
    Refused,
    /// The service did not answer, or not this question.
    Failed,
}

/// What became of the lines of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineCounts {
    /// Became captions.
    pub accepted: u64,
    /// Are no numbered line.
    pub bad: u64,
    /// Are too short.
    pub short: u64,
    /// Do not have the noun.
    pub unmatched: u64,
    /// Were known already.
    pub duplicate: u64,
    /// Have braces.
    pub braces: u64,
    /// Have the noun in both numbers.
    pub mixed: u64,
}

impl std::ops::AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.bad += other.bad;
        self.short += other.short;
        self.unmatched += other.unmatched;
        self.duplicate += other.duplicate;
        self.braces += other.braces;
        self.mixed += other.mixed;
    }
}

/// The captions of one noun, and what is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionWork {
    spellings: Spellings,
    /// Spelling that plural questions show.
    plural: Option<String>,
    captions: [Vec<String>; 2],
    wanted: [u64; 2],
    fruitless: u32,
    refusals: u32,
    cuts: u32,
    parked: Option<Parked>,
}

impl CaptionWork {
    /// The captions that `noun` has, `[singular, plural]`, and how many of each
    /// are wanted.
    pub fn new(noun: &Noun, captions: [Vec<String>; 2], wanted: [u64; 2]) -> Self {
        let texts = |number| -> Vec<&str> {
            let spellings = noun.spellings(number).iter();
            spellings.map(|spelling| spelling.text.as_str()).collect()
        };
        // The first of the most frequent ones.
        let most = noun.plurals.iter().map(|plural| plural.frequency).max();
        let plural = noun
            .plurals
            .iter()
            .find(|plural| Some(plural.frequency) == most);
        Self {
            spellings: Spellings::new(
                &noun.pretty,
                &texts(Number::Singular),
                &texts(Number::Plural),
            ),
            plural: plural.map(|plural| plural.text.clone()),
            captions,
            wanted,
            fruitless: 0,
            refusals: 0,
            cuts: 0,
            parked: None,
        }
    }

    /// The captions, `[singular, plural]`.
    pub fn captions(&self) -> &[Vec<String>; 2] {
        &self.captions
    }

    /// How many captions are wanted, `[singular, plural]`.
    pub fn wanted(&self) -> [u64; 2] {
        self.wanted
    }

    /// How many are missing, `[singular, plural]`.
    pub fn missing(&self) -> [u64; 2] {
        [0, 1].map(|at| self.wanted[at].saturating_sub(self.captions[at].len() as u64))
    }

    /// Whether it needs more.
    pub fn state(&self) -> WorkState {
        match self.parked {
            Some(why) => WorkState::Parked(why),
            None if self.missing() == [0, 0] => WorkState::Complete,
            None => WorkState::Open,
        }
    }

    /// What to ask next, for `per_call` captions; nothing unless it is open.
    /// After an answer that was cut and useless, one may be twice as long; after
    /// another one, fewer are asked for.
    pub fn question(&self, per_call: usize) -> Option<Question> {
        if self.state() != WorkState::Open {
            return None;
        }
        let (noun, number) = match self.missing() {
            [0, _] => (self.plural.as_deref()?, Number::Plural),
            _ => (self.spellings.pretty(), Number::Singular),
        };
        let halvings = self.cuts.saturating_sub(1).min(usize::BITS - 1);
        Some(Question {
            noun: noun.to_owned(),
            number,
            count: (per_call >> halvings).max(1),
            longer: self.cuts > 0,
        })
    }

    /// Takes an answer.
    pub fn take(&mut self, answer: &Answer, parser: CaptionParser) -> LineCounts {
        let mut counts = LineCounts::default();
        match answer.lines() {
            Lines::Listed(captions) => {
                for caption in captions {
                    self.take_caption(&caption, parser, &mut counts);
                }
            }
            Lines::Numbered(lines) => {
                for line in lines {
                    match numbered(line) {
                        Some(caption) => self.take_caption(caption, parser, &mut counts),
                        None if line.is_empty() => {}
                        None => counts.bad += 1,
                    }
                }
            }
        }
        if counts.accepted > 0 {
            self.fruitless = 0;
            self.refusals = 0;
        } else if answer.end == AnswerEnd::Length {
            self.cuts += 1;
        }
        if answer.end == AnswerEnd::Refused {
            self.refusals += 1;
        }
        if self.refusals >= REFUSALS {
            self.parked = Some(Parked::Refused);
        } else if self.fruitless > FRUITLESS {
            self.parked = Some(Parked::Fruitless);
        } else {
            self.fruitless += 1;
        }
        counts
    }

    /// Gets no more in this run.
    pub fn park(&mut self, why: Parked) {
        self.parked = Some(why);
    }

    /// Fruitless answers in a row.
    pub(super) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// Goes on where a run that was killed had been.
    pub(super) fn resume(&mut self, fruitless: u32, parked: Option<Parked>) {
        self.fruitless = fruitless;
        self.parked = parked;
    }

    fn take_caption(&mut self, text: &str, parser: CaptionParser, counts: &mut LineCounts) {
        let caption = transliterated(text.trim());
        if caption.chars().count() < SHORTEST {
            counts.short += 1;
            return;
        }
        let [singular, plural] = match parser {
            CaptionParser::Mended => {
                let caption = collapse_spaces(&caption);
                match matching::templates(&caption, &self.spellings) {
                    Ok(templates) => self.without_known(templates, counts),
                    Err(why) => {
                        *match why {
                            Rejected::Braces => &mut counts.braces,
                            Rejected::Unmatched => &mut counts.unmatched,
                            Rejected::Mixed => &mut counts.mixed,
                        } += 1;
                        return;
                    }
                }
            }
            CaptionParser::Original => {
                let template = |number: Number| {
                    let known = &self.captions[place(number)];
                    original::template(caption.trim(), &self.spellings, number, known)
                };
                let [(singular, first), (plural, second)] = Number::ALL.map(template);
                if first || second {
                    counts.duplicate += 1;
                } else if singular.is_none() && plural.is_none() {
                    counts.unmatched += 1;
                }
                [singular, plural]
            }
        };
        let lacks = |at: usize| self.wanted[at] as i64 - self.captions[at].len() as i64;
        let (at, template) = match (singular, plural) {
            (Some(singular), Some(_)) if lacks(0) > lacks(1) => (0, singular),
            (_, Some(plural)) => (1, plural),
            (Some(singular), None) => (0, singular),
            (None, None) => return,
        };
        self.captions[at].push(template);
        counts.accepted += 1;
    }

    /// The templates, unless one that differs by its number only is known.
    fn without_known(
        &self,
        templates: [Option<String>; 2],
        counts: &mut LineCounts,
    ) -> [Option<String>; 2] {
        let neutral = |template: &str| {
            Number::ALL
                .iter()
                .fold(template.to_owned(), |text, number| {
                    text.replace(field(*number), "{}")
                })
        };
        let Some(new) = templates.iter().flatten().next().map(|text| neutral(text)) else {
            return templates;
        };
        let mut known = self.captions.iter().flatten();
        if known.any(|known| neutral(known) == new) {
            counts.duplicate += 1;
            return [None, None];
        }
        templates
    }
}

/// The text behind the number of a line.
fn numbered(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if digits.len() == rest.len() {
        return None;
    }
    digits.trim_start().strip_prefix('.')
}
