//! The packs of held-out test drawings, their classes, and the demo pictures.

use super::failure::{Outcome, at, content, read_json, write_json};
use super::icons::{self, Drawing, FileNames, TEST_SETS};
use super::names::{Names, clean};
use super::zip::Archive;
use super::{raster, threads, wordnet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Side of the packed drawings in pixels.
const SIDE: u32 = 72;
/// Side of the demo pictures in pixels.
const DEMO_SIDE: u32 = 256;

/// A class of the test.
#[derive(Serialize, Deserialize)]
pub struct Class {
    /// Code points in hexadecimal, joined by `-`.
    pub id: String,
    /// Name the zero-shot text is made from.
    pub name: String,
    /// Names that count as correct, the class name included.
    pub names: Vec<String>,
}

/// A drawing of a pack.
#[derive(Serialize, Deserialize)]
pub struct Packed {
    /// File name inside the archive.
    pub file: String,
    /// Place of its class in the list.
    pub class: usize,
    /// First byte of the PNG file in the archive.
    pub offset: usize,
    /// Bytes of the PNG file.
    pub length: usize,
}

/// One style.
#[derive(Serialize, Deserialize)]
pub struct Pack {
    pub style: String,
    pub archive: String,
    pub pictures: Vec<Packed>,
}

/// The list beside the archives.
#[derive(Serialize, Deserialize)]
pub struct Drawings {
    pub classes: Vec<Class>,
    pub styles: Vec<Pack>,
}

/// Adjectives before a noun that names the subject as well.
const ADJECTIVES: [&str; 25] = [
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "light",
    "purple",
    "brown",
    "black",
    "grey",
    "white",
    "pink",
    "large",
    "small",
    "medium",
    "cooked",
    "old",
    "open",
    "closed",
    "spiral",
    "folding",
    "delivery",
    "front-facing",
    "wrapped",
    "oncoming",
];

/// Words after which a name tells what else is in the picture.
const ASIDES: [&str; 9] = [
    "with", "without", "in", "on", "behind", "over", "at", "showing", "from",
];

/// Leading words of a name that say how or which way, beside adjectives and
/// participles.
const DIRECTIONS: [&str; 8] = [
    "up",
    "down",
    "left",
    "right",
    "leftwards",
    "rightwards",
    "upwards",
    "downwards",
];

/// Subjects whose Unicode name is not what people call them: code points, then
/// names.
const SPOKEN: &str = include_str!("../../data/spoken_names.tsv");

/// Drawings shown when the product is tried out.
const DEMO: [(&str, &str); 16] = [
    ("1f98a", "fluent-emoji"),
    ("1f418", "fluent-emoji"),
    ("1f34c", "fluent-emoji"),
    ("1f682", "fluent-emoji"),
    ("1f3b8", "fluent-emoji"),
    ("1f422", "fluent-emoji"),
    ("1f40c", "fluent-emoji"),
    ("26f5", "fluent-emoji"),
    ("1f98b", "fluent-emoji-flat"),
    ("1f419", "fluent-emoji-flat"),
    ("1f353", "fluent-emoji-flat"),
    ("1f681", "fluent-emoji-flat"),
    ("2702", "fluent-emoji-flat"),
    ("1f335", "fluent-emoji-flat"),
    ("1f511", "fluent-emoji-flat"),
    ("1f427", "fluent-emoji-flat"),
];

/// Renders the test sets into `folder` and the demo pictures into `demo`.
pub fn pack(modules: &Path, folder: &Path, demo: &Path) -> Outcome<()> {
    let names = Names::read(modules)?;
    let files = FileNames::read(modules)?;
    let mut sets: Vec<BTreeMap<String, Drawing>> = Vec::new();
    for style in TEST_SETS {
        let drawings = icons::read(modules, style, &files, &names)?;
        let plain = drawings
            .into_iter()
            .filter(|d| !d.gendered && !d.key.starts_with("name:"));
        sets.push(plain.map(|d| (d.key.clone(), d)).collect());
    }
    let synonyms = wordnet::Synsets::read(modules)?;
    let ids: Vec<String> = sets[0]
        .keys()
        .filter(|k| sets[1].contains_key(*k))
        .cloned()
        .collect();
    let classes: Vec<Class> = ids.iter().map(|id| class(id, &names, &synonyms)).collect();
    let mut styles = Vec::new();
    for (style, set) in TEST_SETS.iter().zip(&sets) {
        let pngs = threads::map(ids.len(), |i| {
            let pixels = raster::svg(&set[&ids[i]].svg, SIDE)?;
            raster::indexed_png(&raster::on_white(&pixels), SIDE)
        });
        let mut archive = Archive::default();
        let mut pictures = Vec::new();
        for (i, png) in pngs.iter().enumerate() {
            let Some(png) = png else {
                return Err(content(
                    folder,
                    format!("{style}: {} cannot be rendered", ids[i]),
                ));
            };
            let file = format!("{}.png", ids[i]);
            let offset = archive.add(&file, png);
            pictures.push(Packed {
                file,
                class: i,
                offset,
                length: png.len(),
            });
        }
        let name = format!("{style}.zip");
        let path = folder.join(&name);
        let bytes = archive.finish();
        println!("{name}: {} drawings, {} bytes", pictures.len(), bytes.len());
        std::fs::write(&path, bytes).map_err(at(&path))?;
        styles.push(Pack {
            style: (*style).into(),
            archive: name,
            pictures,
        });
    }
    for (id, style) in DEMO {
        let set = &sets[usize::from(style == TEST_SETS[1])];
        let Some(drawing) = set.get(id) else { continue };
        let picture = raster::svg(&drawing.svg, DEMO_SIDE)
            .and_then(|pixels| raster::indexed_png(&raster::on_white(&pixels), DEMO_SIDE));
        let path = demo.join(format!("{}.png", drawing.names[0].replace(' ', "-")));
        let png = picture.ok_or_else(|| content(&path, "the drawing cannot be rendered"))?;
        std::fs::write(&path, png).map_err(at(&path))?;
    }
    write_json(&folder.join("drawings.json"), &Drawings { classes, styles })
}

/// Reads the list of a folder.
pub fn read(folder: &Path) -> Outcome<Drawings> {
    read_json(&folder.join("drawings.json"))
}

/// The noun that a descriptive name is about: `crying cat` is about a cat,
/// `ear with hearing aid` about an ear, but `hot dog` is a noun of its own.
fn subject(name: &str, nouns: &wordnet::Synsets) -> Option<String> {
    let words: Vec<&str> = name.split(' ').collect();
    let aside = |word: &&str| ASIDES.contains(word);
    let end = words.iter().position(aside).unwrap_or(words.len());
    let mut words = &words[..end];
    while !nouns.knows(&words.join(" ")) {
        let (first, rest) = words.split_first()?;
        if !DIRECTIONS.contains(first) && !nouns.is_adjective(first) {
            return None;
        }
        words = rest;
    }
    Some(words.join(" "))
}

/// Accepted names: the CLDR name, its shortcodes, the noun behind a plain
/// adjective, the subject of a description, an animal without the word `face`,
/// what people call it, and keywords that WordNet lists as a synonym of one of these.
fn class(id: &str, names: &Names, synonyms: &wordnet::Synsets) -> Class {
    let mut accepted: Vec<String> = names.of(id).map(<[String]>::to_vec).unwrap_or_default();
    let name = accepted.first().cloned().unwrap_or_default();
    let mut rest = name.as_str();
    while let Some((adjective, noun)) = rest.split_once(' ')
        && ADJECTIVES.contains(&adjective)
    {
        rest = noun;
        if synonyms.knows(noun) {
            accepted.push(noun.into());
        }
    }
    accepted.extend(subject(&name, synonyms));
    if let Some(animal) = name.strip_suffix(" face")
        && names.is_animal(id)
    {
        accepted.push(animal.into());
    }
    for line in SPOKEN.lines() {
        let mut fields = line.split('\t');
        if fields.next() == Some(id) {
            accepted.extend(fields.map(str::to_string));
        }
    }
    for tag in names.tags(id) {
        let tag = clean(tag);
        // The keyword `dog` of a hot dog names another class.
        let free = !names.is_class_name(&tag);
        if free && accepted.iter().any(|known| synonyms.share(known, &tag)) {
            accepted.push(tag);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    accepted.retain(|n| seen.insert(n.clone()));
    Class {
        id: id.into(),
        name,
        names: accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_about_their_subject() {
        let nouns = wordnet::Synsets::of(
            &[
                "cat",
                "ear",
                "hot dog",
                "dog",
                "arrow",
                "post office",
                "office",
                "up",
            ],
            &["hot", "japanese", "no"],
        );
        for (name, about) in [
            ("crying cat", Some("cat")),
            ("grinning cat with smiling eyes", Some("cat")),
            ("ear with hearing aid", Some("ear")),
            ("hot dog", Some("hot dog")),
            ("up left arrow", Some("arrow")),
            ("japanese post office", Some("post office")),
            ("hundred points", None),
            ("ping pong", None),
            ("no dog", None),
            ("with", None),
        ] {
            assert_eq!(subject(name, &nouns).as_deref(), about, "{name}");
        }
    }
}
