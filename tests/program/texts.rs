//! Trainings on the prompt texts themselves, in other orders, and merges of
//! merges.

use std::fs;

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// A small training.
const TRAINING: &str = r#"
kind = "train"
model.hidden_dim = 32
model.layers = 1
model.heads = 2
train.max_chunks = 3
train.chunk_scale = 0.7
"#;

fn experiment(folder: &Folder, stages: &str) {
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "extends = \"{}\"\n[data]\nbatch_size = 16\n{stages}",
        tiny.display()
    );
    fs::write(folder.path("mine.toml"), text).unwrap();
}

/// Loss at the end of each training, by stage.
fn loss(folder: &Folder, stage: &str) -> f64 {
    let shelf = folder.path(".novic/store/train");
    let entries = fs::read_dir(shelf)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let manifests = entries.filter_map(|entry| fs::read_to_string(entry.join("entry.json")).ok());
    let found = manifests
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .find(|manifest| manifest["description"]["stage"] == stage);
    let found = found.unwrap_or_else(|| panic!("{stage} has no output"));
    found["description"]["results"]["loss"].as_f64().unwrap()
}

#[test]
fn texts_are_learnt_alike_wherever_their_embeddings_come_from() {
    let folder = Folder::new();
    experiment(
        &folder,
        &format!(
            "[stage.texts]\nkind = \"cache_noun_dataset\"\n\
             [stage.shared]{TRAINING}inputs = [\"texts\"]\n\
             [stage.own]{TRAINING}\n\
             [stage.fresh]{TRAINING}nouns.cache = false\n\
             [stage.mixed]{TRAINING}inputs = [\"nouns\"]\ndata.order = \"shard\"\n\
             [stage.straight]{TRAINING}inputs = [\"nouns\"]\ndata.order = \"sequential\"\n\
             [stage.on_texts]\nkind = \"eval\"\ninputs = [\"own\"]\n\
             [stage.on_file]\nkind = \"eval\"\ninputs = [\"own\", \"texts\"]\n\
             [stage.on_cache]\nkind = \"eval\"\ninputs = [\"own\", \"nouns\"]\n"
        ),
    );
    let mut arguments = vec!["run", "mine.toml"];
    for stage in ["shared", "own", "fresh", "mixed", "straight"] {
        arguments.extend(["--until", stage]);
    }
    folder.call(&arguments).expect(0);
    let shared = loss(&folder, "shared");
    for stage in ["own", "fresh"] {
        let other = loss(&folder, stage);
        assert!(
            (other - shared).abs() < 1e-4,
            "{stage}: {other}, not {shared}"
        );
    }
    assert!(loss(&folder, "mixed") != loss(&folder, "straight"));

    // And evaluated alike.
    let evaluated = |stage: &str| {
        let call = folder.call(&["run", "mine.toml", "--until", stage, "--json"]);
        let told: Value = serde_json::from_str(&call.expect(0).out).unwrap();
        let steps = told["summary"]["steps"].as_array().unwrap().clone();
        let step = steps.iter().find(|step| step["name"] == stage).unwrap();
        let summary = step["results"]["summary"].as_str().unwrap().to_owned();
        // Without the name of the data set.
        summary
            .split_once(':')
            .map_or(summary.clone(), |(_, rest)| rest.to_owned())
    };
    let texts = evaluated("on_texts");
    assert_eq!(texts, evaluated("on_file"));
    assert_eq!(texts, evaluated("on_cache"));
}

#[test]
fn a_virtual_merge_is_merged_by_copying_only() {
    let folder = Folder::new();
    let merge = |name: &str, inputs: &str, is_virtual: bool| {
        format!(
            "[stage.{name}]\nkind = \"merge_caches\"\ninputs = [{inputs}]\nmerge.virtual = {is_virtual}\n"
        )
    };
    experiment(
        &folder,
        &(merge("first", "\"nouns\"", true)
            + &merge("named", "\"first\", \"nouns\"", true)
            + &merge("copied", "\"first\", \"nouns\"", false)),
    );
    let arguments = [
        "run",
        "mine.toml",
        "--keep-going",
        "--until",
        "named",
        "--until",
        "copied",
    ];
    let call = Call::from(folder.command(&arguments).output().unwrap()).expect(1);
    assert!(call.err.contains("name its parts"), "{}", call.err);
    assert!(folder.output_of("merge_caches").join("cache.bin").is_file());
}
