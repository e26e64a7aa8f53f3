//! Pictures of Debian's `openclipart-png`, named after their subject.

use super::failure::{Outcome, at};
use super::names::clean;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A picture file with the name of its subject.
pub struct Clip {
    pub path: PathBuf,
    pub name: String,
}

/// Folders of patterns, themes, flags and signs that name no subject.
const SKIPPED: [&str; 22] = [
    "computer/icons",
    "computer/buttons",
    "shapes",
    "signs_and_symbols/flags",
    "signs_and_symbols/map_symbols",
    "signs_and_symbols/led",
    "signs_and_symbols/clocks",
    "signs_and_symbols/weather",
    "recreation/games/cards",
    "recreation/games/dice",
    "special",
    "transportation/aiga-symbols",
    "transportation/roadsigns",
    "logos",
    "unsorted",
    "decorations",
    "geography/maps",
    "people/stickmen",
    "education/books",
    "computer/network",
    "computer/folders",
    "electronics/battery",
];

/// Words that describe the drawing, not its subject.
const EMPTY_WORDS: [&str; 16] = [
    "architetto",
    "art",
    "clip",
    "icon",
    "simple",
    "the",
    "a",
    "name",
    "logo",
    "picture",
    "image",
    "sketch",
    "drawing",
    "cartoon",
    "outline",
    "ganson",
];

/// Reads all usable pictures, sorted by path. The subject is the longest noun
/// of `nouns` at the start of the file name; file names end in their author.
pub fn read(root: &Path, nouns: &HashSet<String>) -> Outcome<Vec<Clip>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let clips = files.into_iter().filter_map(|path| {
        let inside = path.strip_prefix(root).ok()?.to_str()?.to_string();
        if SKIPPED.iter().any(|folder| inside.starts_with(folder)) {
            return None;
        }
        let name = subject(path.file_stem()?.to_str()?, nouns)?;
        Some(Clip { path, name })
    });
    Ok(clips.collect())
}

/// Name of the subject from a file name.
fn subject(stem: &str, nouns: &HashSet<String>) -> Option<String> {
    let plain = clean(stem);
    let words: Vec<String> = plain
        .split(' ')
        .map(|w| w.trim_end_matches(|c: char| c.is_ascii_digit()).to_string())
        .skip_while(|w| EMPTY_WORDS.contains(&w.as_str()))
        .take_while(|w| !w.is_empty())
        .take(3)
        .collect();
    for length in (1..=words.len()).rev() {
        let name = words[..length].join(" ");
        let single = name.strip_suffix('s').unwrap_or(&name);
        for form in [name.as_str(), single] {
            if form.len() > 2 && nouns.contains(form) {
                return Some(form.to_string());
            }
        }
    }
    None
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "png") && !path.is_symlink() {
            files.push(path);
        }
    }
    Ok(())
}
