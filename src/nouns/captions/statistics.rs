//! What people should know about the captions of a run.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{CaptionNumbers, Captions, ChosenCaptions};
use crate::nouns::noun::Number;
use crate::nouns::text_samples::TextSamples;

/// Numbers of captions, nouns and samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptionStatistics {
    /// Nouns of the vocabulary that the file has.
    pub known_nouns: u64,
    /// Nouns of the file that the vocabulary does not have.
    pub unknown_nouns: u64,
    /// Nouns of the vocabulary that the file does not have.
    pub without_entry: Vec<String>,
    /// Nouns with singular spellings, but only plural captions.
    pub lacking_singular: Vec<String>,
    /// Nouns with plural spellings, but only singular captions.
    pub lacking_plural: Vec<String>,
    /// Captions in the file.
    pub total: CaptionNumbers,
    /// Captions of unknown nouns.
    pub unknown: CaptionNumbers,
    /// Captions that are used.
    pub used: CaptionNumbers,
    /// Captions of known nouns that are not used.
    pub unused: CaptionNumbers,
    /// Captions whose white space was put in order.
    pub respaced: u64,
    /// Number of captions by how often they are used.
    pub template_reuse: BTreeMap<u64, u64>,
    /// Number of texts, each noun for itself, by how often they occur.
    pub text_reuse: BTreeMap<u64, u64>,
    /// Samples.
    pub samples: u64,
}

impl CaptionStatistics {
    /// Counts everything; goes through all samples once.
    pub fn new(captions: &Captions, chosen: &ChosenCaptions) -> Self {
        let vocabulary = &chosen.vocabulary;
        let listed: HashSet<usize> = captions.nouns.iter().map(|noun| noun.target).collect();
        let without_entry = vocabulary.targets().enumerate();
        let without_entry = without_entry.filter(|(target, _)| !listed.contains(target));
        let mut used = CaptionNumbers::default();
        for noun in &chosen.nouns {
            used.singular += noun.captions[0].len() as u64;
            used.plural += noun.captions[1].len() as u64;
        }
        let lacking = |number: Number| {
            let index = usize::from(number == Number::Plural);
            let nouns = captions.nouns.iter().filter(|noun| {
                noun.captions[index].is_empty()
                    && !noun.captions[1 - index].is_empty()
                    && !vocabulary.noun(noun.target).spellings(number).is_empty()
            });
            nouns
                .map(|noun| vocabulary.noun(noun.target).target.clone())
                .collect()
        };
        let (total, unknown) = (captions.total, captions.unknown);
        let (template_reuse, text_reuse) = reuse(chosen);
        Self {
            known_nouns: captions.nouns.len() as u64,
            unknown_nouns: captions.unknown_nouns,
            without_entry: without_entry.map(|(_, noun)| noun.to_owned()).collect(),
            lacking_singular: lacking(Number::Singular),
            lacking_plural: lacking(Number::Plural),
            total,
            unknown,
            used,
            unused: CaptionNumbers {
                singular: total.singular - unknown.singular - used.singular,
                plural: total.plural - unknown.plural - used.plural,
            },
            respaced: captions.respaced,
            template_reuse,
            text_reuse,
            samples: chosen.num_samples(),
        }
    }

    /// Captions that are used.
    pub fn unique_templates(&self) -> u64 {
        self.template_reuse.values().sum()
    }

    /// Texts that differ, each noun for itself.
    pub fn unique_texts(&self) -> u64 {
        self.text_reuse.values().sum()
    }
}

/// Number of captions and of texts by how often they are used.
fn reuse(chosen: &ChosenCaptions) -> (BTreeMap<u64, u64>, BTreeMap<u64, u64>) {
    let (mut templates, mut texts) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = chosen.texts_from(0);
    let (mut text, mut targets) = (String::new(), Vec::new());
    for (noun, bounds) in chosen.nouns.iter().zip(chosen.starts.windows(3).step_by(2)) {
        for (captions, bounds) in noun.captions.iter().zip(bounds.windows(2)) {
            let (samples, captions) = (bounds[1] - bounds[0], captions.len() as u64);
            if let Some(times) = samples.checked_div(captions) {
                let more = samples % captions;
                *templates.entry(times + 1).or_default() += more;
                *templates.entry(times).or_default() += captions - more;
            }
        }
        let mut of_noun: HashMap<String, u64> = HashMap::new();
        for _ in bounds[0]..bounds[2] {
            samples.next_text(&mut text, &mut targets);
            match of_noun.get_mut(&text) {
                Some(times) => *times += 1,
                None => {
                    of_noun.insert(text.clone(), 1);
                }
            }
        }
        for times in of_noun.into_values() {
            *texts.entry(times).or_default() += 1;
        }
    }
    templates.retain(|_, count| *count > 0);
    (templates, texts)
}
