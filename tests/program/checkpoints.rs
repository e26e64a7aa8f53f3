//! `novic checkpoint`, and checkpoints of the original wherever one is taken.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// A folder with a checkpoint of the original's training data.
fn with_original() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let outputs = repository("tests/golden/training/outputs");
    let mut found = files(&outputs);
    found.sort();
    let path = folder.path("original.train");
    fs::copy(&found[0], &path).unwrap();
    (folder, path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn json(call: Call) -> Value {
    serde_json::from_str(&call.expect(0).out).unwrap()
}

#[test]
fn files_are_converted_forth_and_back() {
    let (folder, _) = with_original();
    let convert = ["checkpoint", "convert"];
    let call = |more: &[&str]| folder.call(&[&convert[..], more].concat());
    call(&["original.train", "native.safetensors"]).expect(0);
    call(&["native.safetensors", "back.train"]).expect(0);
    let same = folder.call(&["checkpoint", "diff", "original.train", "back.train"]);
    assert_eq!(same.expect(0).out, "identical\n");

    let small = ["--weights-only", "native.safetensors", "small.safetensors"];
    let small = json(call(&[&["--json"], &small[..]].concat()));
    assert_eq!(small["weights_only"], true);
    let size = |name: &str| fs::metadata(folder.path(name)).unwrap().len();
    assert!(size("small.safetensors") < size("native.safetensors"));

    for name in ["original.train", "native.safetensors", "small.safetensors"] {
        let ok = folder.call(&["checkpoint", "verify", name]).expect(0);
        assert!(ok.out.contains("ok"), "{}", ok.out);
        let info = json(folder.call(&["checkpoint", "info", "--json", name]));
        assert!(info[0]["cfg_flat"].as_object().unwrap().len() > 100);
    }
    let text = folder
        .call(&["checkpoint", "info", "original.train"])
        .expect(0)
        .out;
    assert!(text.contains("chunks") && text.contains("nouns"), "{text}");

    let exists = call(&["original.train", "native.safetensors"]).expect(2);
    assert!(exists.err.contains("--force"), "{}", exists.err);
    let ending = call(&["original.train", "x.bin"]).expect(2);
    assert!(ending.err.contains(".safetensors"), "{}", ending.err);
}

#[test]
fn damaged_and_hostile_files_are_named() {
    let (folder, path) = with_original();
    let whole = fs::read(&path).unwrap();
    fs::write(folder.path("half.train"), &whole[..whole.len() / 2]).unwrap();
    let half = folder.call(&["checkpoint", "info", "half.train"]).expect(1);
    assert!(half.err.contains("half.train"), "{}", half.err);
    assert!(half.err.contains("truncated"), "{}", half.err);

    // The name of a harmless function becomes that of another one.
    let name = b"torch._utils\n_rebuild_tensor_v2";
    let other = b"subprocess..\n_rebuild_tensor_v2";
    let mut hostile = whole.clone();
    let at = whole
        .windows(name.len())
        .position(|part| part == name)
        .unwrap();
    hostile[at..at + other.len()].copy_from_slice(other);
    fs::write(folder.path("hostile.train"), &hostile).unwrap();
    for command in ["info", "verify"] {
        let refused = folder
            .call(&["checkpoint", command, "hostile.train"])
            .expect(1);
        let all = refused.out + &refused.err;
        // The checksum tells first; the machine is tested apart.
        assert!(all.contains("checksum"), "{all}");
    }
    let missing = folder.call(&["checkpoint", "info", "none.train"]).expect(1);
    assert!(missing.err.contains("none.train"), "{}", missing.err);
}

#[test]
fn differences_are_weighed() {
    let (folder, _) = with_original();
    let outputs = repository("tests/golden/training/outputs");
    let mut found = files(&outputs);
    found.sort();
    fs::copy(&found[found.len() - 1], folder.path("other.train")).unwrap();
    let diff = folder.call(&["checkpoint", "diff", "original.train", "other.train"]);
    let text = diff.expect(1).out;
    assert!(text.contains("logits_linear.weight"), "{text}");
}

#[test]
fn old_files_are_repaired_in_place_and_kept() {
    let folder = Folder::new();
    let run = folder.path("outputs/ovod_20260101_900000");
    fs::create_dir_all(&run).unwrap();
    let legacy = repository("tests/golden/training/variants/legacy.train");
    let path = run.join("ovod_chunk0004_20260101_000001.train");
    fs::copy(&legacy, &path).unwrap();
    let used = folder.call(&["infer", "--checkpoint", path.to_str().unwrap(), "demo"]);
    assert!(used.expect(1).err.contains("novic checkpoint fix"));

    let caches = repository("tests/golden/training/caches");
    let fix = ["checkpoint", "fix", "--cache-dir", caches.to_str().unwrap()];
    let dry = folder.call(&[&fix[..], &["--dry-run"]].concat()).expect(0);
    assert!(dry.out.contains("would be given"), "{}", dry.out);
    assert!(fs::read(&path).unwrap() == fs::read(&legacy).unwrap());
    folder.call(&fix).expect(0);
    let info = folder
        .call(&["checkpoint", "info", path.to_str().unwrap()])
        .expect(0);
    assert!(!info.out.contains("none: give it"), "{}", info.out);
    let backup = fs::read(path.with_extension("train.bak")).unwrap();
    assert!(backup == fs::read(&legacy).unwrap());
}

#[test]
fn pictures_are_labelled_with_a_checkpoint_of_the_original() {
    let predictions = repository("tests/golden/e2e/results/infer_predictions.json");
    let text = fs::read_to_string(predictions).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let model = expected["model_path"].as_str().unwrap();
    let model = repository("tests/golden/e2e/results").join(model);
    let folder = Folder::new();
    let name = "greedy_k1_vnone_gn_t1_a0";
    let rows = &expected["predictions"][name]["pred"];
    let images = repository("tests/golden/e2e/inputs/images");
    let mut compared = 0;
    for (sample, row) in expected["samples"]
        .as_array()
        .unwrap()
        .iter()
        .zip(rows.as_array().unwrap())
    {
        let sample = sample.as_str().unwrap();
        let file = images.join(sample);
        if !sample.ends_with(".png") || compared == 3 {
            continue;
        }
        let mut command = folder.command(&[
            "infer",
            "--json",
            "--gencfg",
            name,
            "--checkpoint",
            model.to_str().unwrap(),
            file.to_str().unwrap(),
        ]);
        command
            .env("HF_HOME", repository("tests/golden/e2e/inputs/hf"))
            .env("HF_HUB_OFFLINE", "1");
        let call = Call::from(command.output().unwrap());
        let labels = json(call);
        assert_eq!(labels[0]["predictions"][0]["noun"], row[0], "{sample}");
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn a_trained_decoder_is_evaluated_and_exported() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "extends = {:?}\n\n[stage.train]\ncheckpoint.export = \"train\"\n\
         checkpoint.keep_last = 1\n\n[stage.check]\nkind = \"eval\"\n\
         inputs = [\"nouns\", \"train\"]\neval.guided = true\n",
        tiny.display().to_string()
    );
    fs::write(folder.path("mine.toml"), text).unwrap();
    let call = folder
        .call(&["run", "mine.toml", "--until", "check"])
        .expect(0);
    let all = call.out + &call.err;
    assert!(all.contains("noun top-1"), "{all}");
    let output = folder.output_of("eval");
    let records = fs::read_to_string(output.join("records.json")).unwrap();
    let records: Value = serde_json::from_str(&records).unwrap();
    assert!(records[0]["num_samples"].as_f64().unwrap() > 0.0);

    let exported: Vec<PathBuf> = files(&folder.path("outputs"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "train"))
        .collect();
    assert!(!exported.is_empty());
    let published = files(&folder.output_of("train"));
    let native = published.iter().find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("ovod_chunk") && name.ends_with(".safetensors")
    });
    let [newest, native] =
        [exported.last().unwrap(), native.unwrap()].map(|path| path.to_str().unwrap().to_owned());
    let same = folder
        .call(&["checkpoint", "diff", &newest, &native])
        .expect(0);
    assert_eq!(same.out, "identical\n");
    let labels = folder.call(&["infer", "--checkpoint", &newest, "demo/fox.png"]);
    assert!(!labels.expect(0).out.is_empty());
}

#[test]
fn a_training_refuses_checkpoints_of_other_data() {
    let (folder, _) = with_original();
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "extends = {:?}\n\n[stage.train]\ncheckpoint.load = \"original.train\"\n",
        tiny.display().to_string()
    );
    fs::write(folder.path("mine.toml"), text).unwrap();
    let call = folder
        .call(&["run", "mine.toml", "--until", "train"])
        .expect(1);
    assert!(call.err.contains("original.train"), "{}", call.err);
    assert!(call.err.contains("dimensions"), "{}", call.err);
}
