//! The steps of the reference that use its checkpoint on pictures and texts,
//! done by the program: evaluation of a classification dataset, own samples, the
//! command for pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use novic::evaluate::{PredictionEntry, PredictionFile};
use serde_json::Value;
use tempfile::TempDir;

use super::caches::{copy_tree, plain_folder, settings};
use crate::golden;

const AREA: &str = "e2e";

/// A working directory with the inputs and the reference's checkpoint.
struct Work(TempDir);

impl Work {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (root, area) = (folder.path(), golden::area(AREA));
        copy_tree(&area.join("inputs"), &root.join("inputs"));
        copy_tree(&area.join("results/outputs"), &root.join("outputs"));
        plain_folder(root);
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
        command.current_dir(self.0.path()).args(arguments);
        let data = golden::json(AREA, "steps.json");
        for (name, value) in data["environment"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        command.env_remove("NOVIC_HOME");
        command
    }

    fn call(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    }

    /// A file of the output of a stage.
    fn output(&self, stage: &str, name: &str) -> PathBuf {
        let store = self.path(".novic/store");
        for kind in fs::read_dir(&store).unwrap() {
            for entry in fs::read_dir(kind.unwrap().path()).unwrap() {
                let dir = entry.unwrap().path();
                let Ok(manifest) = fs::read(dir.join("entry.json")) else {
                    continue;
                };
                let manifest: Value = serde_json::from_slice(&manifest).unwrap();
                if manifest["description"]["stage"] == stage {
                    return dir.join(name);
                }
            }
        }
        panic!("stage {stage} has no output");
    }
}

fn step(name: &str) -> Vec<String> {
    let data = golden::json(AREA, "steps.json");
    let steps = data["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["name"].as_str().unwrap().ends_with(name))
        .unwrap();
    shlex::split(step["command"].as_str().unwrap()).unwrap()
}

/// A list as the reference's command line writes it.
fn list(text: &str) -> Vec<String> {
    let text = text.trim_matches(['[', ']']);
    let quoted = text.contains('\'');
    if quoted {
        let parts = text.split('\'').skip(1).step_by(2);
        return parts.map(str::to_owned).collect();
    }
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

fn toml_list(items: &[String]) -> String {
    serde_json::to_string(items).unwrap()
}

fn experiment(work: &Work) {
    let (cls, decoding, infer) = (
        settings("eval_cls"),
        settings("eval_cls_decoding"),
        settings("infer"),
    );
    let text = format!(
        r#"
[experiment]
name = "predictions"
[nouns]
vocab_path = {vocab:?}
vocab_threshold = {threshold}
[checkpoint]
load = {checkpoint:?}
[stage.greedy]
kind = "eval_cls"
cls.dataset = "./classes"
eval.alignment = "dictionary"
[stage.classes]
kind = "eval_cls_decoding"
cls.datasets = ["./classes"]
generate.configs = {class_configs}
[stage.own]
kind = "infer"
infer.texts = {texts}
infer.all_images_dir = {images:?}
infer.predictions_json = true
generate.configs = {configs}
"#,
        vocab = cls["vocab_path"],
        threshold = cls["vocab_thres"],
        checkpoint = cls["load_model"],
        class_configs = toml_list(&list(&decoding["gencfgs"])),
        texts = toml_list(&list(&infer["infer_texts"])),
        images = infer["infer_all_images_dir"],
        configs = toml_list(&list(&infer["gencfgs"])),
    );
    fs::write(work.path("predictions.toml"), text).unwrap();
}

/// Mode of a picture as Pillow names it.
fn mode_of(file: &str) -> String {
    let images = golden::json(AREA, "results/images.json");
    let images = images.as_array().unwrap();
    let image = images.iter().find(|image| image["file"] == file).unwrap();
    image["mode"].as_str().unwrap().to_owned()
}

/// Percentages of a table by row and place; the shares of invalid ones, which
/// the reference prints as ratios with a percent sign, left out.
fn percentages(table: &str) -> BTreeMap<String, Vec<f64>> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with('|')) {
        let mut plain = String::new();
        let mut in_escape = false;
        for c in line.chars() {
            match (in_escape, c) {
                (true, 'm') => in_escape = false,
                (true, _) => {}
                (false, '\u{1b}') => in_escape = true,
                (false, c) => plain.push(c),
            }
        }
        let mut cells = plain.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().to_owned();
        let values: Vec<f64> = cells
            .filter_map(|cell| {
                cell.split(" ~ ")
                    .next()?
                    .strip_suffix('%')?
                    .trim()
                    .parse()
                    .ok()
            })
            .collect();
        if !values.is_empty() {
            rows.insert(name, values);
        }
    }
    rows
}

