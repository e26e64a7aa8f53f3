//! Evaluations of decoders: what they leave, and that a killed one goes on
//! where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::folder::{Call, Folder, interrupt, repository};

/// The shrunken quick start with evaluations of two decoders.
const STAGES: &str = r#"
[stage.other]
kind = "train"
inputs = ["nouns"]
model.hidden_dim = 32
model.layers = 1
model.heads = 2
data.batch_size = 64
train.max_chunks = 1
train.chunk_scale = 0.7
train.max_epochs = 0

[stage.grid]
kind = "eval_cls_decoding"
inputs = ["train"]
cls.datasets = ["fluent-emoji-flat"]
eval.guide = "vocabulary"
generate.details = true
generate.grid.enabled = true
generate.grid.method = ["greedy", "beam"]
generate.grid.topk = [10]
generate.grid.prior = ["none"]
generate.grid.temperature = [0.5, 1, 2, 3]
generate.grid.alpha = [0, 0.2, 0.4, 0.6]

[stage.greedy]
kind = "eval_cls"
inputs = ["train", "other"]
cls.dataset = "fluent-emoji-flat"
eval.guided = true
eval.samples_max = 300
"#;

fn project() -> Folder {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let text = format!("extends = {:?}\n{STAGES}", tiny.display().to_string());
    fs::write(folder.path("mine.toml"), text).unwrap();
    folder
        .call(&["run", "mine.toml", "--only", "nouns,train,other"])
        .expect(0);
    folder
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name)
        } else {
            (path.file_name()? == name).then_some(path)
        }
    })
}

/// Starts a run and waits until it has written a file, which is returned.
fn run_to(folder: &Folder, stage: &str, name: &str) -> (Child, PathBuf) {
    let mut child = folder
        .command(&["run", "mine.toml", "--only", stage])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let found = loop {
        if let Some(found) = find(&folder.path(".novic"), name) {
            break found;
        }
        assert!(child.try_wait().unwrap().is_none(), "{name} did not come");
        assert!(Instant::now() < until, "{name} does not come");
        std::thread::sleep(Duration::from_millis(2));
    };
    (child, found)
}

/// The same, killed then.
fn kill_at(folder: &Folder, stage: &str, name: &str) -> PathBuf {
    let (mut child, found) = run_to(folder, stage, name);
    child.kill().unwrap();
    child.wait().unwrap();
    found
}

/// Evaluations with decoders that are named.
const NAMED: &str = r#"
[embedder]
spec = "openclip:novic/drawings"
[nouns]
vocab_path = "embedded"

[stage.several]
kind = "eval_cls"
cls.dataset = "fluent-emoji-flat"
eval.samples_max = 40
checkpoint.load_many = ["embedded", "gone.safetensors"]

[stage.alone]
kind = "infer"
infer.all_images_dir = "demo"
infer.predictions_json = true
checkpoint.load = "embedded"

[stage.missing]
kind = "eval_cls"
cls.dataset = "fluent-emoji-flat"
checkpoint.load_many = ["gone.safetensors", "gone too.safetensors"]
"#;

#[test]
fn a_missing_model_is_left_out_and_the_one_in_the_program_needs_no_file() {
    let folder = Folder::new();
    fs::write(folder.path("named.toml"), NAMED).unwrap();
    let run = |stage: &str| folder.call(&["run", "named.toml", "--only", stage]);
    let call = run("several").expect(3);
    assert!(
        call.err.contains("model left out:") && call.err.contains("gone.safetensors"),
        "{}",
        call.err
    );
    let results = json_of(&find(&folder.output_of("eval_cls"), "results.json").unwrap());
    let [result] = &results["results"].as_array().unwrap()[..] else {
        panic!("{results}");
    };
    assert_eq!(result["model"], "embedded");
    // The same labels as those of the command.
    run("alone").expect(0);
    let file = find(&folder.path("outputs"), "infer_embedded.json").unwrap();
    let file = json_of(&file);
    assert_eq!(file["model_path"], "embedded");
    let words = ["infer", "demo", "--format", "predictions", "--gencfg"];
    let name = file["predictions"].as_object().unwrap().keys().next();
    let name = name.unwrap().as_str();
    let own = folder.call(&[&words[..], &[name]].concat());
    let own: Value = serde_json::from_str(&own.expect(0).out).unwrap();
    let nouns = |file: &Value| file["predictions"][name]["pred"].clone();
    assert_eq!(nouns(&file), nouns(&own));
    // Nothing can be evaluated.
    let call = run("missing").expect(1);
    assert!(call.err.contains("gone too.safetensors"), "{}", call.err);
    let info = folder.call(&["checkpoint", "info", "embedded"]).expect(0);
    assert!(info.out.contains("weights only"), "{}", info.out);
}

