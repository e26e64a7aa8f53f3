//! From JSON values to checked entries (`nouns-captions.md` 1.1 and 1.2).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::problems::{DictionaryProblem, DictionaryProblems, ProblemKind};
use crate::nouns::canonical::is_collapsed;
use crate::nouns::noun::{Noun, Spelling};

/// An entry with its index in the file.
pub(super) struct Entry {
    pub index: usize,
    pub noun: Noun,
}

/// Checks every entry for itself and the ids among each other; entries with
/// problems are left out and reported.
pub(super) fn parse_entries(values: Vec<Value>, problems: &mut DictionaryProblems) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(values.len());
    let mut first_with_id = HashMap::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let mut entry = EntryParser {
            index,
            id: None,
            target: None,
            failed: false,
            problems,
        };
        if let Some(noun) = entry.parse(value, &mut first_with_id) {
            entries.push(Entry { index, noun });
        }
    }
    entries
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

struct EntryParser<'a> {
    index: usize,
    id: Option<u64>,
    target: Option<String>,
    failed: bool,
    problems: &'a mut DictionaryProblems,
}

impl EntryParser<'_> {
    fn report(&mut self, kind: ProblemKind) {
        self.failed = true;
        self.problems.push(DictionaryProblem {
            index: self.index,
            id: self.id,
            target: self.target.clone(),
            kind,
        });
    }

    fn parse(&mut self, value: Value, first_with_id: &mut HashMap<u64, usize>) -> Option<Noun> {
        let Value::Object(mut object) = value else {
            self.report(ProblemKind::NotAnObject);
            return None;
        };
        // Known early, so that every problem below can name the entry.
        self.id = object.get("id").and_then(Value::as_u64);
        self.target = object
            .get("target_noun")
            .and_then(Value::as_str)
            .map(str::to_owned);

        let id = self.take(&mut object, "id", "an integer of at least 0", |v| {
            v.as_u64()
        });
        if let Some(id) = id {
            let first = *first_with_id.entry(id).or_insert(self.index);
            if first != self.index {
                self.report(ProblemKind::RepeatedId { first });
            }
        }
        let target = self.take_text(&mut object, "target_noun");
        if target.as_deref() == Some("") {
            self.report(ProblemKind::EmptyTarget);
        }
        let pretty = self.take_text(&mut object, "pretty_noun");
        let singulars = self.take_spellings(&mut object, "singulars", "singulars_freq");
        let plurals = self.take_spellings(&mut object, "plurals", "plurals_freq");
        let hypernyms = self.take(
            &mut object,
            "hypernyms",
            "a list of integers of at least 0",
            |value| {
                let list = value.as_array()?;
                list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()
            },
        );
        if singulars.as_ref().is_some_and(Vec::is_empty)
            && plurals.as_ref().is_some_and(Vec::is_empty)
        {
            self.report(ProblemKind::NoSpelling);
        }
        if self.failed {
            return None;
        }
        Some(Noun {
            id: id?,
            target: target?,
            pretty: pretty?,
            singulars: singulars?,
            plurals: plurals?,
            hypernyms: hypernyms?,
        })
    }

    /// The value of a key, converted; reports a missing key and a value that
    /// does not convert.
    fn take<T>(
        &mut self,
        object: &mut Map<String, Value>,
        key: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = object.get(key) else {
            self.report(ProblemKind::Missing(key));
            return None;
        };
        let converted = convert(value);
        if converted.is_none() {
            self.report(ProblemKind::WrongValue {
                key,
                expected,
                found: excerpt(value),
            });
        }
        converted
    }

    fn take_text(&mut self, object: &mut Map<String, Value>, key: &'static str) -> Option<String> {
        let text = self.take(object, key, "a string", |v| v.as_str().map(str::to_owned))?;
        self.check_text(key, &text);
        Some(text)
    }

    fn take_spellings(
        &mut self,
        object: &mut Map<String, Value>,
        key: &'static str,
        frequency_key: &'static str,
    ) -> Option<Vec<Spelling>> {
        let texts = self.take(object, key, "a list of strings", |value| {
            let list = value.as_array()?;
            let texts = list.iter().map(|v| v.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        let frequencies = self.take(
            object,
            frequency_key,
            "a list of integers of at least 1",
            |value| {
                let list = value.as_array()?;
                let frequencies = list.iter().map(|v| {
                    let frequency = v.as_u64().and_then(|f| u32::try_from(f).ok());
                    frequency.filter(|&f| f >= 1)
                });
                frequencies.collect::<Option<Vec<_>>>()
            },
        );
        for text in texts.iter().flatten() {
            if text.is_empty() {
                self.report(ProblemKind::EmptySpelling(key));
            }
            self.check_text(key, text);
        }
        let (texts, frequencies) = (texts?, frequencies?);
        if texts.len() != frequencies.len() {
            self.report(ProblemKind::LengthsDiffer {
                key,
                spellings: texts.len(),
                frequencies: frequencies.len(),
            });
        }
        if let Some(text) = first_repeated(&texts) {
            let text = text.to_owned();
            self.report(ProblemKind::RepeatedSpelling { key, text });
        }
        let spellings = texts.into_iter().zip(frequencies);
        Some(
            spellings
                .map(|(text, frequency)| Spelling { text, frequency })
                .collect(),
        )
    }

    fn check_text(&mut self, key: &'static str, text: &str) {
        if !is_collapsed(text) {
            let text = text.to_owned();
            self.report(ProblemKind::Spaces { key, text });
        }
        if text.contains('\0') {
            let text = text.to_owned();
            self.report(ProblemKind::Nul { key, text });
        }
    }
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
