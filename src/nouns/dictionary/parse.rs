//! From JSON values to checked entries (`nouns-captions.md` 1.1 and 1.2).

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::problems::{DictionaryProblem, DictionaryProblems, ProblemKind};
use crate::nouns::NounsError;
use crate::nouns::canonical::is_collapsed;
use crate::nouns::noun::{Noun, Spelling};

/// An entry with its index in the file.
pub(super) struct Entry {
    pub index: usize,
    pub noun: Noun,
}

/// The keys of an entry with values of the right types.
#[derive(Deserialize)]
struct Fields {
    id: u64,
    target_noun: String,
    pretty_noun: String,
    singulars: Vec<String>,
    plurals: Vec<String>,
    singulars_freq: Vec<u32>,
    plurals_freq: Vec<u32>,
    hypernyms: Vec<u64>,
}

/// Checks every entry for itself and the ids among each other; entries with
/// problems are left out and reported.
pub(super) fn parse_entries(
    source: &str,
    json: &[u8],
    problems: &mut DictionaryProblems,
) -> Result<Vec<Entry>, NounsError> {
    let mut checker = Checker {
        entries: Vec::new(),
        first_with_id: HashMap::new(),
        problems,
    };
    // Values of any type take three times as long; only a file with problems
    // needs them, to say what and where they are.
    if let Ok(list) = serde_json::from_slice::<Vec<Fields>>(json) {
        for (index, fields) in list.into_iter().enumerate() {
            checker.add(index, fields);
        }
        return Ok(checker.entries);
    }
    let list = match serde_json::from_slice(json) {
        Ok(Value::Array(list)) => list,
        Ok(_) => {
            return Err(NounsError::NotADictionary {
                file: source.to_owned(),
            });
        }
        Err(error) => {
            return Err(NounsError::Json {
                file: source.to_owned(),
                source: error,
            });
        }
    };
    for (index, value) in list.into_iter().enumerate() {
        if let Some(fields) = checker.fields(index, &value) {
            checker.add(index, fields);
        }
    }
    Ok(checker.entries)
}

/// Checks the rules that hold for the entries above the threshold only:
/// unique target nouns, and hypernyms that exist among all entries.
pub(super) fn check_kept<'a>(
    all: impl Iterator<Item = &'a Noun>,
    kept: impl Iterator<Item = (usize, &'a Noun)>,
    problems: &mut DictionaryProblems,
) {
    let ids: HashSet<u64> = all.map(|noun| noun.id).collect();
    let mut first_with_target: HashMap<&str, usize> = HashMap::new();
    for (index, noun) in kept {
        let mut report = |kind| {
            problems.push(DictionaryProblem {
                index,
                id: Some(noun.id),
                target: Some(noun.target.clone()),
                kind,
            });
        };
        let first = *first_with_target.entry(&noun.target).or_insert(index);
        if first != index {
            report(ProblemKind::RepeatedTarget { first });
        }
        let mut seen = HashSet::new();
        for &hypernym in &noun.hypernyms {
            if !seen.insert(hypernym) {
                report(ProblemKind::RepeatedHypernym(hypernym));
            } else if hypernym == noun.id {
                report(ProblemKind::OwnHypernym);
            } else if !ids.contains(&hypernym) {
                report(ProblemKind::UnknownHypernym(hypernym));
            }
        }
    }
}

/// Collects the entries that are valid each for itself.
struct Checker<'a> {
    entries: Vec<Entry>,
    first_with_id: HashMap<u64, usize>,
    problems: &'a mut DictionaryProblems,
}

