//! `test_embed_cache`: writes temporary caches with vectors of the embedder
//! and reads them back.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, TOKENS, keys};
use crate::cache::{
    Cache, CacheFile, CacheWriter, DataConfig, DataRequest, EmbedderSignature, FileFlags, FilePlan,
    Loader, LoaderInfo, LoaderMode, NounTable, OpenOptions, RowOrder, SampleRows, TargetConfig,
    TargetPlan,
};
use crate::embedders::Embedder;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Vectors of the first test.
const RANDOM: usize = 65_536;
/// Vectors that are made together.
const CALL: usize = 1024;
/// Nouns of the second test.
const NOUNS: [&str; 10] = [
    "apple", "bear", "car", "dog", "elephant", "flower", "guitar", "house", "island", "jacket",
];
/// Training epochs of the third test.
const EPOCHS: u64 = 26;
/// Samples and targets of the fourth test.
const MULTI: (usize, usize) = (16, 6);

/// The stage kind.
#[derive(Debug)]
pub(super) struct TestEmbedCache;

impl StageKind for TestEmbedCache {
    fn name(&self) -> &'static str {
        "test_embed_cache"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, TOKENS, &["data.batch_size", "data.workers"]]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        Ok(vec![inputs::embedder(query)?])
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let test = Test {
            context,
            signature: inputs::signature(&embedder),
            embedder,
        };
        for name in [
            "random vectors",
            "photo prompts",
            "epochs",
            "several targets",
        ] {
            let outcome = match name {
                "random vectors" => test.random(),
                "photo prompts" => test.photo(),
                "epochs" => test.index(),
                _ => test.multi(),
            };
            outcome.map_err(|error| StageError::failed(format!("{name}: {error}")))?;
            context.note(&format!("{name}: what was written is what is read"));
            context.check_interrupt()?;
        }
        Ok(StageOutput::of(
            json!({"summary": "4 tests passed", "tests": 4}),
        ))
    }
}

struct Test<'a, 'c> {
    context: &'a StageContext<'c>,
    embedder: Embedder,
    signature: EmbedderSignature,
}

fn ensure(holds: bool, what: &str) -> Result<(), StageError> {
    if holds {
        Ok(())
    } else {
        Err(StageError::failed(what))
    }
}

impl Test<'_, '_> {
    fn path(&self) -> PathBuf {
        self.context.work().join("test.bin")
    }

    /// Unit vectors in random directions.
    fn vectors(&self, rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
        let dim = self.embedder.dim();
        let mut vectors = Vec::with_capacity(count * dim);
        for _ in 0..count {
            let row: Vec<f64> = (0..dim).map(|_| StandardNormal.sample(rng)).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            vectors.extend(row.iter().map(|x| (x / norm) as f32));
        }
        vectors
    }

    fn targets(
        &self,
        nouns: &[String],
        per_sample: usize,
    ) -> Result<(TargetConfig, TargetPlan), StageError> {
        let tokenizer = self.embedder.tokenizer();
        let table = NounTable::new(nouns.to_vec())?;
        let options = inputs::target_options(self.context, &self.context.config().target);
        let config = TargetConfig::build(tokenizer.as_ref(), table.valid(), &options)?;
        let plan = TargetPlan::new(&config, tokenizer.as_ref(), table, per_sample)?;
        Ok((config, plan))
    }

    fn enter(&self, config: Option<&TargetConfig>) -> Result<Cache, StageError> {
        let options = OpenOptions::default();
        Ok(CacheFile::open(self.path(), &self.signature, options)?.enter(config, None)?)
    }