#[test]
fn evaluations_and_predictions_are_those_of_the_reference() {
    let work = Work::new();
    experiment(&work);
    work.call(&["run", "predictions.toml"]);
    let results = golden::json(AREA, "results/results.json");

    let records: Value =
        serde_json::from_slice(&fs::read(work.output("greedy", "records.json")).unwrap()).unwrap();
    let record = &records[0];
    let samples = record["num_samples"].as_f64().unwrap();
    // JPEG decoders differ a little, which may change one picture.
    let one = 100.0 / samples + 1e-3;
    let near = |own: &Value, expected: f64, what: &str| {
        let own = own.as_f64().unwrap();
        assert!((own - expected).abs() <= one, "{what}: {own} {expected}");
    };
    let expected = &results["eval_cls"];
    near(
        &record["noun_top1"],
        expected["noun_top1"].as_f64().unwrap(),
        "noun_top1",
    );
    for line in expected["lines"].as_array().unwrap() {
        let (name, value) = line.as_str().unwrap().split_once(" = ").unwrap();
        near(
            &record[name],
            value.trim_end_matches('%').parse().unwrap(),
            name,
        );
    }
    let (loss, reference) = (
        record["loss"].as_f64().unwrap(),
        expected["loss"].as_f64().unwrap(),
    );
    assert!(
        (loss - reference).abs() <= 0.02 * reference,
        "{loss} {reference}"
    );

    let own: Value =
        serde_json::from_slice(&fs::read(work.output("classes", "results.json")).unwrap()).unwrap();
    let tables = results["eval_cls_decoding_tables"].as_array().unwrap();
    let expected = percentages(tables[0].as_str().unwrap());
    let own = own["results"].as_array().unwrap();
    assert_eq!(own.len(), expected.len());
    for result in own {
        let gencfg = result["gen_cfg"].as_str().unwrap();
        let samples = result["num_samples"].as_f64().unwrap();
        let ranks = result["ranks"].as_array().unwrap();
        assert_eq!(ranks.len(), expected[gencfg].len(), "{gencfg}");
        for (rank, expected) in ranks.iter().zip(&expected[gencfg]) {
            let share = rank["correct"].as_f64().unwrap() / samples * 100.0;
            assert!(
                (share - expected).abs() <= one,
                "{gencfg}: {share} {expected}"
            );
        }
    }

    let runs = fs::read_dir(work.path("outputs")).unwrap();
    let file = runs
        .flat_map(|run| fs::read_dir(run.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("infer_")
        });
    let own = PredictionFile::read(&file.unwrap()).unwrap();
    let path = golden::area(AREA).join("results/infer_predictions.json");
    let expected = PredictionFile::read(&path).unwrap();
    assert_eq!(own.model, expected.model);
    assert_eq!(own.samples, expected.samples);
    assert_eq!(own.guide_targets, expected.guide_targets);
    assert_eq!(own.vocab_targets, expected.vocab_targets);
    for ((name, own), (expected_name, reference)) in
        own.predictions.iter().zip(&expected.predictions)
    {
        assert_eq!(name, expected_name);
        for (sample, key) in expected.samples.iter().enumerate() {
            let what = format!("{name} {key}");
            if key.starts_with('"') {
                // Texts are embedded alike.
                rank_by_rank(own, sample, reference, sample, &what);
                continue;
            }
            // The reference resizes pictures of other modes before it makes
            // them RGB, which is not repeated here.
            if !["RGB", "L", "CMYK"].contains(&mode_of(key).as_str()) {
                continue;
            }
            let lower = key.to_lowercase();
            let is_jpeg = lower.ends_with(".jpg") || lower.ends_with(".jpeg");
            let limit = if is_jpeg { 0.3 } else { 2e-2 };
            assert_eq!(own.pred[sample][0], reference.pred[sample][0], "{what}");
            assert_eq!(own.result[sample][0], reference.result[sample][0], "{what}");
            let difference = own.score[sample][0].unwrap() - reference.score[sample][0].unwrap();
            assert!(difference.abs() <= limit, "{what}: {difference}");
        }
    }
}