impl Checker<'_> {
    /// Reads the keys of an entry; reports those that are missing or have
    /// values of other types.
    fn fields(&mut self, index: usize, value: &Value) -> Option<Fields> {
        let mut report = Report {
            index,
            id: value["id"].as_u64(),
            target: value["target_noun"].as_str().map(str::to_owned),
            problems: self.problems,
            failed: false,
        };
        let Value::Object(object) = value else {
            report.add(ProblemKind::NotAnObject);
            return None;
        };
        let id = report.take(object, "id", "an integer of at least 0", Value::as_u64);
        let target_noun = report.text(object, "target_noun");
        let pretty_noun = report.text(object, "pretty_noun");
        let singulars = report.list(object, "singulars", "a list of strings", string);
        let plurals = report.list(object, "plurals", "a list of strings", string);
        let frequencies = "a list of integers of at least 1";
        let singulars_freq = report.list(object, "singulars_freq", frequencies, frequency);
        let plurals_freq = report.list(object, "plurals_freq", frequencies, frequency);
        let ids = "a list of integers of at least 0";
        let hypernyms = report.list(object, "hypernyms", ids, Value::as_u64);
        Some(Fields {
            id: id?,
            target_noun: target_noun?,
            pretty_noun: pretty_noun?,
            singulars: singulars?,
            plurals: plurals?,
            singulars_freq: singulars_freq?,
            plurals_freq: plurals_freq?,
            hypernyms: hypernyms?,
        })
    }

    fn add(&mut self, index: usize, fields: Fields) {
        let target = fields.target_noun;
        let mut report = Report {
            index,
            id: Some(fields.id),
            target: Some(target.clone()),
            problems: self.problems,
            failed: false,
        };
        let first = *self.first_with_id.entry(fields.id).or_insert(index);
        if first != index {
            report.add(ProblemKind::RepeatedId { first });
        }
        if target.is_empty() {
            report.add(ProblemKind::EmptyTarget);
        }
        report.check_text("target_noun", &target);
        report.check_text("pretty_noun", &fields.pretty_noun);
        let singulars = report.spellings("singulars", fields.singulars, fields.singulars_freq);
        let plurals = report.spellings("plurals", fields.plurals, fields.plurals_freq);
        if singulars.is_empty() && plurals.is_empty() {
            report.add(ProblemKind::NoSpelling);
        }
        if !report.failed {
            let noun = Noun {
                id: fields.id,
                target,
                pretty: fields.pretty_noun,
                singulars,
                plurals,
                hypernyms: fields.hypernyms,
            };
            self.entries.push(Entry { index, noun });
        }
    }
}

/// Problems of one entry.
struct Report<'a> {
    index: usize,
    id: Option<u64>,
    target: Option<String>,
    failed: bool,
    problems: &'a mut DictionaryProblems,
}

impl Report<'_> {
    fn add(&mut self, kind: ProblemKind) {
        self.failed = true;
        self.problems.push(DictionaryProblem {
            index: self.index,
            id: self.id,
            target: self.target.clone(),
            kind,
        });
    }

    /// The value of a key, converted; reports a missing key and a value that
    /// does not convert.
    fn take<T>(
        &mut self,
        object: &Map<String, Value>,
        key: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = object.get(key) else {
            self.add(ProblemKind::Missing(key));
            return None;
        };
        let converted = convert(value);
        if converted.is_none() {
            self.add(ProblemKind::WrongValue {
                key,
                expected,
                found: excerpt(value),
            });
        }
        converted
    }

    fn text(&mut self, object: &Map<String, Value>, key: &'static str) -> Option<String> {
        self.take(object, key, "a string", string)
    }

    fn list<T>(
        &mut self,
        object: &Map<String, Value>,
        key: &'static str,
        expected: &'static str,
        convert: fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.take(object, key, expected, |value| {
            value.as_array()?.iter().map(convert).collect()
        })
    }

    /// Checks a list of spellings and puts their frequencies to them.
    fn spellings(
        &mut self,
        key: &'static str,
        texts: Vec<String>,
        frequencies: Vec<u32>,
    ) -> Vec<Spelling> {
        if texts.len() != frequencies.len() {
            self.add(ProblemKind::LengthsDiffer {
                key,
                spellings: texts.len(),
                frequencies: frequencies.len(),
            });
        }
        for text in &texts {
            if text.is_empty() {
                self.add(ProblemKind::EmptySpelling(key));
            }
            self.check_text(key, text);
        }
        if frequencies.contains(&0) {
            self.add(ProblemKind::ZeroFrequency(key));
        }
        if let Some(text) = first_repeated(&texts) {
            let text = text.to_owned();
            self.add(ProblemKind::RepeatedSpelling { key, text });
        }
        let spellings = texts.into_iter().zip(frequencies);
        spellings
            .map(|(text, frequency)| Spelling { text, frequency })
            .collect()
    }

    fn check_text(&mut self, key: &'static str, text: &str) {
        if !is_collapsed(text) {
            let text = text.to_owned();
            self.add(ProblemKind::Spaces { key, text });
        }
        if text.contains('\0') {
            let text = text.to_owned();
            self.add(ProblemKind::Nul { key, text });
        }
    }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn frequency(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

fn first_repeated(texts: &[String]) -> Option<&str> {
    // Almost all lists are tiny; a set pays off only for hostile ones.
    if texts.len() <= 16 {
        let repeated = texts
            .iter()
            .enumerate()
            .find(|(index, text)| texts.get(..*index).is_some_and(|t| t.contains(text)));
        return repeated.map(|(_, text)| text.as_str());
    }
    let mut seen = HashSet::with_capacity(texts.len());
    texts
        .iter()
        .map(String::as_str)
        .find(|text| !seen.insert(*text))
}

/// A short form of a value for messages.
fn excerpt(value: &Value) -> String {
    const CHARACTERS: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
