//! A caption file that is being written: every entry of the dictionary with its
//! captions.

use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::error::GenerationError;
use super::work::{CaptionWork, WorkState};
use crate::nouns::dictionary::{Dictionary, read_json};
use crate::nouns::error::NounsError;
use crate::nouns::files::read_limited;
use crate::nouns::noun::{Noun, Number};

/// Largest caption file that is gone on with, in bytes.
const SIZE_LIMIT: u64 = 4 << 30;

/// Frequencies beyond this ask for no more captions.
const MOST_FREQUENCY: u64 = 10;

/// How many captions are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Captions per unit of frequency, up to a frequency of 10.
    pub per_frequency: u64,
    /// Least frequency of a noun that gets any.
    pub threshold: u64,
}

impl Wanted {
    fn of(&self, noun: &Noun) -> [u64; 2] {
        Number::ALL.map(|number| {
            let frequencies = noun.spellings(number).iter();
            let frequency: u64 = frequencies.map(|s| u64::from(s.frequency)).sum();
            frequency.min(MOST_FREQUENCY) * self.per_frequency
        })
    }
}

/// One entry.
#[derive(Clone, Debug)]
struct Entry {
    /// The dictionary's entry, or what the caption file has of a noun that the
    /// dictionary has no more.
    members: Map<String, Value>,
    captions: Captions,
    target: String,
}

#[derive(Clone, Debug)]
enum Captions {
    /// Of a noun of the dictionary.
    Wanted {
        work: Box<CaptionWork>,
        /// Whether the noun is frequent enough.
        asked: bool,
    },
    /// Of one that it has no more.
    Retired,
}

/// A caption file that is being written.
#[derive(Clone, Debug)]
pub struct WorkList {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl WorkList {
    /// The nouns of a dictionary with the captions that the file at `captions`
    /// has, if there is one. Its order stays, new nouns follow; spellings and
    /// frequencies are those of the dictionary; nouns that it has no more stay
    /// and are marked.
    ///
    /// # Errors
    /// One of them is not as it should be, or there is no noun.
    pub fn load(
        vocab_path: &Path,
        captions: &Path,
        wanted: Wanted,
    ) -> Result<Self, GenerationError> {
        let (source, dictionary) = read_json(vocab_path)?;
        let existing = match captions.try_exists() {
            Ok(true) => Some(read_limited(captions, SIZE_LIMIT)?),
            _ => None,
        };
        let name = captions.display().to_string();
        let list = Self::from_json(
            (&source, &dictionary),
            existing.as_deref().map(|json| (name.as_str(), json)),
            wanted,
        )?;
        if list.entries.is_empty() {
            return Err(GenerationError::NoNouns {
                dictionary: source,
                captions: captions.to_owned(),
            });
        }
        Ok(list)
    }

