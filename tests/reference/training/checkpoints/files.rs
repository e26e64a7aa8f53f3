//! All checkpoint files of the reference data.

use std::path::{Path, PathBuf};

use novic::decoder::checkpoint::Checkpoint;
use novic::train::exchange;
use serde_json::Value as Json;

use crate::golden;

/// A checkpoint of the reference data, read.
pub struct Stored {
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
}

/// Every file that ends in `.train` or `.model`, of every area that has any.
pub fn all() -> Vec<Stored> {
    let mut paths = Vec::new();
    for (area, folder) in [
        ("training", "outputs"),
        ("training", "variants"),
        ("e2e", "results/outputs"),
    ] {
        let before = paths.len();
        collect(&golden::area(area).join(folder), &mut paths);
        assert!(paths.len() > before, "no checkpoints in {area}/{folder}");
    }
    paths.into_iter().map(read).collect()
}

/// Reads one.
pub fn read(path: PathBuf) -> Stored {
    let checkpoint = exchange::load(&path);
    let checkpoint = checkpoint.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Stored { path, checkpoint }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, paths);
        } else if matches!(
            entry.extension().and_then(|ending| ending.to_str()),
            Some("train" | "model")
        ) {
            paths.push(entry);
        }
    }
}

/// Entries of a JSON list of the area that is not empty.
pub fn cases(file: &str) -> Vec<Json> {
    let list = golden::json("training", file);
    let list = list.as_array().unwrap().clone();
    assert!(!list.is_empty(), "{file} is empty");
    list
}

/// Equal headers and bit-equal tensors.
pub fn assert_same(own: &Checkpoint, expected: &Checkpoint, what: &str) {
    assert_eq!(own.header, expected.header, "{what}");
    assert_same_tensors(own, expected, |_| true, what);
}

/// Bit-equal tensors under the names that count.
pub fn assert_same_tensors(
    own: &Checkpoint,
    expected: &Checkpoint,
    counts: impl Fn(&str) -> bool,
    what: &str,
) {
    let names = |checkpoint: &Checkpoint| {
        let mut names: Vec<String> = checkpoint.tensors.keys().cloned().collect();
        names.retain(|name| counts(name));
        names.sort();
        names
    };
    assert_eq!(names(own), names(expected), "{what}");
    for name in names(own) {
        let (own, expected) = (&own.tensors[&name], &expected.tensors[&name]);
        assert_eq!(own.dims(), expected.dims(), "{what}: {name}");
        let bits = |tensor: &candle_core::Tensor| -> Vec<u32> {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        assert!(bits(own) == bits(expected), "{what}: {name}");
    }
}
