//! `checkpoint_paths.json`: which files names stand for (`training.md` 3.6).

use std::path::Path;

use novic::infer::{CheckpointNames, SearchPlaces};
use serde_json::Value as Json;

use crate::golden;

#[test]
fn names_stand_for_the_recorded_files() {
    let reference = golden::json("training", "checkpoint_paths.json");
    let folder = tempfile::tempdir().unwrap();
    for file in texts(&reference["files"]) {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let outputs = reference["output_parent"].as_str().unwrap();
    let places = SearchPlaces {
        working_dir: folder.path(),
        outputs: &folder.path().join(outputs),
        trainings: None,
    };
    let cases = reference["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let many: Vec<String> = match &case["load_models"] {
            Json::String(one) => vec![one.clone()],
            list => texts(list).into_iter().map(str::to_owned).collect(),
        };
        let found = CheckpointNames {
            load: case["load_model"].as_str().unwrap(),
            load_many: &many,
            per_dir: case["load_models_dirnum"].as_u64().unwrap() as usize,
        }
        .find(&places);
        let relative = |path: &Path| {
            let path = path.strip_prefix(folder.path()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let found: Vec<String> = found.iter().map(|path| relative(path)).collect();
        if case["error"].is_null() {
            assert_eq!(found, texts(&case["result"]), "{}", case["case"]);
        } else {
            assert!(found.is_empty(), "{}: {found:?}", case["case"]);
        }
    }
}

fn texts(list: &Json) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap()).collect()
}