    /// The same from JSON texts and their names in messages.
    ///
    /// # Errors
    /// As [`WorkList::load`], but no nouns are none.
    pub fn from_json(
        dictionary: (&str, &[u8]),
        existing: Option<(&str, &[u8])>,
        wanted: Wanted,
    ) -> Result<Self, GenerationError> {
        let (source, json) = dictionary;
        let nouns = Dictionary::from_json(source, json)?;
        let known = members(source, json)?;
        let by_target: HashMap<&str, usize> = (nouns.nouns().iter().zip(0..))
            .map(|(noun, at)| (noun.target.as_str(), at))
            .collect();
        let entry = |at: usize, captions: [Vec<String>; 2]| {
            let noun = &nouns.nouns()[at];
            Entry {
                members: known[at].clone(),
                captions: Captions::Wanted {
                    work: Box::new(CaptionWork::new(noun, captions, wanted.of(noun))),
                    asked: noun.frequency() >= wanted.threshold,
                },
                target: noun.target.clone(),
            }
        };
        let (mut entries, mut places) = (Vec::new(), HashMap::new());
        if let Some((name, json)) = existing {
            for members in members(name, json)? {
                let (target, captions) = checked(name, &members)?;
                if places.insert(target.clone(), entries.len()).is_some() {
                    return Err(not_captions(name, &format!("{target:?} is there twice")).into());
                }
                entries.push(match by_target.get(target.as_str()) {
                    Some(&at) => entry(at, captions),
                    None => Entry {
                        members,
                        captions: Captions::Retired,
                        target,
                    },
                });
            }
        }
        let mut added = HashSet::new();
        for (at, noun) in nouns.nouns().iter().enumerate() {
            // Below any threshold a dictionary may have nouns twice.
            let is_new = !places.contains_key(&noun.target) && added.insert(noun.target.clone());
            if is_new {
                entries.push(entry(at, Default::default()));
            }
        }
        places.extend(
            entries
                .iter()
                .zip(0..)
                .map(|(e, at)| (e.target.clone(), at)),
        );
        Ok(Self { entries, places })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that the dictionary has no more.
    pub fn retired(&self) -> usize {
        let is_retired = |entry: &&Entry| matches!(entry.captions, Captions::Retired);
        self.entries.iter().filter(is_retired).count()
    }

    /// Target noun of an entry.
    pub fn target(&self, at: usize) -> &str {
        &self.entries[at].target
    }

    /// Entry of a target noun.
    pub fn place(&self, target: &str) -> Option<usize> {
        self.places.get(target).copied()
    }

    /// The work on an entry, if it is to be asked about.
    pub fn work(&self, at: usize) -> Option<&CaptionWork> {
        match &self.entries.get(at)?.captions {
            Captions::Wanted { work, asked: true } => Some(work),
            _ => None,
        }
    }

    /// The same, to be gone on with.
    pub fn work_mut(&mut self, at: usize) -> Option<&mut CaptionWork> {
        match &mut self.entries.get_mut(at)?.captions {
            Captions::Wanted { work, asked: true } => Some(work),
            _ => None,
        }
    }

    /// Entries that need more captions.
    pub fn open(&self) -> impl Iterator<Item = (usize, &CaptionWork)> {
        let works = (0..self.entries.len()).filter_map(|at| Some((at, self.work(at)?)));
        works.filter(|(_, work)| work.state() == WorkState::Open)
    }

    /// Number of captions of both numbers.
    pub fn captions(&self) -> u64 {
        let count = |entry: &Entry| match &entry.captions {
            Captions::Wanted { work, .. } => work.captions().iter().map(Vec::len).sum(),
            Captions::Retired => ["singular_captions", "plural_captions"]
                .iter()
                .filter_map(|key| entry.members[*key].as_array())
                .map(Vec::len)
                .sum::<usize>(),
        };
        self.entries.iter().map(count).sum::<usize>() as u64
    }

    /// The content of the file.
    pub fn json(&self) -> Value {
        self.entries.iter().map(Entry::json).collect()
    }

    /// Writes the file, which is complete or as it was before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), GenerationError> {
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(NamedTempFile::new_in(folder)?);
            file.write_all(b"[")?;
            for (at, entry) in self.entries.iter().enumerate() {
                file.write_all(if at == 0 { b"\n" } else { b",\n" })?;
                // Entry by entry: all of them together may be large.
                let text = serde_json::to_string_pretty(&entry.json())?;
                for (line, at) in text.lines().zip(0..) {
                    file.write_all(if at == 0 { b"  " } else { b"\n  " })?;
                    file.write_all(line.as_bytes())?;
                }
            }
            file.write_all(b"\n]\n")?;
            let file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|source| GenerationError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }
}

impl Entry {
    fn json(&self) -> Value {
        let mut members = self.members.clone();
        match &self.captions {
            Captions::Wanted { work, .. } => {
                let ([singular, plural], [more, others]) = (work.captions(), work.wanted());
                members.insert("singular_captions".to_owned(), json!(singular));
                members.insert("plural_captions".to_owned(), json!(plural));
                members.insert("num_singular_captions".to_owned(), json!(more));
                members.insert("num_plural_captions".to_owned(), json!(others));
            }
            Captions::Retired => {
                members.insert("retired".to_owned(), json!(true));
            }
        }
        Value::Object(members)
    }
}

fn members(source: &str, json: &[u8]) -> Result<Vec<Map<String, Value>>, GenerationError> {
    serde_json::from_slice(json).map_err(|error| {
        let source = source.to_owned();
        if error.is_data() {
            not_captions(&source, &error.to_string()).into()
        } else {
            NounsError::Json {
                file: source,
                source: error,
            }
            .into()
        }
    })
}

/// Target noun and captions of an entry of a caption file.
fn checked(
    file: &str,
    members: &Map<String, Value>,
) -> Result<(String, [Vec<String>; 2]), NounsError> {
    let wrong = |reason: String| not_captions(file, &reason);
    let target = members.get("target_noun").and_then(Value::as_str);
    let target = target.ok_or_else(|| wrong("an entry has no target_noun".to_owned()))?;
    let captions = |key: &str| -> Result<Vec<String>, NounsError> {
        let texts = match members.get(key) {
            Some(Value::Array(list)) => list.iter().map(|text| text.as_str().map(str::to_owned)),
            None => return Ok(Vec::new()),
            Some(_) => return Err(wrong(format!("{key} of {target:?} is no list"))),
        };
        let texts: Option<Vec<String>> = texts.collect();
        texts.ok_or_else(|| wrong(format!("{key} of {target:?} has more than texts")))
    };
    let both = [captions("singular_captions")?, captions("plural_captions")?];
    Ok((target.to_owned(), both))
}

fn not_captions(file: &str, reason: &str) -> NounsError {
    NounsError::NotACaptionFile {
        file: file.to_owned(),
        reason: reason.to_owned(),
    }
}
