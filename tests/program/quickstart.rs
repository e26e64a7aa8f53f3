//! The whole way, from an empty folder to a page with labelled pictures.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

#[test]
fn the_quick_start_leaves_a_page_and_has_nothing_to_do_the_second_time() {
    let folder = Folder::new();
    let first = Call::from(folder.run_tiny(&[]).output().unwrap()).expect(0);
    let page = first.out.lines().last().unwrap().to_owned();
    let html = fs::read_to_string(folder.path(&page)).unwrap();
    for part in [
        "The quick start in small",
        "<em>hundredth</em>",
        "<svg",
        "data:image/png;base64",
        "Prompt-free top-1",
    ] {
        assert!(html.contains(part), "the page lacks {part}");
    }
    assert!(
        !html.contains("<script src") && !html.contains("<link"),
        "the page needs other files"
    );
    for stage in ["nouns", "train", "zero_shot", "drawings", "demo"] {
        let line = first
            .err
            .lines()
            .find(|line| line.trim_start().starts_with("DONE") && line.trim_end().ends_with(stage));
        assert!(line.is_some(), "{stage} is not reported:\n{}", first.err);
    }

    // The decoder is too small to be good, but the embedder is not.
    let table: Value = serde_json::from_str(&folder.tiny("table", &["--json"]).out).unwrap();
    let zero_shot = number(&table, "Zero-shot top-1");
    assert!(zero_shot > 10.0, "{zero_shot} % zero-shot");
    assert_eq!(number(&table, "Classes"), number(&table, "Pictures"));

    let begun = Instant::now();
    let second = Call::from(folder.run_tiny(&[]).output().unwrap()).expect(0);
    let time = begun.elapsed();
    assert!(
        second.err.contains("everything is up to date"),
        "{}",
        second.err
    );
    assert_eq!(second.out.lines().last(), Some(page.as_str()));
    // 0.5 s are promised; this build is not the fast one, and tests run at once.
    assert!(time < Duration::from_secs(5), "nothing to do in {time:?}");

    let infer = folder.call(&["infer", "--checkpoint", "latest", "--json", "demo/fox.png"]);
    let labels: Value = serde_json::from_str(&infer.expect(0).out).unwrap();
    assert!(labels.to_string().contains("fox.png"));
}

#[test]
fn the_embedded_decoder_names_a_picture_from_any_folder() {
    let folder = Folder::new();
    let call = folder
        .call(&["infer", "--format", "jsonl", "demo"])
        .expect(0);
    let lines: Vec<Value> = call
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        let labels = line["predictions"].as_array().unwrap();
        assert_eq!(labels.len(), 10, "{line}");
        let chances: Vec<f64> = labels
            .iter()
            .map(|label| label["prob"].as_f64().unwrap())
            .collect();
        assert!(chances.is_sorted_by(|a, b| a >= b), "{line}");
        assert!(chances.iter().sum::<f64>() <= 1.0 + 1e-6, "{line}");
    }
    assert!(
        !folder.path(".novic").exists(),
        "infer leaves nothing behind"
    );
}

impl Folder {
    fn tiny(&self, command: &str, more: &[&str]) -> Call {
        let file = repository("tests/program/tiny.toml");
        let mut arguments = vec![command, file.to_str().unwrap()];
        arguments.extend(more);
        self.call(&arguments).expect(0)
    }
}

/// The value of a column in the first row of the first table.
fn number(tables: &Value, column: &str) -> f64 {
    let table = &tables[0];
    let columns = table["columns"].as_array().unwrap();
    let place = columns.iter().position(|own| own["label"] == column);
    let place = place.unwrap_or_else(|| panic!("no column {column} in {columns:?}"));
    let row = &table["groups"][0]["rows"][0];
    row["cells"][place]["stats"]["value"].as_f64().unwrap()
}
