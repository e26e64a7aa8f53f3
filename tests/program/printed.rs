//! What is printed, word for word, but for what changes from run to run.

use std::fs;

use insta::assert_snapshot;
use regex::Regex;

use crate::folder::{Call, Folder, repository};

/// Puts placeholders where times, sizes, identities, places and scores stand.
fn steady(folder: &Folder, text: &str) -> String {
    let mut text = text.replace(
        folder.path("").to_str().unwrap().trim_end_matches('/'),
        "<here>",
    );
    text = text.replace(env!("CARGO_MANIFEST_DIR"), "<repository>");
    for (pattern, to) in [
        // How far a stage is, where it takes longer than usual.
        (r"(?m)^ {20,}\w+: [\d,]+/[\d,]+ .*\n", ""),
        (r"\d{8}_\d{6}(_\d+)?", "<moment>"),
        (r"\[ *[\d.]+m?s\]|\[ *\d+m \d+s\]", "[  <time>]"),
        (r"(about \d+s|under 1s|about \d+m \d+s)", "<expected>"),
        (r"\b[0-9a-f]{8}\b", "<key>"),
        (r"\b[0-9a-f]{32}\b", "<identity>"),
        (r" *\d+\.\d+% ~ [\d.]+%", " <chance>"),
        (r"\d+(\.\d+)? (B|kB|MB|KiB|MiB)\b", "<size>"),
        (r" *\d+\.\d %", "  <score>"),
        (r"\d+ of \d+ (classes|pictures)", "<some> of <all> $1"),
        (r"--> .*", "--> <noun>"),
        (r" = [\d.]+%", " = <chance>"),
    ] {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, to)
            .into_owned();
    }
    text
}

#[test]
fn a_command_introduces_itself() {
    let folder = Folder::new();
    let help = folder.call(&["infer", "--help"]).expect(0);
    assert_snapshot!("help_infer", help.out);
}

#[test]
fn a_run_tells_what_it_does() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let tiny = tiny.to_str().unwrap();
    let plan = folder.call(&["plan", tiny]).expect(0);
    assert_snapshot!("plan_before", steady(&folder, &plan.out));
    let run = Call::from(folder.run_tiny(&[]).output().unwrap()).expect(0);
    assert_snapshot!("run_report", steady(&folder, &run.err));
    let page = run.out.lines().last().unwrap();
    assert!(fs::metadata(folder.path(page)).unwrap().is_file());
    let plan = folder.call(&["plan", tiny, "noise.vec_norm=2"]).expect(0);
    assert_snapshot!("plan_after_a_change", steady(&folder, &plan.out));
    let again = Call::from(folder.run_tiny(&[]).output().unwrap()).expect(0);
    assert_snapshot!("run_up_to_date", steady(&folder, &again.err));
    let table = folder.call(&["table", tiny, "--format", "md"]).expect(0);
    assert_snapshot!("table_markdown", steady(&folder, &table.out));
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let folder = Folder::new();
    let call = folder
        .run_tiny(&[
            "stage.train.model.layerz=3",
            "nouns.vocab_threshold=many",
            "noise.scheme=Gaus",
        ])
        .output()
        .unwrap();
    assert_snapshot!(Call::from(call).expect(2).err);
}
