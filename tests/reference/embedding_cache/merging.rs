//! The merged caches of `caches.json`, and `merge_errors.json`.

use std::path::Path;

use novic::cache::{
    Cache, CacheFile, CacheWriter, FilePlan, MergeOptions, MergeOrder, Result, Samples,
};
use novic::config::schema::MultiMode;
use serde_json::Value;
use tempfile::TempDir;

use super::AREA;
use super::fixtures::{GoldenCache, floats};
use crate::golden;

/// A number may be written as text.
fn multi_mode(value: &Value) -> serde_json::Result<MultiMode> {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(count) => Ok(MultiMode::Count(count)),
        None => serde_json::from_value(value.clone()),
    }
}

fn merged(cache: &GoldenCache, order: MergeOrder) -> Cache {
    let merge = &cache.entry["merge"];
    let names = merge["inputs"].as_array().unwrap();
    let inputs: Vec<GoldenCache> = names
        .iter()
        .map(|name| GoldenCache::named(name.as_str().unwrap()))
        .collect();
    let repeats: Vec<usize> = serde_json::from_value(merge["freqs"].clone()).unwrap();
    let options = MergeOptions {
        multi: multi_mode(&merge["multi_mode"]).unwrap(),
        order,
        block: merge["batch_size"].as_u64().unwrap(),
    };
    let files = inputs
        .iter()
        .map(|input| input.open(None).unwrap())
        .collect();
    let file = CacheFile::merged(files, &repeats, options, &cache.signature()).unwrap();
    file.enter(cache.target_config().as_ref(), None).unwrap()
}

fn merges() -> Vec<GoldenCache> {
    let mut caches = GoldenCache::all();
    caches.retain(|cache| !cache.entry["merge"].is_null());
    assert!(!caches.is_empty());
    caches
}

fn copy(cache: &Cache, path: &Path) -> Result<()> {
    let mut writer = CacheWriter::create(path, &FilePlan::copying(cache)?)?;
    let default_weights = cache.header().default_weights;
    cache.for_each_chunk(0..cache.len(), |samples| {
        writer.write(&samples.rows(default_weights))
    })?;
    writer.finish()
}

#[test]
fn merged_files_are_byte_identical() {
    let folder = TempDir::new().unwrap();
    for cache in merges() {
        let inputs = golden::tensors(AREA, &format!("inputs/{}.safetensors", cache.name));
        let rows = inputs.get("perm").integers();
        let rows = rows
            .into_iter()
            .map(|row| u32::try_from(row).unwrap())
            .collect();
        let path = folder.path().join(&cache.name);
        copy(&merged(&cache, MergeOrder::Given(rows)), &path).unwrap();
        let (found, expected) = (std::fs::read(path), std::fs::read(cache.path()));
        assert_eq!(found.unwrap(), expected.unwrap(), "{}", cache.name);
    }
}

#[test]
fn streams_of_merges() {
    for cache in merges() {
        let inputs = golden::tensors(AREA, &format!("inputs/{}.safetensors", cache.name));
        let stream = merged(&cache, MergeOrder::AsStreamed)
            .samples(0, u64::MAX)
            .unwrap();
        assert_eq!(
            stream.embeds,
            floats(inputs.get("embeds")),
            "{}",
            cache.name
        );
        let ids: Vec<i64> = stream
            .target_ids
            .unwrap()
            .into_iter()
            .map(i64::from)
            .collect();
        assert_eq!(
            ids,
            inputs.get("embed_targets").integers(),
            "{}",
            cache.name
        );
        let weights = floats(inputs.get("embed_target_weights"));
        assert_eq!(stream.weights.unwrap(), weights, "{}", cache.name);
    }
}

/// Bits of every row, sorted.
fn rows(samples: &Samples, dim: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let embeds: Vec<u32> = samples
        .embeds
        .clone()
        .into_f32()
        .into_iter()
        .map(f32::to_bits)
        .collect();
    let ids = samples.target_ids.clone().unwrap_or_default();
    let mut rows: Vec<_> = embeds
        .chunks(dim)
        .enumerate()
        .map(|(row, embed)| {
            let targets = ids.len() / samples.len;
            (embed.to_vec(), ids[row * targets..][..targets].to_vec())
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn shuffled_merges_have_the_rows_of_the_stream() {
    for cache in merges() {
        let read = |order| merged(&cache, order).samples(0, u64::MAX).unwrap();
        let stream = read(MergeOrder::AsStreamed);
        let (one, again) = (
            read(MergeOrder::Shuffled { seed: 1 }),
            read(MergeOrder::Shuffled { seed: 1 }),
        );
        let dim = usize::from(merged(&cache, MergeOrder::AsStreamed).header().embed_dim);
        assert_eq!(one, again);
        assert_ne!(one, read(MergeOrder::Shuffled { seed: 2 }));
        assert_ne!(one, stream);
        assert_eq!(rows(&one, dim), rows(&stream, dim), "{}", cache.name);
    }
}

/// Merges that the original cannot do, marked (*) in the README.
const POSSIBLE: [&str; 2] = ["targetless", "drop_targets"];

#[test]
fn impossible_merges_are_refused() {
    let cases = golden::json(AREA, "merge_errors.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["case"].as_str().unwrap();
        match merge_case(case, name) {
            Ok(cache) => {
                assert!(POSSIBLE.contains(&name), "{name} must fail");
                let folder = TempDir::new().unwrap();
                let path = folder.path().join("merged.bin");
                copy(&cache, &path).unwrap();
                let header = cache.header();
                assert_eq!((header.use_targets, header.embed_targets_dim), (false, 0));
                let size = header.layout().total_size();
                assert_eq!(std::fs::metadata(path).unwrap().len(), size);
            }
            Err(error) => assert!(!POSSIBLE.contains(&name), "{name}: {error}"),
        }
    }
}

fn merge_case(case: &Value, name: &str) -> std::result::Result<Cache, Box<dyn std::error::Error>> {
    let (names, options) = (case["inputs"].as_array().unwrap(), &case["options"]);
    let inputs: Vec<GoldenCache> = names
        .iter()
        .map(|name| GoldenCache::named(name.as_str().unwrap()))
        .collect();
    let use_targets = (name == "drop_targets").then_some(false);
    let mut files = Vec::new();
    for input in &inputs {
        files.push(input.open(use_targets)?);
    }
    let repeats = match options.get("freqs") {
        Some(freqs) => serde_json::from_value(freqs.clone())?,
        None => vec![1; files.len()],
    };
    let multi = options
        .get("multi_mode")
        .map_or(Ok(MultiMode::Max), multi_mode)?;
    let fallback = GoldenCache::all().swap_remove(0);
    let first = inputs.first().unwrap_or(&fallback);
    let options = MergeOptions {
        multi,
        ..MergeOptions::shuffled(1)
    };
    let file = CacheFile::merged(files, &repeats, options, &first.signature())?;
    let config = file
        .nouns()
        .is_some()
        .then(|| first.target_config())
        .flatten();
    Ok(file.enter(config.as_ref(), None)?)
}
