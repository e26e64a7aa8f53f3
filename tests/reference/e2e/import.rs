//! The commands of all steps become experiment files that say the same.

use std::path::Path;

use novic::config::hydra;
use novic::config::import::{Imported, import_command, import_script, import_yaml};
use novic::config::schema::{Config, key_by_flat_name};
use novic::config::{Experiment, Request};
use serde_json::Value;

use crate::golden;

fn commands() -> Vec<Vec<String>> {
    let steps = golden::json("e2e", "steps.json");
    let steps = steps["steps"].as_array().expect("a list");
    assert!(!steps.is_empty());
    let words = |step: &Value| {
        let command = step["command"].as_str().expect("a text");
        shlex::split(command).unwrap_or_else(|| panic!("no command: {command}"))
    };
    steps.iter().map(words).collect()
}

fn load(imported: &Imported) -> Experiment {
    let request = Request {
        file: "imported.toml".into(),
        text: Some(imported.text.clone()),
        ..Request::default()
    };
    Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}\n{}", imported.text))
}

#[test]
fn every_command_becomes_an_experiment_with_the_same_values() {
    for words in commands() {
        let imported =
            import_command(&words, None).unwrap_or_else(|errors| panic!("{words:?}\n{errors}"));
        assert!(imported.warnings.is_empty(), "{:?}", imported.warnings);
        let experiment = load(&imported);
        let [stage] = experiment.stages.as_slice() else {
            panic!("one stage of {words:?}, not {}", experiment.stages.len());
        };
        if words[0].ends_with("train.py") {
            check_values(&words[1..], &stage.config, &imported.text);
        }
    }
}

#[test]
fn all_commands_together_are_linked_by_their_caches() {
    let script: Vec<_> = commands()
        .iter()
        .map(|words| shlex::try_join(words.iter().map(String::as_str)).expect("words"))
        .collect();
    let imported = import_script(Path::new("steps.sh"), &script.join("\n"), None)
        .unwrap_or_else(|errors| panic!("{errors}"));
    let experiment = load(&imported);
    assert_eq!(experiment.stages.len(), script.len(), "{}", imported.text);
    let outputs: Vec<_> = commands()
        .iter()
        .filter_map(|words| save_name(words))
        .collect();
    for (words, stage) in commands().iter().zip(&experiment.stages) {
        let reads = words
            .iter()
            .filter(|word| word.starts_with("embedding_dataset"));
        let reads_ours = reads.clone().count() > 0
            && reads
                .flat_map(|word| names(word))
                .all(|name| outputs.contains(&name));
        let inputs: usize = stage.inputs.iter().map(|input| input.repeat).sum();
        assert_eq!(inputs > 0, reads_ours, "{words:?}\n{}", imported.text);
        if reads_ours {
            let named = words.iter().filter(|w| w.starts_with("embedding_dataset"));
            assert_eq!(inputs, named.flat_map(|word| names(word)).count());
        }
    }
}

/// The first log shows the resolved configuration as flat YAML.
#[test]
fn the_configuration_in_a_log_says_the_same_as_its_command() {
    let steps = golden::json("e2e", "steps.json");
    let step = &steps["steps"][0];
    let log = golden::area("e2e").join(step["log"].as_str().expect("a text"));
    let log = std::fs::read_to_string(log).expect("a log");
    let yaml: Vec<_> = log
        .lines()
        .skip_while(|line| !line.starts_with("action: "))
        .take_while(|line| !line.starts_with('['))
        .collect();
    assert!(yaml.len() > 100, "no configuration in the log");
    let imported = import_yaml(Path::new("config.yaml"), &yaml.join("\n"), None)
        .unwrap_or_else(|errors| panic!("{errors}"));
    let command = import_command(&commands()[0], None).expect("a command");
    let [from_file, from_command] = [load(&imported), load(&command)];
    assert_eq!(from_file.stages[0].config, from_command.stages[0].config);
}

fn save_name(words: &[String]) -> Option<String> {
    let word = words
        .iter()
        .find_map(|word| word.strip_prefix("save_embedding_cache="))?;
    Some(word.to_owned())
}

/// Names in `embedding_dataset=a` or `embedding_datasets=[a, b]`.
fn names(word: &str) -> Vec<String> {
    let list = word.split_once('=').map_or("", |(_, value)| value);
    list.trim_matches(['[', ']'])
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}

/// What a command gives stands in the flat dictionary of its stage. Names of
/// caches and the switch of the mirror are told otherwise here.
fn check_values(words: &[String], config: &Config, text: &str) {
    let ours: Vec<_> = words
        .iter()
        .filter(|word| !word.starts_with("hydra.") && !word.starts_with("save_embedding_cache="))
        .collect();
    let is_key = |key: &str| key_by_flat_name(key).is_some();
    let changes = hydra::changes(&ours, is_key).expect("a command of the original");
    let flat = config.flat();
    for (key, value) in &changes.set {
        let expected = value.to_json();
        if key == "wandb" {
            let mode = if expected == Value::Bool(true) {
                "online"
            } else {
                "off"
            };
            assert_eq!(config.get("tracking.wandb.mode"), Some(mode.into()));
            continue;
        }
        let actual = &flat[key.as_str()];
        let equal = match (expected.as_f64(), actual.as_f64()) {
            (Some(expected), Some(actual)) => expected == actual,
            _ => expected == *actual,
        };
        assert!(equal, "{key}: {expected} became {actual}\n{text}");
    }
}
