//! Weights & Biases against the reference data in `tracking-wandb`.

mod cases;
mod faults;
mod final_states;
mod logs;
mod points;
mod reading_back;
mod reports;
mod server;
mod settings;
mod training;

/// Folder of the area.
const AREA: &str = "tracking-wandb";

/// Files of the area with this ending, sorted.
fn files(ending: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(crate::golden::area(AREA)).expect("the area is listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {AREA}");
    found
}

/// A JSON file.
fn json(path: &std::path::Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("a file");
    // Python writes numbers that JSON lacks.
    let text = text
        .replace(": NaN", ": \"NaN\"")
        .replace(": Infinity", ": \"Infinity\"")
        .replace(": -Infinity", ": \"-Infinity\"");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recordings: every JSON file that has a final state.
fn recordings() -> Vec<(String, serde_json::Value)> {
    let found: Vec<_> = files(".json")
        .iter()
        .map(|path| (path.display().to_string(), json(path)))
        .filter(|(_, recording)| recording.get("final_state").is_some())
        .collect();
    assert!(!found.is_empty(), "no recordings in {AREA}");
    found
}

/// The runs of a recording in their final state.
fn final_runs(recording: &serde_json::Value) -> Vec<serde_json::Value> {
    let state = &recording["final_state"];
    match state["runs"].as_object() {
        Some(runs) => runs.values().cloned().collect(),
        None => vec![state.clone()],
    }
}
