//! `fix_checkpoints.json`: which old files are given their nouns, and which
//! (`training.md` 3.8).

use std::path::Path;

use novic::pickle::{Allow, Archive, ArchiveWriter, Dict, Value};
use novic::train::exchange;
use novic::train::repair::{self, Settings};

use super::files::cases;
use crate::golden;

#[test]
fn old_checkpoints_are_repaired_as_recorded() {
    let stored = golden::json("training", "checkpoints.json");
    let base = golden::area("training").join(stored[0]["file"].as_str().unwrap());
    for case in cases("fix_checkpoints.json") {
        let name = case["case"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(case["file"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        changed(&base, &path, |top| damage(name, top));
        let before = std::fs::read(&path).unwrap();

        let caches = golden::area("training").join("caches");
        let repairs = repair::run(&Settings {
            outputs: folder.path().join("fixdir"),
            cache_dir: Some(caches),
            vocabulary: None,
            only: Vec::new(),
            dry_run: case["dry_run"].as_bool().unwrap(),
        })
        .unwrap();
        let warnings = repairs.iter().filter(|(_, repair)| repair.is_warning());
        let expected = case["warnings"].as_u64().unwrap();
        assert_eq!(warnings.count() > 0, expected > 0, "{name}: {repairs:?}");

        let after = std::fs::read(&path).unwrap();
        let rewritten = case["rewritten"].as_bool().unwrap();
        assert_eq!(before != after, rewritten, "{name}: {repairs:?}");
        let backup = path.with_extension("train.bak");
        assert_eq!(backup.exists(), rewritten, "{name}");
        if rewritten {
            assert!(std::fs::read(backup).unwrap() == before, "{name}");
            let header = exchange::load_header(&path).unwrap();
            assert_eq!(
                serde_json::json!(header.target_nouns),
                case["target_nouns"],
                "{name}"
            );
            assert_eq!(
                serde_json::json!(header.num_invalid_target_nouns),
                case["num_invalid_target_nouns"],
                "{name}"
            );
            exchange::verify(&path).unwrap();
        }
    }
}

/// What a case's file lacks or has.
fn damage(case: &str, top: &mut Dict) {
    let mut remove = |name: &str| {
        top.entries.retain(|(key, _)| *key != Value::from(name));
    };
    if case != "complete" {
        remove("target_nouns");
    }
    if case.starts_with("legacy") {
        remove("num_invalid_target_nouns");
    }
    if case == "other_keys_missing" {
        remove("optimizer_state_dict");
    }
    let flat = top
        .entries
        .iter_mut()
        .find(|(key, _)| *key == Value::from("cfg_flat"));
    let Some((_, Value::Dict(flat))) = flat else {
        panic!("no configuration");
    };
    let mut set = |name: &str, value: &str| {
        let entry = flat
            .entries
            .iter_mut()
            .find(|(key, _)| *key == Value::from(name));
        entry.unwrap().1 = value.into();
    };
    match case {
        "not_a_training" => set("action", "eval"),
        "dataset_gone" => set("embedding_dataset", "gone.bin"),
        "config_keys_missing" => flat
            .entries
            .retain(|(key, _)| *key != Value::from("embedder_spec")),
        _ => {}
    }
}

/// A copy of a file with a change.
fn changed(from: &Path, to: &Path, change: impl Fn(&mut Dict)) {
    let archive = Archive::open(from).unwrap();
    let Value::Dict(mut top) = archive.value(Allow::Tensors).unwrap() else {
        panic!("no dictionary");
    };
    change(&mut top);
    let mut writer = ArchiveWriter::new();
    let value = writer.copy(&archive, &Value::Dict(top)).unwrap();
    let file = std::fs::File::create(to).unwrap();
    writer.write("changed", &value, file).unwrap();
}
