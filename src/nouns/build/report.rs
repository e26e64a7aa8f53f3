//! The table that `novic nouns build --report` prints.

use std::collections::BTreeMap;
use std::fmt;

use super::drafts::Draft;
use super::lemmas::LemmaCounts;
use super::raise::Raised;
use super::select::FILES;
use super::wordnet::{Synset, WordNet};
use crate::nouns::noun::Noun;

/// Thresholds of the columns.
const THRESHOLDS: [u64; 4] = [0, 2, 6, 9];

/// Nouns of one lexicographer file, before names are raised.
#[derive(Clone, Debug)]
pub struct ReportRow {
    /// Name of the file.
    pub file: &'static str,
    /// Selected synsets.
    pub synsets: usize,
    /// Nouns above the thresholds 0, 2, 6 and 9.
    pub sizes: [usize; 4],
}

/// How a dictionary came about.
#[derive(Clone, Debug)]
pub struct BuildReport {
    /// Noun synsets of WordNet.
    pub synsets: usize,
    /// Synsets that are kinds of visible things.
    pub selected: usize,
    /// Canonical forms of their words.
    pub forms: usize,
    /// Forms left by the sense rule.
    pub after_sense_rule: usize,
    /// Forms left out by the block list.
    pub blocked: usize,
    /// Forms merged with another spelling.
    pub merged: usize,
    /// One row per lexicographer file.
    pub rows: Vec<ReportRow>,
    /// Sizes before names are raised.
    pub before: [usize; 4],
    /// Sizes of the dictionary.
    pub after: [usize; 4],
    /// Singular and plural spellings of the dictionary.
    pub spellings: (usize, usize),
    pub(super) raised: Raised,
}

impl BuildReport {
    pub(super) fn new(
        wordnet: &WordNet,
        selected: &[&Synset],
        counts: LemmaCounts,
        groups: usize,
    ) -> Self {
        let rows = FILES.map(|(number, file)| ReportRow {
            file,
            synsets: selected.iter().filter(|s| s.file == number).count(),
            sizes: [0; 4],
        });
        Self {
            synsets: wordnet.synsets.len(),
            selected: selected.len(),
            forms: counts.forms,
            after_sense_rule: counts.after_sense_rule,
            blocked: counts.blocked,
            merged: counts.after_sense_rule - counts.blocked - groups,
            rows: rows.to_vec(),
            before: [0; 4],
            after: [0; 4],
            spellings: (0, 0),
            raised: Raised::default(),
        }
    }

    pub(super) fn record_before(&mut self, nouns: &[Noun], drafts: &BTreeMap<String, Draft>) {
        self.before = sizes(nouns.iter());
        for (row, (number, _)) in self.rows.iter_mut().zip(FILES) {
            let of_file = nouns.iter().filter(|noun| {
                drafts
                    .get(&noun.target)
                    .is_some_and(|d| d.file == Some(number))
            });
            row.sizes = sizes(of_file);
        }
    }

    pub(super) fn record_after(&mut self, nouns: &[Noun]) {
        self.after = sizes(nouns.iter());
        self.spellings = (
            nouns.iter().map(|noun| noun.singulars.len()).sum(),
            nouns.iter().map(|noun| noun.plurals.len()).sum(),
        );
    }
}

fn sizes<'a>(nouns: impl Iterator<Item = &'a Noun> + Clone) -> [usize; 4] {
    THRESHOLDS.map(|threshold| {
        let nouns = nouns.clone();
        nouns.filter(|noun| noun.frequency() > threshold).count()
    })
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} noun synsets, {} selected, {} canonical forms, {} after the sense rule, {} \
             blocked, {} merged",
            self.synsets,
            self.selected,
            self.forms,
            self.after_sense_rule,
            self.blocked,
            self.merged
        )?;
        writeln!(
            f,
            "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "file", "synsets", "FT0", "FT2", "FT6", "FT9"
        )?;
        let mut row = |name: &str, synsets: &str, sizes: [usize; 4]| {
            let [all, above_2, above_6, above_9] = sizes;
            writeln!(
                f,
                "{name:<22} {synsets:>8} {all:>8} {above_2:>8} {above_6:>8} {above_9:>8}"
            )
        };
        for file in &self.rows {
            row(file.file, &file.synsets.to_string(), file.sizes)?;
        }
        row(
            "before raising names",
            &self.selected.to_string(),
            self.before,
        )?;
        row("dictionary", "", self.after)?;
        let Raised {
            names,
            raised,
            added,
        } = self.raised;
        let (singulars, plurals) = self.spellings;
        write!(
            f,
            "{names} class and subject names: {raised} raised, {added} added; {singulars} singular \
             and {plurals} plural spellings"
        )
    }
}
