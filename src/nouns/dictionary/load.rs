//! Dictionaries and the vocabularies above a threshold.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::parse::{Entry, check_kept, parse_entries};
use super::problems::{DictionaryProblems, DictionaryWarning, WarningKind};
use crate::nouns::NounsError;
use crate::nouns::canonical::{canonical, is_plain};
use crate::nouns::embedded;
use crate::nouns::files::read_limited;
use crate::nouns::noun::Noun;

/// The value of `nouns.vocab_path` that names the built-in dictionary.
pub const EMBEDDED: &str = "embedded";

/// The largest dictionary file that is read, in bytes.
const SIZE_LIMIT: u64 = 1 << 30;

/// A dictionary file whose entries are valid each for itself.
#[derive(Clone, Debug)]
pub struct Dictionary {
    source: String,
    nouns: Vec<Noun>,
    by_id: HashMap<u64, usize>,
    warnings: Vec<DictionaryWarning>,
}

impl Dictionary {
    /// Loads `vocab_path`, without the checks that only hold for nouns above
    /// a threshold. [`EMBEDDED`] names the built-in dictionary.
    pub fn load(vocab_path: &Path) -> Result<Self, NounsError> {
        let (source, json) = read_json(vocab_path)?;
        Self::from_json(&source, &json)
    }

    /// Reads a dictionary from JSON text; `source` names it in messages.
    pub fn from_json(source: &str, json: &[u8]) -> Result<Self, NounsError> {
        let mut problems = DictionaryProblems::new(source);
        let entries = parse_entries(source, json, &mut problems)?;
        fail_on(problems)?;
        Ok(Self::from_entries(source, entries))
    }

    fn from_entries(source: &str, entries: Vec<Entry>) -> Self {
        let nouns: Vec<Noun> = entries.into_iter().map(|entry| entry.noun).collect();
        let by_id = nouns.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
        let warnings = collect_warnings(&nouns);
        Self {
            source: source.to_owned(),
            nouns,
            by_id,
            warnings,
        }
    }

    /// Where the dictionary comes from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All nouns in file order.
    pub fn nouns(&self) -> &[Noun] {
        &self.nouns
    }

    /// The noun with this id.
    pub fn noun_by_id(&self, id: u64) -> Option<&Noun> {
        self.by_id.get(&id).and_then(|&index| self.nouns.get(index))
    }

    /// Entries whose spellings class names will not find.
    pub fn warnings(&self) -> &[DictionaryWarning] {
        &self.warnings
    }

    /// The nouns whose frequency is above `threshold` (all, if it is not
    /// positive).
    ///
    /// Fails if two of them share a target noun, if one has hypernyms that
    /// repeat, do not exist or are itself, and if none is left.
    pub fn vocabulary(self: Arc<Self>, threshold: i64) -> Result<Vocabulary, NounsError> {
        let mut problems = DictionaryProblems::new(&self.source);
        let kept = kept_positions(self.nouns.iter(), threshold);
        let kept_nouns = kept.iter().map(|&index| (index, &self.nouns[index]));
        check_kept(self.nouns.iter(), kept_nouns, &mut problems);
        fail_on(problems)?;
        Vocabulary::new(self, threshold, kept)
    }
}

/// The nouns of a dictionary above a threshold, in file order; at least one.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    dictionary: Arc<Dictionary>,
    threshold: i64,
    kept: Vec<usize>,
}

impl Vocabulary {
    /// Loads a dictionary and keeps the nouns whose frequency is above
    /// `threshold`. The problems of all checks are reported together.
    pub fn load(vocab_path: &Path, threshold: i64) -> Result<Self, NounsError> {
        let (source, json) = read_json(vocab_path)?;
        Self::from_json(&source, &json, threshold)
    }