    fn random(&self) -> Result<(), StageError> {
        let flags = FileFlags {
            embedder_strict: false,
            ..FileFlags::default()
        };
        let order = RowOrder::AsWritten;
        let plan = FilePlan::new(RANDOM as u64, &self.signature, None, flags, order)?;
        let mut writer = CacheWriter::create(self.path(), &plan)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.context.seed());
        for _ in 0..RANDOM / CALL {
            writer.write(&SampleRows {
                embeds: self.vectors(&mut rng, CALL).as_slice().into(),
                target_ids: None,
                weights: None,
            })?;
        }
        writer.finish()?;
        let cache = self.enter(None)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.context.seed());
        for start in (0..RANDOM as u64).step_by(CALL) {
            let read = cache.samples(start, start + CALL as u64)?.embeds.into_f32();
            ensure(
                read == self.vectors(&mut rng, CALL),
                "other vectors are read than written",
            )?;
        }
        Ok(())
    }

    fn photo(&self) -> Result<(), StageError> {
        let nouns = NOUNS.map(str::to_owned);
        let texts = NOUNS.map(|noun| format!("a photo of a {noun}"));
        let texts = texts.each_ref().map(String::as_str);
        let vectors = self
            .embedder
            .embed_texts(&texts)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let (config, targets) = self.targets(&nouns, 1)?;
        let order = RowOrder::Shuffled {
            seed: self.context.seed(),
        };
        let samples = NOUNS.len() as u64;
        let flags = FileFlags::default();
        let plan = FilePlan::new(samples, &self.signature, Some(&targets), flags, order)?;
        let mut writer = CacheWriter::create(self.path(), &plan)?;
        let ids: Vec<u32> = (1..=NOUNS.len() as u32).collect();
        writer.write(&SampleRows {
            embeds: vectors.as_slice().into(),
            target_ids: Some(&ids),
            weights: None,
        })?;
        writer.finish()?;

        let read = self.enter(Some(&config))?.samples(0, samples)?;
        let (dim, embeds) = (self.embedder.dim(), read.embeds.into_f32());
        let ids = read.target_ids.unwrap_or_default();
        let found: HashSet<u32> = ids.iter().copied().collect();
        ensure(found.len() == NOUNS.len(), "a noun is missing")?;
        for (embed, id) in embeds.chunks_exact(dim).zip(ids) {
            let written = vectors.chunks_exact(dim).nth(id as usize - 1);
            ensure(
                written == Some(embed),
                "a noun has another vector than written",
            )?;
        }
        let weights = read
            .weights
            .map_or(Vec::new(), |weights| weights.into_f32());
        ensure(weights == [1.0; NOUNS.len()], "a weight is not 1")
    }

    fn index(&self) -> Result<(), StageError> {
        let nouns: Vec<String> = ('a'..='z').map(String::from).collect();
        let samples = nouns.len();
        let (config, targets) = self.targets(&nouns, 1)?;
        let (flags, order) = (FileFlags::default(), RowOrder::AsWritten);
        let plan = FilePlan::new(
            samples as u64,
            &self.signature,
            Some(&targets),
            flags,
            order,
        )?;
        let mut writer = CacheWriter::create(self.path(), &plan)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.context.seed());
        let ids: Vec<u32> = (1..=samples as u32).collect();
        let vectors = self.vectors(&mut rng, samples);
        writer.write(&SampleRows {
            embeds: vectors.as_slice().into(),
            target_ids: Some(&ids),
            weights: None,
        })?;
        writer.finish()?;

        let cache = Arc::new(self.enter(Some(&config))?);
        let (nominal, strict) = cache.nominal();
        let data = DataConfig::resolve(&nominal, &strict, &DataRequest::default(), true)?;
        let batch_size = self.context.config().data.batch_size.min(samples / 4);
        let workers = self.context.config().data.workers;
        // The vector tells which sample it is.
        let dim = self.embedder.dim();
        let order_of = |mode: LoaderMode, epoch: u64| -> Result<Vec<usize>, StageError> {
            let info = LoaderInfo::new(samples as u64, batch_size, mode, workers)?;
            let loader = Loader::new(cache.clone(), data, info, self.context.seed());
            let mut seen = Vec::new();
            for batch in loader.epoch(epoch, 0, u64::MAX) {
                let batch = batch?;
                let full = batch.samples == batch_size || mode == LoaderMode::Evaluation;
                ensure(full, "a batch of training is not full")?;
                for embed in batch.embeds.chunks_exact(dim) {
                    let index = vectors.chunks_exact(dim).position(|known| known == embed);
                    seen.push(index.ok_or_else(|| StageError::failed("an unknown vector"))?);
                }
            }
            Ok(seen)
        };
        for epoch in 0..3 {
            let seen = order_of(LoaderMode::Evaluation, epoch)?;
            ensure(
                seen.into_iter().eq(0..samples),
                "evaluation is not in order",
            )?;
        }
        let mut counts = vec![0; samples];
        for epoch in 0..EPOCHS {
            let seen = order_of(LoaderMode::Training, epoch)?;
            let different: HashSet<usize> = seen.iter().copied().collect();
            ensure(different.len() == seen.len(), "an epoch repeats a sample")?;
            seen.into_iter().for_each(|index| counts[index] += 1);
        }
        self.context.note(&format!(
            "samples came so often in {EPOCHS} epochs: {counts:?}"
        ));
        Ok(())
    }

    fn multi(&self) -> Result<(), StageError> {
        let (samples, most) = MULTI;
        let nouns = NOUNS.map(str::to_owned);
        let (config, targets) = self.targets(&nouns, most)?;
        let flags = FileFlags {
            full_targets: false,
            default_weights: false,
            unit_weights: false,
            ..FileFlags::default()
        };
        let order = RowOrder::AsWritten;
        let plan = FilePlan::new(
            samples as u64,
            &self.signature,
            Some(&targets),
            flags,
            order,
        )?;
        let mut writer = CacheWriter::create(self.path(), &plan)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.context.seed());
        let vectors = self.vectors(&mut rng, samples);
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for sample in 0..samples {
            let present = 1 + sample % most;
            for place in 0..most {
                let is_present = place < present;
                ids.push(if is_present {
                    ((sample + place) % nouns.len()) as u32 + 1
                } else {
                    0
                });
                weights.push(if is_present {
                    1.0 / (place + 1) as f32
                } else {
                    0.0
                });
            }
        }
        writer.write(&SampleRows {
            embeds: vectors.as_slice().into(),
            target_ids: Some(&ids),
            weights: Some(weights.as_slice().into()),
        })?;
        writer.finish()?;
        let read = self.enter(Some(&config))?.samples(0, samples as u64)?;
        ensure(
            read.target_ids == Some(ids),
            "other targets are read than written",
        )?;
        let read = read
            .weights
            .map_or(Vec::new(), |weights| weights.into_f32());
        ensure(read == weights, "other weights are read than written")
    }
}
