//! The steps that make tables, from the stored prediction file.

use std::fs;

use assert_cmd::Command;
use tempfile::TempDir;

use super::caches::copy_tree;
use crate::golden;

const AREA: &str = "e2e";

#[test]
fn prediction_tables_are_those_of_the_original() {
    let steps = golden::json(AREA, "steps.json");
    let results = golden::json(AREA, "results/results.json");
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    copy_tree(&golden::area(AREA).join("inputs"), &root.join("inputs"));
    let stored = golden::area(AREA).join("results/infer_predictions.json");
    let place = root.join(steps["predictions"].as_str().unwrap());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(stored, &place).unwrap();
    let mut compared = 0;
    for step in steps["steps"].as_array().unwrap() {
        let words = shlex::split(step["command"].as_str().unwrap()).unwrap();
        if !words.iter().any(|word| word == "action=format_preds") {
            continue;
        }
        let values = words.iter().filter(|word| {
            ["pfmt_", "pred_", "load_pred_"]
                .iter()
                .any(|start| word.starts_with(start))
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
        command
            .current_dir(root)
            .env_remove("NOVIC_HOME")
            .args(["format-preds", "--style", "compat"])
            .args(values);
        let output = command.assert().success().get_output().stdout.clone();
        let output = String::from_utf8(output).unwrap();
        let tables: String = output
            .lines()
            .filter(|line| line.starts_with(['+', '|']))
            .map(|line| format!("{line}\n"))
            .collect();
        let name = step["name"].as_str().unwrap();
        let key = name.split_once('_').unwrap().1;
        let expected = results[key].as_array().unwrap().iter();
        let expected: String = expected.map(|table| table.as_str().unwrap()).collect();
        assert_eq!(tables, expected, "{name}");
        compared += 1;
    }
    assert!(compared > 0);
}
