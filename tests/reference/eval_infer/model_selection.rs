//! `model_selection.json`: which checkpoints a command works on.

use novic::evaluate::{ModelSelection, select_models};
use serde_json::Value;
use tempfile::TempDir;

use super::AREA;
use crate::golden;

#[test]
fn paths_and_their_order_are_those_of_the_original() {
    let data = golden::json(AREA, "model_selection.json");
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let names = |key: &str| -> Vec<String> { serde_json::from_value(data[key].clone()).unwrap() };
    for name in names("files") {
        std::fs::create_dir_all(root.join(&name).parent().unwrap()).unwrap();
        std::fs::write(root.join(&name), b"").unwrap();
    }
    for name in names("directories") {
        std::fs::create_dir_all(root.join(&name)).unwrap();
    }
    let working_directory = root.join(data["working_directory"].as_str().unwrap());
    let run_directory = root.join(data["run_directory"].as_str().unwrap());
    let cases = data["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let config = &case["config"];
        let mut paths = strings(&config["load_model"]);
        paths.extend(strings(&config["load_models"]));
        let per_directory = config["load_models_dirnum"].as_u64().unwrap_or(1);
        let selected = select_models(&ModelSelection {
            paths: &paths,
            per_directory: usize::try_from(per_directory).unwrap(),
            working_directory: &working_directory,
            run_directory: &run_directory,
        });
        let expected = strings(&case["paths"]);
        // Commands that may work without a model decide so themselves.
        if case["error"].is_null() && !expected.is_empty() {
            let selected: Vec<String> = selected
                .unwrap()
                .iter()
                .map(|path| {
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned()
                })
                .collect();
            assert_eq!(selected, expected, "{case}");
        } else {
            assert!(selected.is_err(), "{case}");
        }
    }
}

/// A list of texts, or a single one.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        list => serde_json::from_value(list.clone()).unwrap(),
    }
}
