//! Looking for what is wrong with a caption file, and mending it
//! (`nouns-captions.md` 8.4).

use std::collections::HashSet;

use deunicode::deunicode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field;
use crate::nouns::article::indefinite_article;
use crate::nouns::error::NounsError;
use crate::nouns::noun::Number;

/// What a caption must not end with.
const ENDINGS: [char; 5] = [',', '.', '?', '!', ':'];

/// A rule that captions of a noun break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptionRule {
    /// Fewer singular captions than wanted.
    TooFewSingular,
    /// Fewer plural captions than wanted.
    TooFewPlural,
    /// A singular caption twice.
    DuplicateSingular,
    /// A plural caption twice.
    DuplicatePlural,
    /// A caption twice in both lists together.
    DuplicateCombined,
    /// A singular caption without the place of the noun.
    SingularWithoutPlaceholder,
    /// A plural caption without the place of the noun.
    PluralWithoutPlaceholder,
    /// A singular caption with other groups in braces than that.
    SingularUnexpectedPlaceholder,
    /// A plural caption with other groups in braces than that.
    PluralUnexpectedPlaceholder,
    /// A singular caption that ends with punctuation.
    SingularEndPunctuation,
    /// A plural caption that ends with punctuation.
    PluralEndPunctuation,
    /// A singular caption that is not ASCII.
    SingularNonAscii,
    /// A plural caption that is not ASCII.
    PluralNonAscii,
    /// "a" or "an" before a noun none of whose spellings takes it.
    WrongArticle,
    /// A spelling of the noun beside its place.
    LiteralNoun,
}

impl CaptionRule {
    /// Name in reports.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }

