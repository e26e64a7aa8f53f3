//! The evaluation of the reference experiment (`tests/golden/e2e`) with the
//! original's checkpoint and caches, by this program.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// A file of the reference experiment.
fn golden(path: &str) -> PathBuf {
    let root = std::env::var_os("NOVIC_GOLDEN");
    let root = root.map_or_else(|| repository("tests/golden"), PathBuf::from);
    root.join("e2e").join(path)
}

fn json(path: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Flat settings of a step's command that a stage of kind `eval` takes.
fn settings(command: &str, dataset: &str) -> String {
    let mut lines = format!(
        "data.datasets = [{:?}]\n",
        cache(dataset).display().to_string()
    );
    for (flat, key) in [
        ("embedder_spec", "embedder.spec"),
        ("batch_size", "data.batch_size"),
        ("multi_target", "target.multi"),
        ("use_weights", "target.weights"),
        ("eval_guided", "eval.guided"),
    ] {
        let given = command
            .split(' ')
            .find_map(|word| word.strip_prefix(flat)?.strip_prefix('='));
        if let Some(value) = given {
            let value = match value {
                "True" => "true".to_owned(),
                "False" => "false".to_owned(),
                number if number.parse::<u32>().is_ok() => number.to_owned(),
                text => format!("{text:?}"),
            };
            lines.push_str(&format!("{key} = {value}\n"));
        }
    }
    lines
}

fn cache(dataset: &str) -> PathBuf {
    golden("results/cache").join(dataset)
}

#[test]
fn the_stored_checkpoint_evaluates_as_recorded() {
    let results = json(golden("results/results.json"));
    let steps = json(golden("steps.json"));
    let steps = steps["steps"]
        .as_array()
        .unwrap_or_else(|| steps.as_array().unwrap());
    let predictions = json(golden("results/infer_predictions.json"));
    let model = golden("results").join(predictions["model_path"].as_str().unwrap());
    let recorded = results["eval"].as_array().unwrap();
    let mut text = "[experiment]\nname = \"reference\"\n".to_owned();
    let mut compared = Vec::new();
    for (number, record) in recorded.iter().enumerate() {
        let dataset = record["dataset"].as_str().unwrap();
        if !cache(dataset).is_file() {
            continue;
        }
        let name = record["step"].as_str().unwrap();
        let step = steps
            .iter()
            .find(|step| step["name"] == name || step["step"] == name);
        let command = step.unwrap()["command"].as_str().unwrap();
        text.push_str(&format!(
            "\n[stage.eval_{number}]\nkind = \"eval\"\ncheckpoint.load = {:?}\n{}",
            model.display().to_string(),
            settings(command, dataset)
        ));
        compared.push(record);
    }
    assert!(!compared.is_empty());
    let folder = Folder::new();
    fs::write(folder.path("eval.toml"), text).unwrap();
    let mut run = folder.command(&["run", "eval.toml"]);
    run.env("HF_HOME", golden("inputs/hf"))
        .env("HF_HUB_OFFLINE", "1");
    Call::from(run.output().unwrap()).expect(0);

    let all: Vec<Value> = fs::read_dir(folder.path(".novic/store/eval"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("records.json"))
        .filter(|records| records.is_file())
        .map(|records| json(records)[0].clone())
        .collect();
    for record in compared {
        let guided = record["step"].as_str().unwrap().contains("guided");
        let number = |value: &Value| value.as_f64().unwrap();
        let same_data = |own: &Value| {
            let path = own["dataset"].as_str().unwrap();
            path.ends_with(record["dataset"].as_str().unwrap()) && own["guided"] == guided
        };
        let own = all.iter().find(|own| same_data(own)).unwrap();
        let what = format!("{} {guided}", record["dataset"]);
        for (name, recorded) in [
            ("num_samples", "samples"),
            ("num_valid_targets", "valid_targets"),
            ("tokens", "tokens"),
        ] {
            assert_eq!(
                number(&own[name]),
                number(&record[recorded]),
                "{what}: {name}"
            );
        }
        let loss = number(&record["loss"]);
        assert!(
            (number(&own["loss"]) - loss).abs() <= 2e-3 * loss,
            "{what}: {own}"
        );
        let samples = number(&record["samples"]);
        for (name, recorded) in [("noun_top1", "noun_top1"), ("top1", "token_top1")] {
            let difference = (number(&own[name]) - number(&record[recorded])).abs();
            assert!(
                difference <= 200.0 / samples + 1e-3,
                "{what}: {name}: {own}"
            );
        }
    }
}