fn json_of(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn again(folder: &Folder, stage: &str) -> Call {
    folder
        .call(&["run", "mine.toml", "--only", stage])
        .expect(0)
}

#[test]
fn a_killed_grid_goes_on_with_the_next_configuration() {
    let folder = project();
    let kept = kill_at(&folder, "grid", "predictions_0_0_2.json");
    // What was done is not done again: a mark in it reaches the result.
    let first = kept.with_file_name("predictions_0_0_0.json");
    let mut rows = json_of(&first);
    rows[0][0]["noun"] = json!("kept from before");
    fs::write(&first, rows.to_string()).unwrap();
    again(&folder, "grid");
    let out = folder.output_of("eval_cls_decoding");
    let file = json_of(&find(&out, "predictions_fluent-emoji-flat.json").unwrap());
    let entries = file["predictions"].as_object().unwrap();
    assert_eq!(entries.len(), 17);
    let (name, entry) = entries.iter().next().unwrap();
    assert_eq!(entry["pred"][0][0], "kept from before", "{name}");
    let other = entries.values().nth(1).unwrap();
    assert_ne!(other["pred"][0][0], "kept from before");
    // Details of version 2.
    let samples = file["samples"].as_array().unwrap().len();
    assert_eq!(file["version"], 2);
    assert_eq!(file["embedder"], "openclip:novic/drawings");
    for list in ["sample_index", "labels"] {
        assert_eq!(file[list].as_array().unwrap().len(), samples, "{list}");
    }
    assert_eq!(file["elapsed_time"].as_array().unwrap().len(), 17);
    let results = json_of(&find(&out, "results.json").unwrap());
    assert_eq!(results["results"].as_array().unwrap().len(), 17);
    assert_eq!(
        results["results"][0]["ranks"][0]["correct_95"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_grid_says_how_much_of_all_is_done() {
    let folder = project();
    let (mut child, kept) = run_to(&folder, "grid", "predictions_0_0_1.json");
    // Within a batch, too.
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let partial = kept.ancestors().nth(2).unwrap().join("partial.json");
    let progress = json_of(&partial)["progress"].clone();
    assert_eq!(progress["unit"], "decodings");
    let number = |name: &str| progress[name].as_u64().unwrap();
    let pictures = number("total") / 17;
    assert_eq!(number("total"), 17 * pictures);
    assert!(
        (pictures..17 * pictures).contains(&number("done")),
        "{progress}"
    );
}

#[test]
fn a_killed_evaluation_goes_on_with_the_next_model() {
    let folder = project();
    let kept = kill_at(&folder, "greedy", "greedy_0.json");
    let mut made = json_of(&kept);
    for noun in made["guided"].as_array_mut().unwrap() {
        noun["written"] = json!("kept from before");
    }
    fs::write(&kept, made.to_string()).unwrap();
    again(&folder, "greedy");
    let out = folder.output_of("eval_cls");
    let results = json_of(&find(&out, "results.json").unwrap());
    let [first, second] = &results["results"].as_array().unwrap()[..] else {
        panic!("{results}");
    };
    for result in [first, second] {
        assert_eq!(result["num_samples"], 300);
        assert_eq!(result["pictures"].as_array().unwrap().len(), 300);
        let counted = |field: &str| -> u64 {
            let classes = result["classes"].as_array().unwrap().iter();
            classes.map(|class| class[field].as_u64().unwrap()).sum()
        };
        assert_eq!(counted("samples"), 300);
        let share = counted("correct") as f64 / 3.0;
        assert!((result["noun_top1"].as_f64().unwrap() - share).abs() < 1e-9);
        let confused = result["confusion"].as_array().unwrap().iter();
        assert_eq!(
            confused.map(|cell| cell[2].as_u64().unwrap()).sum::<u64>(),
            300
        );
        assert!(result["unnamed"]["classes"].is_u64());
    }
    assert_eq!(first["noun_top1"], 0.0);
    let outcomes = second["outcomes"].as_object().unwrap().values();
    let total: f64 = outcomes.map(|share| share.as_f64().unwrap()).sum();
    assert!((total - 100.0).abs() < 1e-6);
}