/// Predictions, types and scores of all ranks; neighbours that are close may
/// have changed places.
fn rank_by_rank(
    own: &PredictionEntry,
    own_sample: usize,
    expected: &PredictionEntry,
    sample: usize,
    what: &str,
) {
    const CLOSE: f32 = 1e-3;
    let scores = &expected.score[sample];
    for rank in 0..scores.len() {
        let Some(score) = scores[rank] else {
            assert_eq!(own.pred[own_sample][rank], None, "{what}");
            continue;
        };
        let found = own.score[own_sample][rank].unwrap();
        assert!((found - score).abs() <= 2e-4, "{what}: {found} {score}");
        let is_close = |other: usize| {
            let other = scores.get(other).copied().flatten();
            other.is_some_and(|other| (other - score).abs() < CLOSE)
        };
        let candidates: Vec<usize> = (0..scores.len())
            .filter(|&other| other == rank || is_close(other) && other.abs_diff(rank) <= 2)
            .collect();
        let pred = &own.pred[own_sample][rank];
        let place = candidates
            .into_iter()
            .find(|&other| expected.pred[sample][other] == *pred);
        let place = place.unwrap_or_else(|| panic!("{what}: rank {rank} is {pred:?}"));
        assert_eq!(
            own.result[own_sample][rank], expected.result[sample][place],
            "{what}"
        );
    }
}

#[test]
fn stored_embeddings_have_the_predictions_of_the_reference() {
    let work = Work::new();
    let checkpoint = settings("infer")["load_model"].clone();
    let path = golden::area(AREA).join("results/infer_predictions.json");
    let expected = PredictionFile::read(&path).unwrap();
    let embeddings = golden::area(AREA).join("results/embeddings.safetensors");
    let names: Vec<String> = golden::json(AREA, "results/images.json")
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["file"].as_str().unwrap().to_owned())
        .collect();
    let texts = expected
        .samples
        .iter()
        .filter(|key| key.starts_with('"'))
        .count();
    for (name, reference) in &expected.predictions {
        for (tensor, keys) in [
            ("infer_texts", &expected.samples[..texts]),
            ("images", &names[..]),
        ] {
            let text = work.call(&[
                "infer",
                "--checkpoint",
                &checkpoint,
                "--gencfg",
                name,
                "--format",
                "predictions",
                "--embeddings",
                &format!("{}:{tensor}", embeddings.display()),
            ]);
            let file = work.path("own.json");
            fs::write(&file, text).unwrap();
            let own = PredictionFile::read(&file).unwrap();
            assert_eq!(own.samples.len(), keys.len());
            let (_, own) = &own.predictions[0];
            for (row, key) in keys.iter().enumerate() {
                let sample = expected.samples.iter().position(|known| known == key);
                let Some(sample) = sample else { continue };
                rank_by_rank(own, row, reference, sample, &format!("{name} {key}"));
            }
        }
    }
}

/// Noun and percentage of each label of a line.
fn labels(line: &str) -> (String, Vec<(String, f64)>) {
    let (input, labels) = line.split_once(" --> ").unwrap();
    let labels = labels.split(" / ").map(|label| {
        let (noun, percent) = label.split_once(" = ").unwrap();
        (
            noun.to_owned(),
            percent.trim_end_matches('%').parse().unwrap(),
        )
    });
    (input.to_owned(), labels.collect())
}

#[test]
fn the_command_prints_the_lines_of_the_reference() {
    let work = Work::new();
    let results = golden::json(AREA, "results/results.json");
    let mut compared = 0;
    for name in ["42_infer_cli", "43_infer_cli_guided"] {
        let words = step(name);
        let program = words
            .iter()
            .position(|word| word.contains("infer.py"))
            .unwrap();
        let mut arguments = vec!["infer", "--color", "always"];
        arguments.extend(words[program + 1..].iter().map(String::as_str));
        let text = work.call(&arguments);
        let expected: Vec<&str> = results[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap())
            .collect();
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        for (own, expected) in text.lines().zip(expected) {
            let ((own_input, own), (input, expected)) = (labels(own), labels(expected));
            assert_eq!(own_input, input);
            assert_eq!(own.len(), expected.len(), "{input}");
            // The reference clips 16 bits to white.
            if mode_of(&input).starts_with("I;16") {
                continue;
            }
            assert_eq!(own[0].0, expected[0].0, "{input}");
            let is_jpeg = Path::new(&input).extension().is_some_and(|e| e == "jpg");
            let limit = if is_jpeg { 0.3f64 } else { 2e-2 };
            let change = (own[0].1 / expected[0].1).ln().abs();
            assert!(
                change <= limit + 5e-3,
                "{input}: {} {}",
                own[0].1,
                expected[0].1
            );
            compared += 1;
        }
    }
    assert!(compared > 0);
}
