//! `checkpoints.json`, `checkpoints.safetensors`, `variants.json`: members,
//! operations, structure and tensors of the original's files.

use novic::pickle::{Allow, Archive, Value};
use novic::train::exchange;
use serde_json::Value as Json;

use super::files::{assert_same_tensors, cases, read};
use super::values::{assert_described, assert_plain};
use super::{files, scan};
use crate::golden;

const AREA: &str = "training";

#[test]
fn structures_are_read_as_recorded() {
    for case in cases("checkpoints.json") {
        let file = case["file"].as_str().unwrap();
        let path = golden::area(AREA).join(file);
        let archive = Archive::open(&path).unwrap();
        archive.verify().unwrap();
        assert_eq!(archive.root(), case["zip_root"], "{file}");
        for (name, content) in case["other"].as_object().unwrap() {
            let member = archive.member(name).unwrap();
            assert_eq!(
                member,
                content.as_str().unwrap().as_bytes(),
                "{file}: {name}"
            );
        }
        let entries = case["entries"].as_array().unwrap();
        assert_eq!(archive.members().count(), entries.len(), "{file}");
        let scanned = scan::members(&std::fs::read(&path).unwrap());
        for (own, entry) in scanned.iter().zip(entries) {
            assert_eq!(own.name, entry["name"], "{file}");
            assert_eq!(own.size as u64, entry["size"], "{file}: {}", own.name);
            assert_eq!(own.method as u64, entry["compress"], "{file}: {}", own.name);
        }
        let value = archive.value(Allow::Tensors).unwrap();
        let top = value.dict("the file").unwrap();
        let keys: Vec<&str> = top.named("the file").unwrap().iter().map(|e| e.0).collect();
        assert_eq!(keys, texts(&case["keys"]), "{file}");
        let flat = top.get("cfg_flat").unwrap().dict("cfg_flat").unwrap();
        let expected = case["cfg_flat"].as_object().unwrap();
        assert_eq!(flat.entries.len(), expected.len(), "{file}");
        for (name, value) in flat.named("cfg_flat").unwrap() {
            assert_plain(value, &expected[name], &format!("{file}: {name}"));
        }
        for (name, expected) in case["structure"].as_object().unwrap() {
            let what = format!("{file}: {name}");
            assert_described(top.get(name).unwrap(), expected, &what);
        }
        let optimizer = top.get("optimizer_state_dict").unwrap();
        assert_described(optimizer, &case["optimizer_state_dict"], file);
        let weights = top.get("model_state_dict").unwrap();
        let weights = weights.dict("weights").unwrap();
        assert!(weights.ordered, "{file}");
        let expected = case["model_state_dict"].as_object().unwrap();
        assert_eq!(weights.entries.len(), expected.len(), "{file}");
        for ((name, value), (wanted, shape)) in weights.entries.iter().zip(expected) {
            assert_eq!(name.text("name").unwrap(), wanted, "{file}");
            assert_described(value, shape, &format!("{file}: {wanted}"));
        }
    }
}

#[test]
fn operations_are_those_recorded() {
    for case in cases("checkpoints.json") {
        let file = case["file"].as_str().unwrap();
        let archive = Archive::open(&golden::area(AREA).join(file)).unwrap();
        let found = scan::pickle(archive.member("data.pkl").unwrap());
        let operations: Vec<&str> = found.operations.iter().copied().collect();
        assert_eq!(operations, texts(&case["opcodes"]), "{file}");
        let mut globals: Vec<&str> = texts(&case["globals"]);
        globals.sort_unstable();
        let own: Vec<&str> = found.globals.iter().map(String::as_str).collect();
        assert_eq!(own, globals, "{file}");
    }
}

fn texts(list: &Json) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn tensors_are_read_exactly() {
    let path = golden::area(AREA).join("checkpoints.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let runs = golden::json(AREA, "runs.json");
    let mut compared = 0;
    for case in cases("checkpoints.json") {
        let file = case["file"].as_str().unwrap();
        let writes = |run: &&Json| texts(&run["checkpoints"]).contains(&file);
        let run = runs.as_array().unwrap().iter().find(writes).unwrap();
        let prefix = format!("{}/", run["name"].as_str().unwrap());
        let archive = Archive::open(&golden::area(AREA).join(file)).unwrap();
        let value = archive.value(Allow::Tensors).unwrap();
        let entry = |name: &str| value.dict("top").unwrap().get(name).unwrap().clone();
        for (name, view) in expected.iter() {
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            let (section, rest) = rest.split_once('/').unwrap();
            let own = match section {
                "model" => get(&entry("model_state_dict"), rest),
                "target_config" => get(&entry("target_config"), rest),
                "optimizer" => {
                    let (number, field) = rest.split_once('/').unwrap();
                    let states = get(&entry("optimizer_state_dict"), "state");
                    let number = Value::Int(number.parse().unwrap());
                    let states = states.dict("state").unwrap().entries.clone();
                    let state = states.into_iter().find(|(key, _)| *key == number);
                    get(&state.unwrap().1, field)
                }
                other => panic!("{other}"),
            };
            if let Value::Int(count) = own {
                assert_eq!(view.data(), (count as f64).to_le_bytes(), "{name}");
            } else {
                let own = archive.tensor(own.tensor(name).unwrap()).unwrap();
                assert_eq!(own.dtype, view.dtype(), "{name}");
                assert_eq!(own.shape, view.shape(), "{name}");
                assert!(own.bytes == view.data(), "{name}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, expected.len());
}

fn get(value: &Value, name: &str) -> Value {
    let dict = value.dict(name).unwrap();
    dict.get(name)
        .unwrap_or_else(|| panic!("no {name}"))
        .clone()
}

#[test]
fn variants_have_the_same_content() {
    for case in cases("variants.json") {
        let path = |key: &str| golden::area(AREA).join(case[key].as_str().unwrap());
        let base = read(path("same_content_as")).checkpoint;
        let variant = read(path("file")).checkpoint;
        let what = case["file"].as_str().unwrap();
        assert_eq!(variant.header.cfg_flat, base.header.cfg_flat, "{what}");
        assert_eq!(
            variant.header.target_config, base.header.target_config,
            "{what}"
        );
        assert_eq!(
            variant.header.data_config, base.header.data_config,
            "{what}"
        );
        if variant.header.has_nouns() {
            assert_eq!(
                variant.header.target_nouns, base.header.target_nouns,
                "{what}"
            );
            assert_eq!(
                variant.header.vocabulary(),
                base.header.vocabulary(),
                "{what}"
            );
        }
        let whole = variant.header.training.is_some();
        if whole {
            assert_eq!(variant.header.training, base.header.training, "{what}");
        }
        let counts = |name: &str| whole || !name.starts_with("optimizer.");
        assert_same_tensors(&variant, &base, counts, what);
    }
}

#[test]
fn headers_alone_are_the_same() {
    for stored in files::all() {
        let header = exchange::load_header(&stored.path).unwrap();
        assert_eq!(
            header,
            stored.checkpoint.header,
            "{}",
            stored.path.display()
        );
    }
}
