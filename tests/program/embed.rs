//! `novic embed` and `novic hub`: files of vectors, what a check says, what
//! happens without a network.

use std::fs;

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

const DRAWINGS: &str = "openclip:novic/drawings";

fn json(call: &Call) -> Value {
    serde_json::from_str(&call.out).unwrap_or_else(|error| panic!("{error}: {}", call.out))
}

#[test]
fn texts_and_pictures_become_files_of_four_forms() {
    let folder = Folder::new();
    for form in ["bin", "safetensors", "npy", "jsonl"] {
        let out = format!("texts.{form}");
        let args = [
            "embed",
            "texts",
            DRAWINGS,
            "fox",
            "a red fox",
            "--json",
            "--out",
        ];
        let call = folder.call(&[&args[..], &[&out]].concat()).expect(0);
        assert_eq!(json(&call)["rows"], 2, "{form}");
        assert!(folder.path(&out).is_file(), "{form}");
    }
    let lines = fs::read_to_string(folder.path("texts.jsonl")).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["input"], "fox");
    let vector: Vec<f64> = serde_json::from_value(first["embedding"].clone()).unwrap();
    let length: f64 = vector.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
    // A cache that the other commands read.
    let info = folder
        .call(&["cache", "info", "texts.bin", "--json"])
        .expect(0);
    assert!(
        info.out.contains("samples") || info.out.contains("rows"),
        "{}",
        info.out
    );
}

#[test]
fn a_corrupt_picture_is_left_out_or_fails() {
    let folder = Folder::new();
    fs::create_dir(folder.path("photos")).unwrap();
    let fox = repository("extras/demo/fox.png");
    fs::copy(&fox, folder.path("photos/a.png")).unwrap();
    fs::write(folder.path("photos/b.png"), "no picture").unwrap();
    let whole = fs::read(&fox).unwrap();
    fs::write(folder.path("photos/c.png"), &whole[..whole.len() / 2]).unwrap();
    let args = [
        "embed",
        "images",
        DRAWINGS,
        "photos",
        "--json",
        "--out",
        "photos.npy",
    ];
    let call = folder.call(&args).expect(3);
    assert!(
        call.err.contains("b.png") && call.err.contains("c.png"),
        "{}",
        call.err
    );
    assert_eq!(json(&call)["rows"], 1);
    assert_eq!(json(&call)["skipped"], 2);
    let strict = folder.call(&[&args[..], &["--strict"]].concat()).expect(1);
    assert!(strict.err.contains(".png"), "{}", strict.err);
}

#[test]
fn an_embedder_is_described_checked_and_measured() {
    let folder = Folder::new();
    let info = folder
        .call(&["embed", "info", DRAWINGS, "--json"])
        .expect(0);
    assert_eq!(json(&info)["spec"], DRAWINGS);
    let check = folder.call(&["embed", "check", DRAWINGS]).expect(0);
    assert_eq!(check.out.matches("ok ").count(), 4, "{}", check.out);
    let args = [
        "embed",
        "bench",
        DRAWINGS,
        "--batch",
        "2",
        "--seconds",
        "0",
        "--json",
    ];
    let bench = folder.call(&args).expect(0);
    assert!(json(&bench)["texts_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn zero_shot_over_a_folder_leaves_table_and_gap() {
    let folder = Folder::new();
    for class in ["fox", "key", "snail"] {
        let target = folder.path(&format!("pictures/{class}"));
        fs::create_dir_all(&target).unwrap();
        let picture = repository(&format!("extras/demo/{class}.png"));
        fs::copy(picture, target.join("1.png")).unwrap();
    }
    let args = [
        "embed",
        "zero-shot",
        DRAWINGS,
        "--dataset",
        "./pictures",
        "--class-names",
        "own",
        "--measure-gap",
        "--out",
        "gaps",
        "--csv",
        "table.csv",
    ];
    let call = folder.call(&args).expect(0);
    assert!(call.out.contains("over 3 samples is"), "{}", call.out);
    assert!(
        folder
            .path("gaps/modality_gap_openclip_novic_drawings.json")
            .is_file()
    );
    let table = fs::read_to_string(folder.path("table.csv")).unwrap();
    assert_eq!(table.lines().count(), 2);
    let missing = folder
        .call(&[
            "embed",
            "zero-shot",
            DRAWINGS,
            "--dataset",
            "CIFAR10",
            "--root",
            "nowhere",
        ])
        .expect(1);
    assert!(
        missing.err.contains("novic hub get cifar10"),
        "{}",
        missing.err
    );
}

#[test]
fn what_is_not_here_is_named_and_never_fetched_unasked() {
    let folder = Folder::new();
    let spec = "openclip:timm/ViT-B-16-SigLIP";
    let cache = folder.path("hf");
    let call = |args: &[&str]| {
        let mut command = folder.command(args);
        command.env("HF_HOME", &cache).env("HF_HUB_OFFLINE", "1");
        command.env_remove("HF_HUB_CACHE");
        Call::from(command.output().unwrap())
    };
    let info = call(&["embed", "info", spec]).expect(1);
    for part in [
        "open_clip_config.json",
        "novic hub get",
        "open_clip_model.safetensors",
    ] {
        assert!(info.err.contains(part), "no {part} in {}", info.err);
    }
    let get = call(&["hub", "get", spec]).expect(1);
    assert!(get.err.contains("HF_HUB_OFFLINE"), "{}", get.err);
    let ls = call(&["hub", "ls", "--json"]).expect(0);
    let rows = json(&ls);
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == spec);
    assert_eq!(row.unwrap()["state"], "missing");
    assert!(!cache.exists());
    let unknown = call(&["hub", "get", "wrld"]).expect(2);
    assert!(
        unknown.err.contains("did you mean world?"),
        "{}",
        unknown.err
    );
}
