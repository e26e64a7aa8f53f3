//! Tables and plots of an experiment file as parts of its plan and its runs.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::folder::{Folder, repository};

/// The shrunken quick start with more cells; runs leave out what takes long.
fn experiment(value: &str) -> String {
    let tiny = repository("tests/program/tiny.toml");
    format!(
        r#"extends = "{}"

[experiment]
name = "mine"

[stage.noised]
kind = "test_data_loader"
inputs = ["nouns"]
run.seed = 1
test.angles = true
train.accum_factor = 1

[table.own]
title = "Zero-shot"
where = {{ "run.action" = "embedder_zero_shot" }}
rows = {{ by = ["dataset"] }}

[[table.own.col]]
label = "Top-1"
value = "{value}"

[plot.angles]
kind = "histogram"
source = {{ kind = "angles", where = {{ series = "with noise" }} }}
x = "angle"
weight = "count"
"#,
        tiny.display()
    )
}

fn folder(value: &str) -> Folder {
    let folder = Folder::new();
    fs::write(folder.path("mine.toml"), experiment(value)).unwrap();
    folder
}

/// The line of an experiment file on which a text stands.
fn line_of(text: &str, part: &str) -> usize {
    let at = text.lines().position(|line| line.contains(part));
    at.expect("a line with it") + 1
}

/// The cells of a plan: names and states.
fn cells(folder: &Folder, more: &[&str]) -> Vec<(String, String)> {
    let arguments = [&["plan", "mine.toml", "--json"], more].concat();
    let plan: Value = serde_json::from_str(&folder.call(&arguments).expect(0).out).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    let is_cell = |step: &&Value| ["table", "plot"].contains(&step["kind"].as_str().unwrap());
    let cells = steps.iter().filter(is_cell);
    cells
        .map(|step| (text(step, "name"), text(step, "state")))
        .collect()
}

fn states(all: [(&str, &str); 3]) -> Vec<(String, String)> {
    let owned = |(name, state): (&str, &str)| (name.to_owned(), state.to_owned());
    all.into_iter().map(owned).collect()
}

#[test]
fn tables_and_plots_are_made_when_their_stages_are_done() {
    let folder = folder("top1");
    assert_eq!(
        cells(&folder, &[]),
        states([
            ("table.summary", "will_run"),
            ("table.own", "will_run"),
            ("plot.angles", "will_run"),
        ])
    );
    assert!(!folder.path(".novic").exists(), "plans write nothing");
    let only = ["run", "mine.toml", "--only", "nouns,zero_shot,noised"];
    let run = folder.call(&only).expect(0);
    for part in [
        "SKIPPED",
        "table.summary",
        "waits for train",
        "DONE",
        "table.own",
    ] {
        assert!(run.err.contains(part), "no `{part}` in:\n{}", run.err);
    }
    let entry = folder.output_of("table");
    let files = [
        "own.txt", "own.md", "own.csv", "own.tex", "own.html", "own.json",
    ];
    assert!(
        files.iter().all(|name| entry.join(name).is_file()),
        "{entry:?}"
    );
    let call = folder.call(&["table", "mine.toml", "--name", "own", "--format", "md"]);
    let kept = fs::read_to_string(entry.join("own.md")).unwrap();
    assert_eq!(
        call.expect(0).out,
        kept,
        "the kept table is the one that is printed"
    );
    let svg: PathBuf = folder.output_of("plot").join("angles.svg");
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.contains("<svg") && svg.contains("<polyline"), "{svg}");
    let noised = folder.output_of("test_data_loader").join("entry.json");
    let noised: Value = serde_json::from_slice(&fs::read(noised).unwrap()).unwrap();
    // A mixture of about 52° and of 25° to 60°.
    let mean = noised["description"]["results"]["noise_angle_mean"].as_f64();
    assert!(
        mean.is_some_and(|mean| (45.0..57.0).contains(&mean)),
        "{mean:?}"
    );
    // Another value of a stage, another title, and nothing.
    let override_ = ["stage.zero_shot.zero_shot.clip_prompts=false"];
    assert_eq!(cells(&folder, &override_)[1].1, "stale");
    let why = folder
        .call(&["why", "mine.toml", "own", override_[0]])
        .expect(0);
    for part in [
        "table.own (table): stale",
        "because zero_shot will run",
        override_[0],
    ] {
        assert!(why.out.contains(part), "no `{part}` in:\n{}", why.out);
    }
    let title = experiment("top1").replace("title = \"Zero-shot\"", "title = \"Other\"");
    fs::write(folder.path("mine.toml"), &title).unwrap();
    let why = folder.call(&["why", "mine.toml", "table.own"]).expect(0);
    let place = format!("set by mine.toml:{}", line_of(&title, "title = \"Other\""));
    for part in ["table.own.title \"Zero-shot\" → \"Other\"", place.as_str()] {
        assert!(why.out.contains(part), "no `{part}` in:\n{}", why.out);
    }
    fs::write(folder.path("mine.toml"), experiment("top1")).unwrap();
    assert_eq!(cells(&folder, &[])[1].1, "up_to_date");
}

#[test]
fn a_field_that_nothing_has_is_shown_where_it_stands_after_the_stages() {
    let folder = folder("tpo1");
    let only = ["run", "mine.toml", "--only", "zero_shot"];
    let place = format!(
        "mine.toml:{}:9",
        line_of(&experiment("tpo1"), "value = \"tpo1\"")
    );
    // Both times: the second has no stage to run, but the table to make.
    for _ in 0..2 {
        let run = folder.call(&only).expect(1);
        for part in [
            "FAILED",
            "unknown field `tpo1`",
            &place,
            "did you mean `top1`?",
            "^^^^",
        ] {
            assert!(run.err.contains(part), "no `{part}` in:\n{}", run.err);
        }
        let page = run.out.lines().last().unwrap();
        let html = fs::read_to_string(folder.path(page)).unwrap();
        assert!(html.contains("cannot be made") && html.contains("tpo1"));
    }
    let plan = folder.call(&["plan", "mine.toml"]).expect(0);
    assert!(plan.out.contains("     failed  table.own"), "{}", plan.out);
    assert!(
        folder
            .call(&["table", "mine.toml", "--name", "own"])
            .expect(1)
            .err
            .contains(&place)
    );
    fs::write(folder.path("mine.toml"), experiment("top1")).unwrap();
    let run = folder.call(&[&only[..], &["--json"]].concat()).expect(0);
    let run: Value = serde_json::from_str(&run.out).unwrap();
    let outcomes: Vec<&str> = run["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes[..2], ["skipped", "done"], "{run:#}");
    // Mistakes that need no records stop before anything is done.
    let wrong = experiment("top1").replace("label = \"Top-1\"", "lable = \"Top-1\"");
    fs::write(folder.path("mine.toml"), wrong).unwrap();
    for command in ["plan", "run"] {
        let call = folder.call(&[command, "mine.toml"]).expect(2);
        assert!(call.err.contains("did you mean `label`?"), "{}", call.err);
    }
}
