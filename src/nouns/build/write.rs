//! The dictionary as a file.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::class_lists::ClassLists;
use super::error::BuildError;
use crate::nouns::noun::{Noun, Spelling};

/// Slow to write, as fast to read as any.
const LEVEL: i32 = 19;

/// The nouns as JSON, one per line.
pub fn to_json(nouns: &[Noun]) -> String {
    let texts = |spellings: &[Spelling]| -> Vec<String> {
        spellings.iter().map(|s| s.text.clone()).collect()
    };
    let frequencies =
        |spellings: &[Spelling]| -> Vec<u32> { spellings.iter().map(|s| s.frequency).collect() };
    let lines = nouns.iter().map(|noun| {
        json!({
            "id": noun.id,
            "target_noun": noun.target,
            "pretty_noun": noun.pretty,
            "singulars": texts(&noun.singulars),
            "plurals": texts(&noun.plurals),
            "singulars_freq": frequencies(&noun.singulars),
            "plurals_freq": frequencies(&noun.plurals),
            "hypernyms": noun.hypernyms,
        })
        .to_string()
    });
    format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n"))
}

/// Writes the nouns to `out`: plain JSON, or compressed if the name ends in
/// `.zst`, with the BLAKE3 of the JSON in a file of the same name ending in
/// `.b3`.
pub fn write_dictionary(nouns: &[Noun], out: &Path) -> Result<(), BuildError> {
    let json = to_json(nouns);
    if out.extension().is_none_or(|extension| extension != "zst") {
        return write(out, json.as_bytes());
    }
    let compressed = zstd::bulk::compress(json.as_bytes(), LEVEL);
    let compressed = compressed.map_err(|source| BuildError::Write {
        path: out.to_owned(),
        source,
    })?;
    write(out, &compressed)?;
    let hash = blake3::hash(json.as_bytes()).to_hex();
    write(&out.with_extension("b3"), format!("{hash}\n").as_bytes())
}

/// Writes class name lists as JSON.
pub fn write_class_lists(lists: &ClassLists, out: &Path) -> Result<(), BuildError> {
    write(out, format!("{:#}\n", json!(lists)).as_bytes())
}

/// Writes a list.
pub fn write_text(text: &str, out: &Path) -> Result<(), BuildError> {
    write(out, text.as_bytes())
}

fn write(path: &Path, content: &[u8]) -> Result<(), BuildError> {
    fs::write(path, content).map_err(|source| BuildError::Write {
        path: path.to_owned(),
        source,
    })
}