    /// Whether the original's check tool knows it.
    pub fn is_original(self) -> bool {
        !matches!(self, Self::WrongArticle | Self::LiteralNoun)
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptionFinding {
    /// The noun.
    pub noun: String,
    /// The rule.
    pub rule: CaptionRule,
    /// The first caption that breaks it, if it is about captions.
    pub caption: Option<String>,
}

/// The keys of an entry that are looked at.
#[derive(Deserialize)]
struct Entry {
    target_noun: String,
    #[serde(default)]
    singulars: Vec<String>,
    #[serde(default)]
    plurals: Vec<String>,
    #[serde(default)]
    singulars_freq: Vec<u64>,
    #[serde(default)]
    plurals_freq: Vec<u64>,
    singular_captions: Vec<String>,
    plural_captions: Vec<String>,
    #[serde(default)]
    num_singular_captions: u64,
    #[serde(default)]
    num_plural_captions: u64,
}

impl Entry {
    fn captions(&self, number: Number) -> &[String] {
        match number {
            Number::Singular => &self.singular_captions,
            Number::Plural => &self.plural_captions,
        }
    }

    fn spellings(&self, number: Number) -> &[String] {
        match number {
            Number::Singular => &self.singulars,
            Number::Plural => &self.plurals,
        }
    }
}

/// Checks one entry of a caption file. Entries of nouns without frequency are
/// passed over.
///
/// # Errors
/// The entry lacks its noun or its captions.
pub fn check_captions(file: &str, entry: &Value) -> Result<Vec<CaptionFinding>, NounsError> {
    let entry: Entry = parse(file, entry)?;
    let frequency: u64 = entry.singulars_freq.iter().chain(&entry.plurals_freq).sum();
    let mut findings = Findings {
        noun: &entry.target_noun,
        all: Vec::new(),
    };
    if frequency == 0 {
        return Ok(findings.all);
    }
    let count = |number: Number| entry.captions(number).len() as u64;
    if count(Number::Singular) < entry.num_singular_captions {
        findings.add(CaptionRule::TooFewSingular, None);
    }
    if count(Number::Plural) < entry.num_plural_captions {
        findings.add(CaptionRule::TooFewPlural, None);
    }
    let both = entry.singular_captions.iter().chain(&entry.plural_captions);
    findings.duplicates(
        entry.singular_captions.iter(),
        CaptionRule::DuplicateSingular,
    );
    findings.duplicates(entry.plural_captions.iter(), CaptionRule::DuplicatePlural);
    findings.duplicates(both, CaptionRule::DuplicateCombined);
    for number in Number::ALL {
        for caption in entry.captions(number) {
            for rule in broken_rules(caption, number, entry.spellings(number)) {
                findings.add(rule, Some(caption));
            }
        }
    }
    Ok(findings.all)
}

fn parse(file: &str, entry: &Value) -> Result<Entry, NounsError> {
    Entry::deserialize(entry).map_err(|error| NounsError::NotACaptionFile {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

struct Findings<'a> {
    noun: &'a str,
    all: Vec<CaptionFinding>,
}

impl Findings<'_> {
    /// Adds a finding, each rule once.
    fn add(&mut self, rule: CaptionRule, caption: Option<&String>) {
        if self.all.iter().all(|known| known.rule != rule) {
            self.all.push(CaptionFinding {
                noun: self.noun.to_owned(),
                rule,
                caption: caption.cloned(),
            });
        }
    }

    fn duplicates<'c>(&mut self, captions: impl Iterator<Item = &'c String>, rule: CaptionRule) {
        let mut seen = HashSet::new();
        for caption in captions {
            if !seen.insert(caption) {
                self.add(rule, Some(caption));
            }
        }
    }
}

/// The rules that one caption breaks by itself.
fn broken_rules(caption: &str, number: Number, spellings: &[String]) -> Vec<CaptionRule> {
    use CaptionRule::*;
    let [without, unexpected, ending, ascii] = match number {
        Number::Singular => [
            SingularWithoutPlaceholder,
            SingularUnexpectedPlaceholder,
            SingularEndPunctuation,
            SingularNonAscii,
        ],
        Number::Plural => [
            PluralWithoutPlaceholder,
            PluralUnexpectedPlaceholder,
            PluralEndPunctuation,
            PluralNonAscii,
        ],
    };
    let broken = [
        (without, !caption.contains(field(number))),
        (
            unexpected,
            groups(caption) != HashSet::from([field(number)]),
        ),
        (ending, caption.ends_with(ENDINGS)),
        (ascii, !caption.is_ascii()),
        (WrongArticle, has_wrong_article(caption, number, spellings)),
        (LiteralNoun, has_literal_noun(caption, number, spellings)),
    ];
    broken
        .into_iter()
        .filter(|(_, broken)| *broken)
        .map(|(rule, _)| rule)
        .collect()
}

/// The different innermost groups in braces.
fn groups(caption: &str) -> HashSet<&str> {
    let mut groups = HashSet::new();
    let mut open = None;
    for (at, letter) in caption.char_indices() {
        match (letter, open) {
            ('{', _) => open = Some(at),
            ('}', Some(start)) => {
                groups.insert(&caption[start..=at]);
                open = None;
            }
            _ => {}
        }
    }
    groups
}

/// Whether "a" or "an" stands before the noun, but none of its spellings takes
/// it.
fn has_wrong_article(caption: &str, number: Number, spellings: &[String]) -> bool {
    let parts: Vec<&str> = caption.split(field(number)).collect();
    let before = &parts[..parts.len().saturating_sub(1)];
    before.iter().any(|part| {
        let word = part
            .strip_suffix(' ')
            .and_then(|part| part.rsplit(' ').next());
        let article = match word.map(str::to_lowercase).as_deref() {
            Some("a") => "a ",
            Some("an") => "an ",
            _ => return false,
        };
        !spellings.is_empty()
            && spellings
                .iter()
                .all(|noun| indefinite_article(noun) != article)
    })
}

/// Whether a spelling of the noun occurs as a word of its own.
fn has_literal_noun(caption: &str, number: Number, spellings: &[String]) -> bool {
    let rest = caption.replace(field(number), "\u{0}").to_lowercase();
    let is_word = |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
    spellings
        .iter()
        .filter(|noun| !noun.is_empty())
        .any(|noun| {
            let noun = noun.to_lowercase();
            rest.match_indices(&noun).any(|(at, found)| {
                let before = rest[..at].chars().next_back();
                let after = rest[at + found.len()..].chars().next();
                !is_word(before) && !is_word(after)
            })
        })
}

/// Mends the captions of an entry: transliterates them, removes punctuation at
/// their ends, and drops those that occur again or have other places than that
/// of the noun. Returns how many were rewritten and how many dropped.
///
/// # Errors
/// The entry lacks its noun or its captions.
pub fn repair_captions(file: &str, entry: &mut Value) -> Result<(u64, u64), NounsError> {
    let parsed = parse(file, entry)?;
    let (mut rewritten, mut dropped) = (0, 0);
    for (key, number) in [
        ("singular_captions", Number::Singular),
        ("plural_captions", Number::Plural),
    ] {
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for caption in parsed.captions(number) {
            let mended = deunicode(caption);
            let mended = mended
                .trim()
                .trim_end_matches(ENDINGS)
                .trim_end()
                .to_owned();
            let fields = mended.matches(field(number)).count();
            let is_sound = fields > 0 && mended.matches(['{', '}']).count() == 2 * fields;
            if !is_sound || !seen.insert(mended.clone()) {
                dropped += 1;
                continue;
            }
            rewritten += u64::from(mended != *caption);
            kept.push(Value::String(mended));
        }
        entry[key] = Value::Array(kept);
    }
    Ok((rewritten, dropped))
}
