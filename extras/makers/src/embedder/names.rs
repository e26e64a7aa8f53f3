//! Names of emoji: CLDR short names, shortcodes and Unicode character names.

use super::failure::{Outcome, read_json};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

#[derive(Deserialize)]
struct Entry {
    label: String,
    hexcode: String,
    group: Option<u32>,
    subgroup: Option<u32>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Codes {
    One(String),
    Many(Vec<String>),
}

/// Group of flags in the Unicode emoji list.
const FLAGS: u32 = 9;
/// Group of animals and plants.
const NATURE: u32 = 3;
/// Group of skin tones and hair styles.
const COMPONENTS: u32 = 2;
/// Subgroup of keycaps.
const KEYCAPS: u32 = 94;

/// Letters and digits of a name in lower case: the form names are joined by.
pub fn squash(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// A name as it is embedded: plain lower-case words.
pub fn clean(name: &str) -> String {
    let spaced: String = name
        .chars()
        .map(|c| match c {
            '_' | '-' | ':' | '(' | ')' | ',' | '&' | '/' => ' ',
            c => c,
        })
        .filter(|c| !matches!(c, '“' | '”' | '"' | '!' | '.' | '⊛'))
        .collect();
    let words: Vec<String> = spaced
        .split_whitespace()
        .map(|w| w.replace('’', "'").to_lowercase())
        .collect();
    words.join(" ")
}

/// A code-point sequence without presentation selectors, in lower case.
pub fn bare(code: &str) -> String {
    let parts: Vec<String> = code
        .split('-')
        .map(|p| p.to_lowercase())
        .filter(|p| p != "fe0f" && p != "fe0e")
        .collect();
    parts.join("-")
}

/// What a code-point sequence stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Code points of the neutral form, the class id.
    pub key: String,
    /// Whether the sequence itself is a gendered form of `key`.
    pub gendered: bool,
}

/// Known emoji: key → names, first the class name.
pub struct Names {
    names: BTreeMap<String, Vec<String>>,
    joins: HashMap<String, String>,
    details: HashMap<String, (u32, Vec<String>)>,
    class_names: HashSet<String>,
}

impl Names {
    /// Reads `emojibase-data` below the given `node_modules` folder.
    pub fn read(modules: &Path) -> Outcome<Self> {
        let folder = modules.join("emojibase-data/en");
        let entries: Vec<Entry> = read_json(&folder.join("data.json"))?;
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut joins = HashMap::new();
        let mut details = HashMap::new();
        for entry in entries {
            let Some(group) = entry.group else { continue };
            let key = bare(&entry.hexcode);
            let clock =
                u32::from_str_radix(&key, 16).is_ok_and(|c| (0x1f550..=0x1f567).contains(&c));
            if group == FLAGS || group == COMPONENTS || entry.subgroup == Some(KEYCAPS) || clock {
                continue;
            }
            joins.insert(squash(&entry.label), key.clone());
            details.insert(key.clone(), (group, entry.tags));
            names.insert(key, vec![clean(&entry.label)]);
        }
        // A code point's Unicode name is how older sets name their files.
        for key in names.keys() {
            if let Some(c) = u32::from_str_radix(key, 16).ok().and_then(char::from_u32)
                && let Some(name) = unicode_names2::name(c)
            {
                joins
                    .entry(squash(&name.to_string()))
                    .or_insert_with(|| key.clone());
            }
        }
        let taken: HashMap<String, String> = names
            .iter()
            .map(|(key, n)| (n[0].clone(), key.clone()))
            .collect();
        for file in [
            "cldr",
            "emojibase",
            "joypixels",
            "iamcal",
            "github",
            "emojibase-legacy",
        ] {
            let codes: BTreeMap<String, Codes> =
                read_json(&folder.join(format!("shortcodes/{file}.json")))?;
            for (code, value) in codes {
                let key = bare(&code);
                if !names.contains_key(&key) {
                    continue;
                }
                let list = match value {
                    Codes::One(one) => vec![one],
                    Codes::Many(many) => many,
                };
                for short in list {
                    joins.entry(squash(&short)).or_insert_with(|| key.clone());
                    let name = clean(&short);
                    let plain = name.chars().count() > 2
                        && !name.chars().any(|c| c.is_ascii_digit() || c == '+');
                    if let Some(known) = names.get_mut(&key)
                        && plain
                        && taken.get(&name).is_none_or(|owner| *owner == key)
                        && !known.iter().any(|k| squash(k) == squash(&name))
                    {
                        known.push(name);
                    }
                }
            }
        }
        let class_names = taken.into_keys().collect();
        Ok(Self {
            names,
            joins,
            details,
            class_names,
        })
    }

    /// Names of a class, the class name first.
    pub fn of(&self, key: &str) -> Option<&[String]> {
        self.names.get(key).map(Vec::as_slice)
    }

    /// Keywords of a class.
    pub fn tags(&self, key: &str) -> &[String] {
        self.details.get(key).map_or(&[], |(_, tags)| tags)
    }

    /// Whether a class is an animal or a plant.
    pub fn is_animal(&self, key: &str) -> bool {
        self.details
            .get(key)
            .is_some_and(|(group, _)| *group == NATURE)
    }

    /// Whether some class has this name.
    pub fn is_class_name(&self, name: &str) -> bool {
        self.class_names.contains(name)
    }

    /// Code points of an emoji by any of its names.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.joins.get(&squash(name)).map(String::as_str)
    }

    /// Resolves a code-point sequence to its neutral class; `None` for skin
    /// tones, flags, keycaps, clock faces and couples of stated gender.
    pub fn subject(&self, code: &str) -> Option<Subject> {
        let code = bare(code);
        let parts: Vec<&str> = code.split('-').collect();
        if parts.len() > 1 && parts.iter().any(|p| ("1f3fb"..="1f3ff").contains(p)) {
            return None;
        }
        if let [head @ .., "200d", "2640" | "2642"] = parts.as_slice() {
            let key = head.join("-");
            return self.names.contains_key(&key).then_some(Subject {
                key,
                gendered: true,
            });
        }
        if let ["1f468" | "1f469", "200d", rest @ ..] = parts.as_slice() {
            let key = format!("1f9d1-200d-{}", rest.join("-"));
            return self.names.contains_key(&key).then_some(Subject {
                key,
                gendered: true,
            });
        }
        self.names.contains_key(&code).then_some(Subject {
            key: code,
            gendered: false,
        })
    }
}
