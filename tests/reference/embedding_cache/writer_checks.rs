//! `writer_checks.json`: what a writer refuses, and when.

use std::path::Path;

use novic::cache::{
    CacheWriter, FileFlags, FilePlan, NounTable, Result, RowOrder, SampleRows, TargetConfig,
    TargetOptions, TargetPlan,
};
use serde_json::Value;
use tempfile::TempDir;

use super::AREA;
use super::fixtures::GoldenCache;
use crate::golden;

/// Accepted by the original, marked (*) in the README: refused here.
const STRICTER: [&str; 1] = ["nan_embedding"];

#[test]
fn every_bad_sample_is_refused_at_its_stage() {
    let cases = golden::json(AREA, "writer_checks.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    // The cases name nouns only; the caches know how they are tokenized and
    // which embedder made the vectors.
    let caches = GoldenCache::all();
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let width = case["embeds"][0].as_array().unwrap().len();
        let cache = caches
            .iter()
            .find(|cache| {
                let embedder = &cache.entry["embedder"];
                let nouns = cache.entry["target_nouns"].as_array();
                embedder["embed_dim"] == width
                    && embedder["embed_dtype"] == "torch.float32"
                    && case["nouns"].as_array().is_none_or(|needed| {
                        nouns.is_some_and(|nouns| needed.iter().all(|noun| nouns.contains(noun)))
                    })
                    && cache.target_config().is_some()
            })
            .unwrap();
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("cache.bin");
        let mut stage = "construct";
        let outcome = write(case, cache, &path, &mut stage);
        let (expected, left) = if STRICTER.contains(&name) {
            ("write", false)
        } else {
            (
                case["failing_stage"].as_str().unwrap(),
                case["file_left"].as_bool().unwrap(),
            )
        };
        match outcome {
            Ok(()) => assert_eq!(expected, "ok", "{name}"),
            Err(error) => assert_eq!(expected, stage, "{name}: {error}"),
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!((path.exists(), files), (left, usize::from(left)), "{name}");
    }
}

fn write(case: &Value, cache: &GoldenCache, path: &Path, stage: &mut &'static str) -> Result<()> {
    let options = &case["options"];
    let flag = |name: &str| options[name].as_bool().unwrap();
    let nouns: Vec<String> = serde_json::from_value(case["nouns"].clone()).unwrap_or_default();
    let tokenizer = cache.tokenizer();
    let nouns = NounTable::new(nouns)?;
    let config = TargetConfig::build(&tokenizer, nouns.valid(), &TargetOptions::default())?;
    let per_sample = usize::try_from(case["num_embed_targets"].as_u64().unwrap()).unwrap();
    let targets = TargetPlan::new(&config, &tokenizer, nouns, per_sample)?;
    let plan = FilePlan::new(
        case["num_embed"].as_u64().unwrap(),
        &cache.signature(),
        Some(&targets),
        FileFlags {
            full_targets: flag("full_targets"),
            default_weights: flag("default_weights"),
            unit_weights: flag("unit_weights"),
            embedder_strict: true,
        },
        if flag("shuffle") {
            RowOrder::Shuffled { seed: 1 }
        } else {
            RowOrder::AsWritten
        },
    )?;
    let mut writer = CacheWriter::create(path, &plan)?;

    *stage = "write";
    let embeds = floats(&case["embeds"]).unwrap();
    // An id below zero becomes one that is far too large.
    let ids = case["embed_targets"].as_array().map(|rows| {
        rows.iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|id| id.as_i64().unwrap() as u32)
            .collect::<Vec<_>>()
    });
    let weights = floats(&case["weights"]);
    writer.write(&SampleRows {
        embeds: embeds.as_slice().into(),
        target_ids: ids.as_deref(),
        weights: weights.as_deref().map(Into::into),
    })?;

    *stage = "finish";
    writer.finish()
}

/// Rows of single precision numbers; null is not a number.
fn floats(rows: &Value) -> Option<Vec<f32>> {
    rows.as_array().map(|rows| {
        rows.iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|value| value.as_f64().map_or(f32::NAN, |value| value as f32))
            .collect()
    })
}
