//! Where the reference data lies and how its files are read.

use std::path::PathBuf;

use serde_json::Value;

/// Folder of one area: `$NOVIC_GOLDEN/<area>`, default `tests/golden/<area>`.
///
/// # Panics
/// If it does not exist: missing reference data is a failure, never a skip.
pub fn area(name: &str) -> PathBuf {
    let root = std::env::var_os("NOVIC_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let dir = root.join(name);
    assert!(dir.is_dir(), "reference data missing: {}", dir.display());
    dir
}

/// A parsed JSON file of an area.
pub fn json(area_name: &str, file: &str) -> Value {
    let path = area(area_name).join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()))
}
