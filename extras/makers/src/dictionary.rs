//! The embedded dictionary as the makers need it.

use crate::embedder::failure::{Outcome, at, content};
use std::path::Path;

/// A noun and how common it is, as thresholds of the product count.
pub struct Noun {
    pub text: String,
    pub frequency: u64,
}

/// Reads the compressed dictionary.
pub fn read(path: &Path) -> Outcome<Vec<Noun>> {
    #[derive(serde::Deserialize)]
    struct Entry {
        target_noun: String,
        singulars_freq: Vec<u64>,
        plurals_freq: Vec<u64>,
    }
    let bytes = std::fs::read(path).map_err(at(path))?;
    let text = zstd::bulk::decompress(&bytes, 64 << 20).map_err(at(path))?;
    let entries: Vec<Entry> = serde_json::from_slice(&text).map_err(|e| content(path, e))?;
    let nouns = entries.into_iter().map(|entry| Noun {
        text: entry.target_noun,
        frequency: entry.singulars_freq.iter().chain(&entry.plurals_freq).sum(),
    });
    Ok(nouns.collect())
}
