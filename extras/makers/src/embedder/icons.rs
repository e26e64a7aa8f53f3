//! Icon sets in the Iconify JSON format, joined by Unicode code point.

use super::failure::{Outcome, read_json};
use super::names::{Names, Subject, clean, squash};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

#[derive(Deserialize)]
struct Icon {
    body: String,
    width: Option<f32>,
    height: Option<f32>,
    left: Option<f32>,
    top: Option<f32>,
}

#[derive(Deserialize)]
struct Set {
    icons: BTreeMap<String, Icon>,
    #[serde(default)]
    aliases: BTreeMap<String, serde_json::Value>,
    width: Option<f32>,
    height: Option<f32>,
}

/// One drawing of a set.
pub struct Drawing {
    /// Name of the set.
    pub style: String,
    /// File name of the drawing in its set.
    pub file: String,
    /// Class: code points, or `name:…` for subjects outside Unicode.
    pub key: String,
    /// Whether it is a gendered form of its class.
    pub gendered: bool,
    /// Names, the class name first.
    pub names: Vec<String>,
    /// The SVG document.
    pub svg: String,
}

/// Sets used for making the embedder, with their own map of code points.
pub const TRAINING_SETS: [&str; 9] = [
    "noto",
    "noto-v1",
    "twemoji",
    "openmoji",
    "emojione",
    "emojione-v1",
    "emojione-monotone",
    "fxemoji",
    "streamline-emojis",
];

/// Sets of the test; never read by a program that fits anything.
pub const TEST_SETS: [&str; 2] = ["fluent-emoji", "fluent-emoji-flat"];

/// Words of names that say the picture is excluded.
const EXCLUDED: [&str; 9] = [
    "flag",
    "skin-tone",
    "keycap",
    "oclock",
    "o-clock",
    "thirty",
    "regional",
    "digit",
    "ideograph",
];

/// File names whose set has its own word for an emoji, and the usual word.
const OWN_WORDS: &str = include_str!("../../data/own_words.tsv");

/// Code points of file names, from the sets that publish such a map.
pub struct FileNames(HashMap<String, String>);

impl FileNames {
    /// Reads the maps below the given `node_modules` folder.
    pub fn read(modules: &Path) -> Outcome<Self> {
        let mut map = HashMap::new();
        for set in ["fluent-emoji-flat", "noto", "twemoji", "openmoji"] {
            let chars: BTreeMap<String, String> =
                read_json(&modules.join("@iconify-json").join(set).join("chars.json"))?;
            for (code, name) in chars {
                map.entry(squash(&name)).or_insert(code);
            }
        }
        Ok(Self(map))
    }
}

/// Reads one set; drawings in the order of their file names.
pub fn read(
    modules: &Path,
    style: &str,
    files: &FileNames,
    names: &Names,
) -> Outcome<Vec<Drawing>> {
    let folder = modules.join("@iconify-json").join(style);
    let set: Set = read_json(&folder.join("icons.json"))?;
    let mut other_names: HashMap<&str, Vec<&str>> = HashMap::new();
    for (alias, value) in &set.aliases {
        if let Some(parent) = value.get("parent").and_then(|p| p.as_str()) {
            other_names.entry(parent).or_default().push(alias);
        }
    }
    let own: HashMap<&str, &str> = OWN_WORDS
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .collect();
    let own_chars: HashMap<String, String> = if folder.join("chars.json").exists() {
        let chars: BTreeMap<String, String> = read_json(&folder.join("chars.json"))?;
        chars.into_iter().map(|(code, name)| (name, code)).collect()
    } else {
        HashMap::new()
    };
    let mut drawings = Vec::new();
    for (file, icon) in &set.icons {
        // Streamline numbers its variants: `bird-1`, `bird-2`.
        let stem = match file.rsplit_once('-') {
            Some((stem, number))
                if style == "streamline-emojis" && number.parse::<u8>().is_ok() =>
            {
                stem
            }
            _ => file.as_str(),
        };
        let mut tries: Vec<&str> = vec![own.get(stem).copied().unwrap_or(stem)];
        tries.extend(other_names.get(file.as_str()).into_iter().flatten());
        let code = own_chars
            .get(file.as_str())
            .map(String::as_str)
            .filter(|c| !c.starts_with('e'))
            .or_else(|| {
                tries.iter().find_map(|name| {
                    names
                        .find(name)
                        .or_else(|| files.0.get(&squash(name)).map(String::as_str))
                })
            });
        let subject = match code {
            Some(code) => names.subject(code),
            None if EXCLUDED.iter().any(|word| file.contains(word)) => None,
            None => Some(Subject {
                key: format!("name:{}", squash(stem)),
                gendered: false,
            }),
        };
        let Some(Subject { key, gendered }) = subject else {
            continue;
        };
        let known = names
            .of(&key)
            .map(<[String]>::to_vec)
            .unwrap_or_else(|| vec![clean(stem)]);
        let width = icon.width.or(set.width).unwrap_or(16.0);
        let height = icon.height.or(set.height).unwrap_or(16.0);
        let (left, top) = (icon.left.unwrap_or(0.0), icon.top.unwrap_or(0.0));
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="#333" viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{}</svg>"##,
            icon.body
        );
        drawings.push(Drawing {
            style: style.into(),
            file: file.clone(),
            key,
            gendered,
            names: known,
            svg,
        });
    }
    Ok(drawings)
}