    /// As [`Vocabulary::load`], from JSON text; `source` names it in messages.
    pub fn from_json(source: &str, json: &[u8], threshold: i64) -> Result<Self, NounsError> {
        let mut problems = DictionaryProblems::new(source);
        let entries = parse_entries(source, json, &mut problems)?;
        let nouns = || entries.iter().map(|entry| &entry.noun);
        let kept = kept_positions(nouns(), threshold);
        let kept_nouns = kept.iter().map(|&position| {
            let entry = &entries[position];
            (entry.index, &entry.noun)
        });
        check_kept(nouns(), kept_nouns, &mut problems);
        fail_on(problems)?;
        let dictionary = Arc::new(Dictionary::from_entries(source, entries));
        Self::new(dictionary, threshold, kept)
    }

    fn new(
        dictionary: Arc<Dictionary>,
        threshold: i64,
        kept: Vec<usize>,
    ) -> Result<Self, NounsError> {
        if kept.is_empty() {
            let frequencies = dictionary.nouns.iter().map(Noun::frequency);
            return Err(NounsError::NoNounsLeft {
                file: dictionary.source.clone(),
                threshold,
                largest: frequencies.max().unwrap_or(0),
            });
        }
        Ok(Self {
            dictionary,
            threshold,
            kept,
        })
    }

    /// The dictionary these nouns are part of.
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }

    /// The threshold.
    pub fn threshold(&self) -> i64 {
        self.threshold
    }

    /// Number of nouns.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Always false: a vocabulary has at least one noun.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The noun with this target index.
    ///
    /// # Panics
    /// If `target` is not below [`Vocabulary::len`].
    pub fn noun(&self, target: usize) -> &Noun {
        &self.dictionary.nouns[self.kept[target]]
    }

    /// The nouns in order; their position is the target index.
    pub fn nouns(&self) -> impl ExactSizeIterator<Item = &Noun> {
        let nouns = &self.dictionary.nouns;
        self.kept.iter().map(move |&index| &nouns[index])
    }

    /// The target nouns in order.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &str> {
        self.nouns().map(|noun| noun.target.as_str())
    }
}

/// Hash of a dictionary's content, for keys of what is derived from it; reads
/// the file, but does not parse it.
pub fn identity(vocab_path: &Path) -> Result<blake3::Hash, NounsError> {
    if vocab_path == Path::new(EMBEDDED) {
        return embedded::identity();
    }
    read_limited(vocab_path, SIZE_LIMIT).map(|content| blake3::hash(&content))
}

/// Text of a dictionary and its name in messages.
pub(in crate::nouns) fn read_json(vocab_path: &Path) -> Result<(String, Vec<u8>), NounsError> {
    if vocab_path == Path::new(EMBEDDED) {
        let json = embedded::json()?;
        return Ok(("the embedded dictionary".to_owned(), json));
    }
    let json = read_limited(vocab_path, SIZE_LIMIT)?;
    Ok((vocab_path.display().to_string(), json))
}

fn kept_positions<'a>(nouns: impl Iterator<Item = &'a Noun>, threshold: i64) -> Vec<usize> {
    let threshold = u64::try_from(threshold).unwrap_or(0);
    nouns
        .enumerate()
        .filter(|(_, noun)| noun.frequency() > threshold)
        .map(|(position, _)| position)
        .collect()
}

fn fail_on(problems: DictionaryProblems) -> Result<(), NounsError> {
    if problems.total() > 0 {
        return Err(problems.into());
    }
    Ok(())
}

fn collect_warnings(nouns: &[Noun]) -> Vec<DictionaryWarning> {
    let mut warnings = Vec::new();
    for (index, noun) in nouns.iter().enumerate() {
        let mut warn = |kind| {
            warnings.push(DictionaryWarning {
                index,
                target: noun.target.clone(),
                kind,
            });
        };
        if !noun.is_spelled(&noun.target) {
            warn(WarningKind::TargetNotSpelled);
        }
        // Plain spellings are their own canonical form.
        for variant in noun.variants().filter(|v| !is_plain(&v.text)) {
            let canonical = canonical(&variant.text);
            if !noun.is_spelled(&canonical) {
                warn(WarningKind::CanonicalNotSpelled {
                    spelling: variant.text.clone(),
                    canonical,
                });
            }
        }
    }
    warnings
}
