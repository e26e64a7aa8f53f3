//! Numbers that describe a dictionary.

use std::collections::{BTreeMap, HashMap};

use super::load::Dictionary;
use crate::nouns::noun::Noun;

/// The thresholds for which sizes are shown.
const THRESHOLDS: [u64; 8] = [0, 1, 2, 3, 4, 6, 9, 12];

/// Numbers that describe a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionarySummary {
    /// Number of entries.
    pub entries: usize,
    /// Number of singular spellings.
    pub singulars: usize,
    /// Number of plural spellings.
    pub plurals: usize,
    /// Entries without a singular spelling.
    pub plural_only: usize,
    /// Entries without a plural spelling.
    pub singular_only: usize,
    /// Largest number of hypernyms of an entry.
    pub most_hypernyms: usize,
    /// Spellings that more than one entry has.
    pub shared_spellings: usize,
    /// Number of entries per frequency.
    pub frequencies: BTreeMap<u64, usize>,
    /// `(threshold, entries above it)`.
    pub sizes: Vec<(u64, usize)>,
}

impl DictionarySummary {
    /// Counts.
    pub fn new(dictionary: &Dictionary) -> Self {
        let nouns = dictionary.nouns();
        let count =
            |condition: &dyn Fn(&Noun) -> bool| nouns.iter().filter(|n| condition(n)).count();

        let mut frequencies = BTreeMap::new();
        let mut owners: HashMap<&str, (usize, bool)> = HashMap::new();
        for (index, noun) in nouns.iter().enumerate() {
            *frequencies.entry(noun.frequency()).or_insert(0) += 1;
            for variant in noun.variants() {
                let (owner, shared) = owners.entry(&variant.text).or_insert((index, false));
                *shared |= *owner != index;
            }
        }
        let above = |threshold| {
            let larger = frequencies.range(threshold + 1..);
            (threshold, larger.map(|(_, entries)| entries).sum())
        };
        Self {
            entries: nouns.len(),
            singulars: nouns.iter().map(|n| n.singulars.len()).sum(),
            plurals: nouns.iter().map(|n| n.plurals.len()).sum(),
            plural_only: count(&|n| n.singulars.is_empty()),
            singular_only: count(&|n| n.plurals.is_empty()),
            most_hypernyms: nouns.iter().map(|n| n.hypernyms.len()).max().unwrap_or(0),
            shared_spellings: owners.values().filter(|(_, shared)| *shared).count(),
            sizes: THRESHOLDS.map(above).to_vec(),
            frequencies,
        }
    }
}
