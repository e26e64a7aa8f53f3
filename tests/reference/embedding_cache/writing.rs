//! `caches.json`, `inputs/`: files are written byte for byte as the original
//! writes them, in one go and over many lives.

use std::ops::Range;
use std::path::Path;

use novic::cache::{
    CacheWriter, FileFlags, FilePlan, FloatSlice, FloatVec, NounTable, Result,
    ResumableCacheWriter, RowOrder, SampleRows, TargetPlan, TokenRows,
};
use serde_json::Value;
use tempfile::TempDir;

use super::AREA;
use super::fixtures::{GoldenCache, floats};
use crate::golden;

/// What was handed to the original's writer.
struct Input {
    plan: FilePlan,
    embeds: FloatVec,
    ids: Option<Vec<u32>>,
    weights: Option<FloatVec>,
    dim: usize,
    targets: usize,
    calls: Vec<Range<usize>>,
}

impl Input {
    fn of(cache: &GoldenCache) -> Self {
        let writer = &cache.entry["writer"];
        let flag = |name: &str| writer[name].as_bool().unwrap();
        let count = |name: &str| usize::try_from(writer[name].as_u64().unwrap()).unwrap();
        let inputs = golden::tensors(AREA, &format!("inputs/{}.safetensors", cache.name));
        let to_u32 = |values: Vec<i64>| -> Vec<u32> {
            values
                .into_iter()
                .map(|value| u32::try_from(value).unwrap())
                .collect()
        };
        let order = match inputs.find("perm") {
            Some(perm) => RowOrder::Given(to_u32(perm.integers())),
            None => RowOrder::AsWritten,
        };
        assert_eq!(order != RowOrder::AsWritten, flag("shuffle"));
        let targets = cache.target_config().map(|config| {
            let records = cache.records();
            let tokens = TokenRows {
                columns: config.token_length,
                ids: records.get("target_token_ids").integers(),
                padding: records
                    .get("target_mask")
                    .integers()
                    .into_iter()
                    .map(|masked| masked != 0)
                    .collect(),
            };
            let nouns = cache.entry["target_nouns"].as_array().unwrap();
            let nouns = nouns.iter().map(|noun| noun.as_str().unwrap());
            let nouns = NounTable::new(nouns.skip(NounTable::INVALID)).unwrap();
            let made = config.token_table(&cache.tokenizer(), &nouns).unwrap();
            assert_eq!(made.ids, tokens.ids, "{}", cache.name);
            TargetPlan::with_tokens(&config, nouns, tokens, count("num_embed_targets"))
        });
        let plan = FilePlan::new(
            count("num_embed") as u64,
            &cache.signature(),
            targets.as_ref(),
            FileFlags {
                full_targets: flag("full_targets"),
                default_weights: flag("default_weights"),
                unit_weights: flag("unit_weights"),
                embedder_strict: flag("embedder_strict"),
            },
            order,
        )
        .unwrap();
        let mut end = 0;
        let calls = writer["write_batches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|len| {
                let start = end;
                end += usize::try_from(len.as_u64().unwrap()).unwrap();
                start..end
            })
            .collect();
        Self {
            plan,
            embeds: floats(inputs.get("embeds")),
            ids: inputs
                .find("embed_targets")
                .map(|ids| to_u32(ids.integers())),
            weights: inputs.find("embed_target_weights").map(floats),
            dim: inputs.get("embeds").shape[1],
            targets: count("num_embed_targets"),
            calls,
        }
    }

    fn rows(&self, rows: Range<usize>) -> SampleRows<'_> {
        let targets = rows.start * self.targets..rows.end * self.targets;
        SampleRows {
            embeds: part(&self.embeds, rows.start * self.dim..rows.end * self.dim),
            target_ids: self.ids.as_ref().map(|ids| &ids[targets.clone()]),
            weights: self.weights.as_ref().map(|weights| part(weights, targets)),
        }
    }
}

#[test]
fn files_are_byte_identical() {
    let folder = TempDir::new().unwrap();
    for cache in GoldenCache::all() {
        let input = Input::of(&cache);
        let path = folder.path().join(&cache.name);
        let mut writer = CacheWriter::create(&path, &input.plan).unwrap();
        for rows in input.calls.clone() {
            writer.write(&input.rows(rows)).unwrap();
        }
        writer.finish().unwrap();
        assert_same(&cache, &path);
        assert_eq!(names(folder.path()), [&*cache.name]);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn files_written_over_many_lives_are_byte_identical() {
    for cache in GoldenCache::all() {
        let folder = TempDir::new().unwrap();
        let input = Input::of(&cache);
        let path = folder.path().join(&cache.name);
        let last = input.calls.last().unwrap().end;
        let mut lives = 0;
        loop {
            let mut writer = ResumableCacheWriter::open(&path, &input.plan).unwrap();
            let start = usize::try_from(writer.written()).unwrap();
            lives += 1;
            if start == last {
                writer.finish().unwrap();
                break;
            }
            let end = (start + input.calls[0].end).min(last);
            writer.write(&input.rows(start..end)).unwrap();
            writer.checkpoint().unwrap();
            if end < last {
                // What follows the checkpoint is lost with this life.
                writer.write(&input.rows(end..end + 1)).unwrap();
            }
        }
        assert!(lives > 1);
        assert_same(&cache, &path);
        assert_eq!(names(folder.path()), [&*cache.name]);
    }
}

#[test]
fn another_plan_starts_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.bin");
    let resumed = |cache: &GoldenCache| -> Result<u64> {
        let input = Input::of(cache);
        let mut writer = ResumableCacheWriter::open(&path, &input.plan)?;
        let resumed = writer.written();
        if resumed == 0 {
            writer.write(&input.rows(0..2))?;
        }
        writer.checkpoint()?;
        Ok(resumed)
    };
    let caches = GoldenCache::all();
    let (first, rest) = caches.split_first().unwrap();
    assert_eq!(resumed(first).unwrap(), 0);
    assert_eq!(resumed(first).unwrap(), 2);
    for cache in rest {
        assert_eq!(resumed(cache).unwrap(), 0, "{}", cache.name);
    }
}

fn assert_same(cache: &GoldenCache, path: &Path) {
    let written = std::fs::read(path).unwrap();
    let expected = std::fs::read(cache.path()).unwrap();
    let differs = written.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{}: first different byte", cache.name);
    assert_eq!(written.len(), expected.len(), "{}", cache.name);
    assert_eq!(cache.entry["size"], Value::from(written.len()));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Some of the elements.
fn part(values: &FloatVec, range: Range<usize>) -> FloatSlice<'_> {
    match values.as_slice() {
        FloatSlice::F16(values) => FloatSlice::F16(&values[range]),
        FloatSlice::BF16(values) => FloatSlice::BF16(&values[range]),
        FloatSlice::F32(values) => FloatSlice::F32(&values[range]),
        FloatSlice::F64(values) => FloatSlice::F64(&values[range]),
    }
}
