//! `text_cache.json`, `text_cache/*.bin`: text caches of noun datasets.

use novic::cache::{TargetConfig, TextFile, TextFileShape, TextFileWriter, TextRows, TokenRows};
use novic::nouns::{TemplateFile, Vocabulary};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{AREA, hex, json, list, noun_dataset, number, text};
use crate::golden;

struct Case {
    value: Value,
    shape: TextFileShape,
    bytes: Vec<u8>,
}

fn cases() -> (Value, Vec<Case>) {
    let data = json("text_cache.json");
    let cases: Vec<Case> = list(&data["cases"])
        .iter()
        .map(|value| {
            let config: TargetConfig =
                serde_json::from_value(value["target_config"].clone()).expect("valid");
            let dim = usize::try_from(number(&value["embed_dim"])).expect("small");
            let path = golden::area(AREA).join(text(&value["file"]));
            Case {
                shape: TextFileShape::new(dim, &config, number(&value["num_usids"])),
                bytes: std::fs::read(path).expect("readable"),
                value: value.clone(),
            }
        })
        .collect();
    assert!(!cases.is_empty());
    (data["dictionary"].clone(), cases)
}

/// Rows `start..end` of the reference: tokens from the list, embeddings from
/// the file.
fn rows(case: &Case, file: &TextFile, start: u64, end: u64) -> TextRows {
    let samples = &list(&case.value["samples"])[start as usize..end as usize];
    let mut tokens = TokenRows {
        columns: case.shape.columns,
        ids: Vec::new(),
        padding: Vec::new(),
    };
    for sample in samples {
        let ids = list(&sample["target_ids"]);
        tokens
            .ids
            .extend(ids.iter().map(|id| id.as_i64().expect("an id")));
        match sample["mask"].as_array() {
            Some(mask) => {
                tokens
                    .padding
                    .extend(mask.iter().map(|masked| *masked == Value::Bool(true)));
            }
            None => tokens.padding.resize(tokens.ids.len(), false),
        }
    }
    TextRows {
        embeds: file.texts(start, end).expect("readable").embeds,
        tokens,
    }
}

#[test]
fn text_caches_are_read_and_written() {
    let folder = TempDir::new().expect("a folder");
    let (dictionary, cases) = cases();
    let templates = json("templates.json").to_string();
    let templates = TemplateFile::from_json("t.json", templates.as_bytes()).expect("valid");
    for case in &cases {
        let id = &case.value["id"];
        assert_eq!(
            hex(&Sha256::digest(&case.bytes)),
            text(&case.value["sha256"]),
            "{id}"
        );
        assert_eq!(
            case.shape.slot() as u64,
            number(&case.value["sample_bytes"]),
            "{id}"
        );
        assert_eq!(case.shape.size(), case.bytes.len() as u64, "{id}");

        // The texts in their order.
        let threshold = case.value["vocab_thres"].as_i64().expect("a number");
        let vocabulary = Vocabulary::from_json("d", dictionary.to_string().as_bytes(), threshold);
        let dataset =
            noun_dataset(vocabulary.expect("valid"), &templates, &case.value).expect("valid");
        assert_eq!(dataset.num_unique_samples(), case.shape.texts, "{id}");
        let names: Vec<&str> = dataset.targets().collect();
        let mut samples = dataset.unique_samples();
        for expected in list(&case.value["samples"]) {
            let sample = samples.next_sample().expect("a sample");
            assert_eq!(sample.text, text(&expected["text"]), "{id}");
            assert_eq!(names[sample.target], text(&expected["target"]), "{id}");
        }
        let path = folder.path().join(format!("{id}.bin"));
        std::fs::write(&path, &case.bytes).expect("writable");
        let file = TextFile::open(&path, case.shape).expect("valid");
        let texts = case.shape.texts;
        let all = file.texts(0, texts + 5).expect("readable");
        assert_eq!(all, rows(case, &file, 0, texts), "{id}");
        for embed in all.embeds.chunks(case.shape.dim) {
            let norm: f64 = embed.iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{id}");
        }

        // Written in two lives, with something lost between them.
        let written = folder.path().join(format!("{id}-written.bin"));
        let middle = texts / 2;
        let mut writer = TextFileWriter::open(&written, case.shape).expect("writable");
        writer
            .write(&rows(case, &file, 0, middle))
            .expect("writable");
        drop(writer);
        assert!(!written.exists());
        let mut writer = TextFileWriter::open(&written, case.shape).expect("writable");
        assert_eq!(writer.written(), middle);
        writer
            .write(&rows(case, &file, middle, texts))
            .expect("writable");
        assert!(writer.write(&rows(case, &file, 0, 1)).is_err(), "too many");
        writer.finish().expect("complete");
        assert_eq!(
            std::fs::read(&written).expect("readable"),
            case.bytes,
            "{id}"
        );
    }
}

#[test]
fn damaged_text_caches_are_refused() {
    let folder = TempDir::new().expect("a folder");
    for case in cases().1 {
        let path = folder.path().join("cache.bin");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("writable");
            TextFile::open(&path, case.shape)
                .expect_err("damaged")
                .to_string()
        };
        let mut marker = case.bytes.clone();
        marker[..32.min(case.shape.slot())].fill(0);
        assert!(refused(&marker).contains("to its end"));
        marker[0] = 1;
        assert!(refused(&marker).contains("not a text cache"));
        assert!(refused(&case.bytes[..case.bytes.len() - 1]).contains("bytes"));
        assert!(refused(&[&case.bytes[..], &[0]].concat()).contains("bytes"));
        assert!(refused(&case.bytes[..7]).contains("truncated"));
        let unfinished = TextFileWriter::open(&path, case.shape).expect("writable");
        assert!(unfinished.finish().is_err());
    }
}
