//! Tables of prediction files and of runs, as their users meet them.

use std::fs;

use serde_json::{Value, json};

use crate::folder::{Call, Folder};

/// A prediction file with one noun for each of two samples.
fn predictions(nouns: [&str; 2], samples: [&str; 2]) -> Value {
    json!({
        "version": 1, "model": "run/model", "model_path": "/x/run/model", "model_dir": "run",
        "model_name": "model", "model_cfg": {"num_layers": nouns[1].len()}, "infer_cfg": {},
        "guide_targets": [], "vocab_targets": ["fox", "key"], "samples": samples,
        "predictions": {"greedy_k1_vnone_gp_t1_a0": {
            "gen_cfg": {"topk": 1, "method": "greedy"},
            "pred": [[nouns[0]], [nouns[1]]], "score": [[0.5], [0.25]], "result": [[1], [2]]
        }}
    })
}

fn folder() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path("preds")).unwrap();
    let write = |name: &str, value: &Value| {
        fs::write(folder.path(name), value.to_string()).unwrap();
    };
    write(
        "preds/a.json",
        &predictions(["fox", "key"], ["a.png", "b.png"]),
    );
    write(
        "preds/b.json",
        &predictions(["dog", "lock"], ["a.png", "b.png"]),
    );
    write("preds/other.json", &json!({"a.png": {}}));
    let annotations = json!({
        "a.png": {"correct_primary": ["fox"], "incorrect": ["dog"]},
        "b.png": {"correct_primary": ["key"]},
    });
    write("demo/_class_annotations.json", &annotations);
    folder
}

fn format(folder: &Folder, more: &[&str]) -> Call {
    let words = ["format-preds", "preds", "--image-dir", "demo"];
    folder.call(&[&words[..], more].concat())
}

/// Fails unless the text has all parts.
#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

#[test]
fn prediction_files_are_compared_and_what_lacks_annotations_is_kept() {
    let folder = folder();
    let call = format(&folder, &["--missing", "open.json"]).expect(0);
    has(
        &call.out,
        &[
            "| model_cfg.num_layers | 3 | 4 |",
            "| run/model | 2/0✓ 0/0~ 0/0✗ = 2 | 2.0   | 100.00% | 0           |",
            "| run/model | 0/0✓ 0/0~ 1/1✗ = 2 | 0.0   |  0.000% | 1           |",
        ],
    );
    assert!(
        !call.out.contains('\u{1b}'),
        "colours outside of a terminal"
    );
    has(
        &call.err,
        &["warning: 1 samples need a total of 1 extra annotations"],
    );
    let open: Value = serde_json::from_slice(&fs::read(folder.path("open.json")).unwrap()).unwrap();
    assert_eq!(open["samples"], json!(["b.png"]));
    assert_eq!(
        open["predictions"]["unannotated"]["pred"],
        json!([["lock"]])
    );
    let call = format(&folder, &["--json", "--bounds"]).expect(0);
    let report: Value = serde_json::from_str(&call.out).unwrap();
    assert_eq!(report["records"][1]["pred.upper"], json!(50.0));
    assert_eq!(report["records"][0]["pred.ci_lo"], json!(100.0));
    let call = format(&folder, &["pfmt_type=MODEL_MAX_V1", "--style", "compat"]).expect(0);
    has(
        &call.out,
        &["| Model     | Top-1 Details      | Top-1 | Top-1%  |"],
    );
    has(
        &call.err,
        &[
            "Sample b.png needs: [\"lock\"]",
            "Left out, for it holds no predictions",
        ],
    );
}

#[test]
fn bad_prediction_files_are_named_with_the_place() {
    let folder = folder();
    let write = |text: &str| fs::write(folder.path("preds/c.json"), text).unwrap();
    for (text, part) in [
        ("{\"version\": 1, \"samples\": [", "line 1 column 27"),
        (
            &predictions(["fox", "key"], ["a.png", "b.png"])
                .to_string()
                .replace("[\"key\"]", "[7]"),
            "predictions.greedy_k1_vnone_gp_t1_a0.pred[1][0]: invalid type",
        ),
        (
            &predictions(["fox", "key"], ["a.png", "b.png"])
                .to_string()
                .replace("\"version\":1", "\"version\":9"),
            "version 9 is unknown",
        ),
        (
            &predictions(["fox", "key"], ["a.png", "b.png"])
                .to_string()
                .replace("[[1],[2]]", "[[1]]"),
            "result: 1 rows for 2 samples",
        ),
    ] {
        write(text);
        let call = format(&folder, &[]).expect(1);
        has(&call.err, &["preds/c.json", part]);
    }
    // Files that do not fit each other are shown, with a word of warning.
    write(&predictions(["fox", "key"], ["b.png", "c.png"]).to_string());
    let call = format(&folder, &["--type", "gencfg_model_v1"]).expect(0);
    has(
        &call.err,
        &[
            "CAREFUL: Not all loaded prediction JSONs have the same list of samples",
            "Class annotations is missing 1 samples: [\"c.png\"]",
        ],
    );
    let mut none = predictions(["fox", "key"], ["a.png", "b.png"]);
    none["samples"] = json!([]);
    for list in ["pred", "score", "result"] {
        none["predictions"]["greedy_k1_vnone_gp_t1_a0"][list] = json!([]);
    }
    write(&none.to_string());
    let call = format(&folder, &["--type", "model_max_v1"]).expect(0);
    has(
        &call.out,
        &["| run/model | -                  | -     |      -% | -"],
    );
    for (arguments, code, part) in [
        (&["format-preds"][..], 1, "no prediction file was found"),
        (&["format-preds", "notes.txt"], 2, "is no JSON file"),
        (&["format-preds", "preds", "--topk", "0"], 2, "at least 1"),
        (
            &["format-preds", "preds", "--sort", "-"],
            2,
            "names no column",
        ),
        (
            &[
                "format-preds",
                "preds",
                "--image-dir",
                "demo",
                "--sort",
                "size",
            ],
            2,
            "columns are Model, Top-1 Details",
        ),
    ] {
        let call = folder.call(arguments).expect(code);
        has(&call.err, &[part]);
    }
}

