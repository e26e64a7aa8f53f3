//! `damage.json`: damaged files and readers that do not fit them.

use novic::cache::{
    CacheFile, DataConfig, DataRequest, LoaderInfo, LoaderMode, OpenOptions, Result, TargetConfig,
};
use serde_json::Value;
use tempfile::TempDir;

use super::AREA;
use super::fixtures::{GoldenCache, constants, options, signature};
use crate::golden;

/// Accepted by the original, marked (*) in the README: refused here.
const STRICTER: [&str; 2] = ["target_id_negative", "embedding_nan"];

#[test]
fn every_damage_is_noticed_at_its_stage() {
    let data = golden::json(AREA, "damage.json");
    let cases = data["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    let folder = TempDir::new().unwrap();
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let cache = GoldenCache::named(case["base"].as_str().unwrap());
        let path = folder.path().join(name);
        std::fs::write(&path, damaged(case, std::fs::read(cache.path()).unwrap())).unwrap();
        let mut stage = "open";
        let outcome = read(case, &cache, &path, &mut stage);
        let expected = match case["failing_stage"].as_str().unwrap() {
            "ok" if STRICTER.contains(&name) => "read",
            stage => stage,
        };
        match outcome {
            Ok(()) => assert_eq!(expected, "ok", "{name}"),
            Err(error) => {
                assert_eq!(expected, stage, "{name}: {error}");
                assert!(error.to_string().contains(name), "no path in {error}");
            }
        }
    }
}

pub fn damaged(case: &Value, mut bytes: Vec<u8>) -> Vec<u8> {
    for patch in case["patch"].as_array().unwrap() {
        let offset = usize::try_from(patch[0].as_u64().unwrap()).unwrap();
        let patch = unhex(patch[1].as_str().unwrap());
        bytes[offset..offset + patch.len()].copy_from_slice(&patch);
    }
    if let Some(size) = case["truncate"].as_u64() {
        bytes.truncate(usize::try_from(size).unwrap());
    }
    if let Some(more) = case["append"].as_str() {
        bytes.extend(unhex(more));
    }
    bytes
}

fn read(
    case: &Value,
    cache: &GoldenCache,
    path: &std::path::Path,
    stage: &mut &'static str,
) -> Result<()> {
    let reader = &case["reader"];
    let mut embedder = cache.entry["embedder"].clone();
    for (key, value) in reader["embedder"].as_object().unwrap() {
        embedder[key] = value.clone();
    }
    let file = CacheFile::open(
        path,
        &signature(&embedder),
        OpenOptions {
            use_targets: reader["use_targets"].as_bool(),
            strict: reader["strict"].as_bool().unwrap(),
        },
    )?;

    *stage = "dataset";
    let use_targets = file.nouns().is_some();
    let (nominal, strict) = file.nominal();
    let data = DataConfig::resolve(&nominal, &strict, &DataRequest::default(), use_targets)?;
    let info = LoaderInfo::new(file.samples(), 1, LoaderMode::Evaluation, 0)?;

    *stage = "enter";
    let config = if let Some(nouns) = file.nouns() {
        let mut tokenizer = cache.tokenizer();
        tokenizer.constants = constants(&embedder);
        let nouns = match reader["targets"].as_array() {
            Some(nouns) => nouns
                .iter()
                .map(|noun| noun.as_str().unwrap().to_owned())
                .collect(),
            None => nouns.valid().to_vec(),
        };
        Some(TargetConfig::build(
            &tokenizer,
            &nouns,
            &options(&reader["target_overrides"]),
        )?)
    } else {
        None
    };
    let opened = file.enter(config.as_ref(), None)?;

    *stage = "read";
    for item in 0..info.epoch_batches {
        opened.batch(&info.rows(item, 0), &data)?;
    }
    Ok(())
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
