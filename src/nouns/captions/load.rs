//! Caption files and their rules.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::field;
use crate::nouns::canonical::collapse_spaces;
use crate::nouns::dictionary::Vocabulary;
use crate::nouns::error::{CaptionProblem, NounsError};
use crate::nouns::noun::Number;
use crate::nouns::templates::TextRules;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// Captions of one noun, checked, with a full stop at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NounCaptions {
    /// Index of the noun in the vocabulary.
    pub target: usize,
    /// Captions with `{singular}`, then captions with `{plural}`.
    pub captions: [Vec<String>; 2],
}

/// Numbers of singular and of plural captions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptionNumbers {
    /// Singular captions.
    pub singular: u64,
    /// Plural captions.
    pub plural: u64,
}

impl CaptionNumbers {
    /// Both together.
    pub fn sum(self) -> u64 {
        self.singular + self.plural
    }

    fn add(&mut self, captions: &[Vec<String>; 2]) {
        self.singular += captions[0].len() as u64;
        self.plural += captions[1].len() as u64;
    }
}

/// The captions of a file for the nouns of a vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captions {
    /// Nouns of the vocabulary with their captions, in file order.
    pub nouns: Vec<NounCaptions>,
    /// Nouns of the file that the vocabulary does not have.
    pub unknown_nouns: u64,
    /// Captions in the file.
    pub total: CaptionNumbers,
    /// Captions of unknown nouns among them.
    pub unknown: CaptionNumbers,
    /// Captions whose white space was put in order.
    pub respaced: u64,
}

/// The keys of an entry that count; all others are ignored.
#[derive(Deserialize)]
struct Fields {
    target_noun: String,
    singular_captions: Vec<String>,
    plural_captions: Vec<String>,
}

impl Captions {
    /// Reads a caption file entry by entry.
    ///
    /// # Errors
    /// The file cannot be read, is no list of entries, has a noun or a caption
    /// of a noun twice, or a caption that lacks its field or has other braces.
    pub fn load(
        path: &Path,
        vocabulary: &Vocabulary,
        rules: TextRules,
    ) -> Result<Self, NounsError> {
        let file = File::open(path).map_err(|source| NounsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Self::read(&path.display().to_string(), reader, vocabulary, rules)
    }

    /// As [`Captions::load`], from JSON text; `source` names it in messages.
    pub fn from_json(
        source: &str,
        json: &[u8],
        vocabulary: &Vocabulary,
        rules: TextRules,
    ) -> Result<Self, NounsError> {
        Self::read(source, json, vocabulary, rules)
    }

    fn read(
        source: &str,
        reader: impl Read,
        vocabulary: &Vocabulary,
        rules: TextRules,
    ) -> Result<Self, NounsError> {
        let mut collector = Collector {
            source,
            rules,
            targets: vocabulary.targets().zip(0..).collect(),
            seen: HashSet::new(),
            captions: Captions::default(),
            problem: None,
        };
        let mut json = serde_json::Deserializer::from_reader(reader);
        let read = collector.deserialize(&mut json).and_then(|()| json.end());
        match (collector.problem, read) {
            (Some(problem), _) => Err(problem),
            (None, Err(error)) if error.is_data() => Err(NounsError::NotACaptionFile {
                file: source.to_owned(),
                reason: error.to_string(),
            }),
            (None, Err(error)) => Err(NounsError::Json {
                file: source.to_owned(),
                source: error,
            }),
            (None, Ok(())) => Ok(collector.captions),
        }
    }
}

/// Takes entries one by one.
struct Collector<'a> {
    source: &'a str,
    rules: TextRules,
    targets: HashMap<&'a str, usize>,
    seen: HashSet<String>,
    captions: Captions,
    /// The first rule that was broken.
    problem: Option<NounsError>,
}

impl<'de> DeserializeSeed<'de> for &mut Collector<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Collector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with one object per noun")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(fields) = entries.next_element()? {
            if let Err(problem) = self.add(fields) {
                self.problem = Some(problem);
                return Err(A::Error::custom("a rule of caption files is broken"));
            }
        }
        Ok(())
    }
}

impl Collector<'_> {
    fn add(&mut self, fields: Fields) -> Result<(), NounsError> {
        let noun = fields.target_noun;
        let problem = |problem| NounsError::Caption {
            file: self.source.to_owned(),
            noun: noun.clone(),
            problem,
        };
        if self.seen.contains(&noun) {
            return Err(problem(CaptionProblem::RepeatedNoun));
        }
        let mut respaced = 0;
        let singular = check(
            fields.singular_captions,
            Number::Singular,
            self.rules,
            &mut respaced,
        );
        let plural = check(
            fields.plural_captions,
            Number::Plural,
            self.rules,
            &mut respaced,
        );
        let captions = [singular.map_err(&problem)?, plural.map_err(&problem)?];
        self.captions.respaced += respaced;
        self.captions.total.add(&captions);
        match self.targets.get(noun.as_str()) {
            Some(&target) => self.captions.nouns.push(NounCaptions { target, captions }),
            None => {
                self.captions.unknown_nouns += 1;
                self.captions.unknown.add(&captions);
            }
        }
        self.seen.insert(noun);
        Ok(())
    }
}

/// The captions of one number with their final full stops.
fn check(
    captions: Vec<String>,
    number: Number,
    rules: TextRules,
    respaced: &mut u64,
) -> Result<Vec<String>, CaptionProblem> {
    let mut spelled = HashSet::with_capacity(captions.len());
    let mut kept = Vec::with_capacity(captions.len());
    for raw in captions {
        let caption = match rules {
            TextRules::Mended => with_full_stop(collapse_spaces(&raw)),
            TextRules::Original => with_full_stop(raw.clone()),
        };
        let raw = with_full_stop(raw);
        let field = field(number);
        let fields = caption.matches(field).count();
        if fields == 0 {
            return Err(CaptionProblem::NoField { caption, field });
        }
        if caption.matches(['{', '}']).count() != 2 * fields {
            return Err(CaptionProblem::OtherBraces { caption, field });
        }
        *respaced += u64::from(raw != caption);
        if !spelled.insert(raw) {
            return Err(CaptionProblem::RepeatedCaption { caption });
        }
        kept.push(caption);
    }
    if rules == TextRules::Mended {
        // Some may differ by white space only.
        let mut seen = HashSet::with_capacity(kept.len());
        kept.retain(|caption| seen.insert(caption.clone()));
    }
    Ok(kept)
}

fn with_full_stop(mut caption: String) -> String {
    if !caption.ends_with('.') {
        caption.push('.');
    }
    caption
}