#[test]
fn overall_scores_name_the_list_and_all_that_is_missing() {
    let folder = folder();
    let annotations = "demo/_class_annotations.json";
    let words = [
        "specificity",
        "--pred_dir",
        "preds",
        "--ann_file",
        annotations,
    ];
    let call = folder.call(&words).expect(2);
    has(&call.err, &["--specificity-file embedded"]);
    let words = [&words[..], &["--specificity_file", "embedded"]].concat();
    let call = folder.call(&words).expect(1);
    has(
        &call.err,
        &["1 nouns without annotation: lock (b.png)", "--missing zero"],
    );
    let words = [&words[..], &["--missing", "zero"]].concat();
    let call = folder.call(&words).expect(0);
    has(
        &call.out,
        &[
            "Scores in % with the specificity list embedded:",
            "| a.json | greedy_k1_vnone_gp_t1_a0 | 2    | 100.00 |",
        ],
    );
    let call = folder
        .call(&[&words[..], &["--style", "compat"]].concat())
        .expect(0);
    has(
        &call.out,
        &["Prediction scores:\n{'a.json': '100.00%', 'b.json': '0.00%'}\n\nOverall"],
    );
}

#[test]
fn a_training_is_known_by_the_nouns_it_learnt() {
    let folder = Folder::new();
    let threshold = "stage.nouns.nouns.vocab_threshold=19";
    let run = folder.run_tiny(&[threshold, "--until", "train"]).output();
    Call::from(run.unwrap()).expect(0);
    let report = "[[table]]\nname = \"nouns\"\n\
         source = { kind = \"runs\", where = { \"run.action\" = \"train\" } }\n\
         [table.rows]\nby = [\"train.config.vocab_thres\"]\nlabel = \"FT{train.config.vocab_thres}\"\n\
         [[table.col]]\nlabel = \"nouns\"\nvalue = \"train.summary.nouns\"\n";
    fs::write(folder.path("nouns.toml"), report).unwrap();
    let call = folder.call(&["report", "nouns.toml", "--format", "csv"]);
    has(&call.expect(0).out, &["FT19"]);
}

#[test]
fn local_runs_are_shown_and_older_records_read() {
    let folder = Folder::new();
    let run = Call::from(
        folder
            .run_tiny(&["stage.demo.generate.configs=[]"])
            .output()
            .unwrap(),
    );
    run.expect(0);
    fs::create_dir_all(folder.path("extras/world")).unwrap();
    let annotations = json!({"fox.png": {"correct_primary": ["fox"]}, "key.png": {}});
    let path = folder.path("extras/world/_class_annotations.json");
    fs::write(path, annotations.to_string()).unwrap();
    let call = folder
        .call(&["format-wandb", "--type", "infer_v1"])
        .expect(0);
    has(
        &call.out,
        &["| Tag", "| Unannotated |", "| fox ", "| snail "],
    );
    has(
        &call.err,
        &["Class annotations is missing 1 samples: [\"snail.png\"]"],
    );
    let model = call.out.lines().nth(3).unwrap();
    assert!(
        model.contains("ovod_") && model.contains("/train_"),
        "{model}"
    );

    let call = folder
        .call(&["format-wandb", "--json", "fmt_type=all_v2"])
        .expect(0);
    let report: Value = serde_json::from_str(&call.out).unwrap();
    let said = report["said"].as_array().unwrap();
    let table = said.iter().find_map(|said| said.get("table")).unwrap();
    let command = table["rows"][0].as_array().unwrap().last().unwrap();
    assert!(command.as_str().unwrap().ends_with("run"), "{command}");

    // A record whose summary is of an earlier version, and one that is none.
    let runs = folder.path(".novic/runs");
    let run = fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    let summary: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    let mut older = summary;
    older["format"] = json!(1);
    older.as_object_mut().unwrap().remove("values");
    fs::write(run.join("summary.json"), older.to_string()).unwrap();
    let _ = fs::remove_file(folder.path(".novic/cache/runs.index"));
    let broken = runs.join("ovod_20200101_000000");
    fs::create_dir(&broken).unwrap();
    fs::write(
        broken.join("record.novic"),
        b"something else, long enough to be a record",
    )
    .unwrap();
    let again = folder
        .call(&["format-wandb", "--type", "infer_v1"])
        .expect(0);
    has(&again.out, &[model]);

    for (arguments, code, part) in [
        (
            &["format-wandb", "--max-ago", "soon"][..],
            2,
            "`soon` is no age",
        ),
        (
            &["format-wandb", "fmt_min_stamp=yesterday"],
            2,
            "is no time",
        ),
        (
            &["format-wandb", "--host-tag", "x"],
            2,
            "no group in parentheses",
        ),
        (
            &["format-wandb", "--type", "v3"],
            2,
            "none of eval_gen_cls_v1",
        ),
    ] {
        let call = folder.call(arguments).expect(code);
        has(&call.err, &[part]);
    }
    let none = folder.call(&["format-wandb", "--max-ago", "0s"]).expect(0);
    has(&none.err, &["No data available!"]);
}
