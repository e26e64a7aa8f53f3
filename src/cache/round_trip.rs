//! Property: what is written is what is read, whatever the order of rows, the
//! size of the calls and the interruptions.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::{
    CacheFile, CacheWriter, DataConfig, DataRequest, EmbedderSignature, FileFlags, FilePlan,
    FloatDtype, FloatVec, Loader, LoaderInfo, LoaderMode, NounTable, OpenOptions,
    ResumableCacheWriter, RowOrder, SampleRows, TargetConfig, TargetOptions, TargetPlan,
};
use crate::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};

/// One token per letter.
struct Letters(TokenizerConstants);

impl Letters {
    fn new() -> Self {
        Self(TokenizerConstants {
            context_length: 16,
            vocab_size: 256,
            start_id: Some(1),
            end_id: 2,
            pad_id: 0,
            dtype: TokenDtype::I64,
        })
    }
}

impl TextTokenizer for Letters {
    fn constants(&self) -> &TokenizerConstants {
        &self.0
    }

    fn encode(
        &self,
        texts: &[&str],
        _max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let sequence = |text: &&str| {
            let letters = text.bytes().map(i64::from);
            [1].into_iter().chain(letters).chain([2]).collect()
        };
        Ok(texts.iter().map(sequence).collect())
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let letter = |&id: &i64| char::from(u8::try_from(id).unwrap_or(b'?'));
        Ok(ids.iter().map(letter).collect())
    }
}

#[derive(Clone, Debug)]
struct Contents {
    dim: usize,
    targets: usize,
    embeds: Vec<f32>,
    ids: Vec<u32>,
    weights: Option<Vec<f32>>,
    nouns: Vec<String>,
}

fn contents() -> impl Strategy<Value = Contents> {
    (
        1..60_usize,
        1..20_usize,
        1..4_usize,
        1..6_usize,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(samples, dim, targets, nouns, weighted, seed)| {
            let mut draws = crate::random::Draws::new(crate::random::Purpose::FileRows, seed, 0);
            let mut embeds = Vec::new();
            let mut ids = Vec::new();
            let mut weights = Vec::new();
            for _ in 0..samples {
                let row: Vec<f64> = (0..dim).map(|_| draws.below(1000) as f64 - 499.5).collect();
                let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
                embeds.extend(row.iter().map(|value| (value / norm) as f32));
                let present = 1 + draws.below(targets as u64) as usize;
                for at in 0..targets {
                    let is_present = at < present;
                    let id = 1 + draws.below(nouns as u64) as u32;
                    ids.push(if is_present { id } else { 0 });
                    weights.push(if is_present {
                        1.0 / (at + 1) as f32
                    } else {
                        0.0
                    });
                }
            }
            Contents {
                dim,
                targets,
                embeds,
                ids,
                weights: weighted.then_some(weights),
                nouns: (0..nouns).map(|noun| format!("noun {noun}")).collect(),
            }
        })
}

impl Contents {
    fn samples(&self) -> usize {
        self.embeds.len() / self.dim
    }

    fn rows(&self, start: usize, end: usize) -> SampleRows<'_> {
        let targets = start * self.targets..end * self.targets;
        SampleRows {
            embeds: self.embeds[start * self.dim..end * self.dim].into(),
            target_ids: Some(&self.ids[targets.clone()]),
            weights: self.weights.as_ref().map(|weights| weights[targets].into()),
        }
    }

    /// Each sample's bits, as many times as it occurs.
    fn counted(embeds: &[f32], ids: &[u32], dim: usize) -> HashMap<(Vec<u32>, Vec<u32>), usize> {
        let mut counts = HashMap::new();
        let targets = ids.len() * dim / embeds.len();
        for (embed, ids) in embeds.chunks(dim).zip(ids.chunks(targets)) {
            let bits = embed.iter().map(|value| value.to_bits()).collect();
            *counts.entry((bits, ids.to_vec())).or_insert(0) += 1;
        }
        counts
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        contents in contents(),
        seed in any::<u64>(),
        call in 1..20_usize,
        batch_size in 1..20_usize,
        workers in 0..3_usize,
    ) {
        let folder = tempfile::TempDir::new().unwrap();
        let tokenizer = Letters::new();
        let embedder = EmbedderSignature::new(
            contents.dim,
            FloatDtype::F32,
            TokenDtype::I64,
            &json!({"class": "Test"}),
        );
        let nouns = NounTable::new(contents.nouns.clone()).unwrap();
        let config =
            TargetConfig::build(&tokenizer, nouns.valid(), &TargetOptions::default()).unwrap();
        let targets = TargetPlan::new(&config, &tokenizer, nouns, contents.targets).unwrap();
        let flags = FileFlags {
            full_targets: false,
            default_weights: contents.weights.is_none(),
            unit_weights: false,
            embedder_strict: true,
        };
        let samples = contents.samples();
        let plan = FilePlan::new(
            samples as u64,
            &embedder,
            Some(&targets),
            flags,
            RowOrder::Shuffled { seed },
        ).unwrap();

        let path = folder.path().join("whole.bin");
        let mut writer = CacheWriter::create(&path, &plan).unwrap();
        for start in (0..samples).step_by(call) {
            writer.write(&contents.rows(start, (start + call).min(samples))).unwrap();
        }
        writer.finish().unwrap();

        let resumed = folder.path().join("resumed.bin");
        loop {
            let mut writer = ResumableCacheWriter::open(&resumed, &plan).unwrap();
            let start = writer.written() as usize;
            if start == samples {
                writer.finish().unwrap();
                break;
            }
            writer.write(&contents.rows(start, (start + call).min(samples))).unwrap();
            writer.checkpoint().unwrap();
        }
        prop_assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&resumed).unwrap());

        let file = CacheFile::open(&path, &embedder, OpenOptions::default()).unwrap();
        let (nominal, strict) = file.nominal();
        let data =
            DataConfig::resolve(&nominal, &strict, &DataRequest::default(), true).unwrap();
        let cache = std::sync::Arc::new(file.enter(Some(&config), None).unwrap());
        let all = cache.samples(0, u64::MAX).unwrap();
        let FloatVec::F32(embeds) = all.embeds else { unreachable!() };
        let ids = all.target_ids.unwrap();
        prop_assert_eq!(
            Contents::counted(&embeds, &ids, contents.dim),
            Contents::counted(&contents.embeds, &contents.ids, contents.dim)
        );

        // The loader delivers the same whatever the number of threads, and
        // goes on in mid-epoch where it would have been.
        let batch_size = batch_size.min(samples);
        let loader = |workers| {
            let info =
                LoaderInfo::new(samples as u64, batch_size, LoaderMode::Training, workers).unwrap();
            Loader::new(cache.clone(), data, info, seed)
        };
        let whole: Vec<_> =
            loader(0).epoch(3, 0, u64::MAX).map(Result::unwrap).collect();
        let middle = whole.len() / 2;
        let rest: Vec<_> =
            loader(workers).epoch(3, middle as u64, u64::MAX).map(Result::unwrap).collect();
        prop_assert_eq!(&whole[middle..], &rest[..]);
    }
}
