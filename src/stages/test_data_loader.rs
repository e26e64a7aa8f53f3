//! `test_data_loader`: one epoch over a cache as training would read it, with
//! checks of everything that is delivered and a measurement of its speed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::keys::{EMBEDDER, NOUNS, PROMPTS, READ_CACHE, keys};
use super::loaded_cache::LoadedCache;
use super::{inputs, noun_texts};
use crate::cache::batch::{Batch, TargetLayout};
use crate::cache::{Accumulation, Loader, LoaderInfo, LoaderMode};
use crate::decoder::noise::EmbeddingNoise;
use crate::embedders::Embedder;
use crate::evaluate::{NoiseAngles, noise_angles_file};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct TestDataLoader;

impl StageKind for TestDataLoader {
    fn name(&self) -> &'static str {
        "test_data_loader"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            NOUNS,
            PROMPTS,
            READ_CACHE,
            &[
                "data.batch_size",
                "data.dataset",
                "data.order",
                "data.workers",
                "noise",
                "nouns.cache",
                "target",
                "test.angles",
                "test.consistent",
                "test.print",
                "test.training",
                "train.accum_factor",
            ]
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        let dataset = &query.config.data.dataset;
        if query.inputs.is_empty() && noun_texts::is_named(dataset) {
            resources.extend(noun_texts::resources(query)?);
        } else if query.inputs.is_empty() {
            let path = inputs::cache_path(query.project, query.config, dataset);
            resources.push(inputs::file(query, "cache", &path.display().to_string())?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let mut angles = MeasuredNoise::of(context)?;
        let embedder = inputs::open_embedder(context)?;
        if noun_texts::are_wanted(context) {
            noun_texts::check(context, &embedder)?;
        }
        let data = LoadedCache::open(context, &embedder)?;
        let mode = match config.test.training {
            true => LoaderMode::Training,
            false => LoaderMode::Evaluation,
        };
        let batch_size = config.data.batch_size;
        let info = LoaderInfo::new(data.cache.len(), batch_size, mode, config.data.workers)?
            .ordered(data.order);
        let accumulation = match mode {
            LoaderMode::Training => Accumulation::for_training(&info, config.train.accum_factor)?,
            LoaderMode::Evaluation => Accumulation::new(&info, config.train.accum_factor, false)?,
        };
        context.note(&format!("{info:?}"));
        context.note(&format!("{accumulation:?}"));
        let row_bytes = {
            let layout = data.cache.header().layout();
            layout.embeds.stride + layout.target_ids.stride + layout.weights.stride
        };
        let loader = Loader::new(Arc::new(data.cache), data.data_config, info, context.seed());
        let speed = epoch(context, &loader, &accumulation, angles.as_mut())?;
        let seconds = speed.total.as_secs_f64();
        let per_second = speed.samples as f64 / seconds;
        let gigabytes = per_second * row_bytes as f64 / 1e9;
        let waited = speed.waited.as_secs_f64() / seconds;
        let slowest = speed.slowest.as_secs_f64() * 1e3;
        context.note(&format!(
            "{} samples in {seconds:.3} s: {per_second:.0} samples/s, {gigabytes:.2} GB/s; {:.0} % \
             of it waiting for data, {slowest:.1} ms for the slowest batch",
            speed.samples,
            waited * 100.0
        ));
        let mut results = json!({
            "summary": format!("{} samples, {per_second:.0} samples/s", speed.samples),
            "samples": speed.samples,
            "samples_per_second": per_second,
            "gigabytes_per_second": gigabytes,
            "waiting": waited,
            "slowest_batch_ms": slowest,
        });
        if let Some(angles) = angles {
            angles.write(context, &embedder)?;
            results["noise_angle_mean"] = angles.found.angles().mean().into();
            results["noise_angle_std"] = angles.found.angles().deviation().into();
        }
        Ok(StageOutput::of(results))
    }
}

/// The noise of training, and how far it moves embeddings.
struct MeasuredNoise {
    noise: EmbeddingNoise,
    seed: u64,
    found: NoiseAngles,
}

impl MeasuredNoise {
    /// Nothing unless it is asked for.
    fn of(context: &StageContext<'_>) -> Result<Option<Self>, StageError> {
        let config = context.config();
        if !config.test.angles {
            return Ok(None);
        }
        let Some(noise) = EmbeddingNoise::new(&config.noise)? else {
            return Err(StageError::failed(
                "test.angles measures the noise of training, and there is none: set noise.scheme",
            ));
        };
        Ok(Some(Self {
            noise,
            seed: context.seed(),
            found: NoiseAngles::default(),
        }))
    }

    /// Adds the noise that a training with this seed adds to the batch.
    fn add(&mut self, batch: &Batch, index: u64) {
        let mut noised = batch.embeds.clone();
        self.noise
            .apply(&mut noised, batch.dim, self.seed, 0, index);
        self.found.add(&batch.embeds, &noised, batch.dim);
    }

    fn write(&self, context: &StageContext<'_>, embedder: &Embedder) -> Result<(), StageError> {
        let config = context.config();
        let settings = |value: Value| value.as_object().cloned().unwrap_or_default();
        let noise = &config.noise;
        let text = self.found.file(
            settings(json!({ "embedder_spec": config.embedder.spec })),
            settings(json!({
                "noise_scheme": noise.scheme.as_str(),
                "noise_vec_norm": noise.vec_norm,
                "noise_angle_min": noise.angle_min,
                "noise_angle_max": noise.angle_max,
                "noise_angle_std": noise.angle_std,
                "noise_mix_ratio": noise.mix_ratio,
            })),
        );
        let file = noise_angles_file(&embedder.spec().path_safe());
        std::fs::write(context.out().join(file), text)?;
        let angles = self.found.angles();
        context.note(&format!(
            "the noise moves embeddings by {:.2} ± {:.2}°",
            angles.mean(),
            angles.deviation()
        ));
        Ok(())
    }
}

/// What an epoch took.
struct Speed {
    samples: u64,
    total: Duration,
    waited: Duration,
    slowest: Duration,
}

/// Reads one epoch and checks every batch; the time of measuring angles does not
/// count.
fn epoch(
    context: &StageContext<'_>,
    loader: &Loader,
    accumulation: &Accumulation,
    mut angles: Option<&mut MeasuredNoise>,
) -> Result<Speed, StageError> {
    let info = *loader.info();
    context.begin("samples", 0, Some(accumulation.loader_samples));
    let start = Instant::now();
    let mut speed = Speed {
        samples: 0,
        total: Duration::ZERO,
        waited: Duration::ZERO,
        slowest: Duration::ZERO,
    };
    let (mut shapes, mut scale, mut steps) = (BTreeSet::new(), 0.0, 0);
    let mut measuring = Duration::ZERO;
    let mut batches = loader.epoch(0, 0, accumulation.loader_batches);
    for index in 0..accumulation.loader_batches {
        let asked = Instant::now();
        let batch = batches
            .next()
            .ok_or_else(|| broken("the epoch ends early", index))??;
        let waited = asked.elapsed();
        speed.waited += waited;
        speed.slowest = speed.slowest.max(waited);

        let step = accumulation
            .step(index)
            .ok_or_else(|| broken("there is no step", index))?;
        check(&batch, loader, step.samples, index)?;
        let shape = shape(&batch);
        if shapes.insert(shape.clone()) {
            context.note(&format!("batch {} = {shape}", index + 1));
        }
        scale += step.loss_scale;
        if step.optimizer_step {
            if (scale - 1.0_f64).abs() > 1e-9 {
                return Err(broken(
                    &format!("the loss scales of a step sum to {scale}"),
                    index,
                ));
            }
            scale = 0.0;
            steps += 1;
        }
        if let Some(angles) = &mut angles {
            let begun = Instant::now();
            angles.add(&batch, index);
            measuring += begun.elapsed();
        }
        speed.samples += batch.samples as u64;
        context.reach(speed.samples);
        context.check_interrupt()?;
    }
    speed.total = start.elapsed().saturating_sub(measuring);
    let accumulates = accumulation.loader_batches < info.epoch_batches;
    if !accumulates && batches.next().is_some() {
        return Err(broken(
            "the epoch does not end",
            accumulation.loader_batches,
        ));
    }
    if (speed.samples, steps) != (accumulation.loader_samples, accumulation.loader_steps) {
        return Err(StageError::failed(format!(
            "{} samples in {steps} steps were delivered, {} in {} announced",
            speed.samples, accumulation.loader_samples, accumulation.loader_steps
        )));
    }
    Ok(speed)
}

fn broken(what: &str, index: u64) -> StageError {
    StageError::failed(format!("batch {}: {what}", index + 1))
}

/// Whether a batch is what the configurations say.
fn check(batch: &Batch, loader: &Loader, samples: usize, index: u64) -> Result<(), StageError> {
    let (cache, data) = (loader.cache(), loader.data());
    let fail = |what: &str| Err(broken(what, index));
    if batch.samples != samples || batch.embeds.len() != samples * batch.dim {
        return fail("another number of samples than announced");
    }
    if batch.dim != usize::from(cache.header().embed_dim) {
        return fail("another dimension than the cache's");
    }
    let unit = |embed: &[f32]| {
        let squares: f64 = embed.iter().map(|&x| f64::from(x).powi(2)).sum();
        (squares.sqrt() - 1.0).abs() < 1e-4
    };
    if !batch.embeds.chunks_exact(batch.dim).all(unit) {
        return fail("an embedding is not a unit vector");
    }
    let Some(targets) = &batch.targets else {
        return if cache.nouns().is_some() {
            fail("the targets are missing")
        } else {
            Ok(())
        };
    };
    let per_sample = match targets.layout {
        TargetLayout::Single => 1,
        TargetLayout::Multi { targets } | TargetLayout::MultiFirst { targets } => targets,
    };
    let rows = samples * per_sample;
    if per_sample > data.multi_length
        || matches!(targets.layout, TargetLayout::Single) == data.multi_target
    {
        return fail("another number of targets than configured");
    }
    if targets.ids.len() != rows * targets.columns {
        return fail("token ids of another shape");
    }
    if targets
        .padding
        .as_ref()
        .is_some_and(|padding| padding.len() != targets.ids.len())
    {
        return fail("masks of another shape");
    }
    match (&targets.weights, data.use_weights) {
        (None, false) => Ok(()),
        (Some(weights), true) if weights.len() == rows => Ok(()),
        _ => fail("weights missing, unwanted, or of another shape"),
    }
}

/// Shapes of a batch as text.
fn shape(batch: &Batch) -> String {
    let embeds = format!("{}×{}", batch.samples, batch.dim);
    let Some(targets) = &batch.targets else {
        return format!("({embeds}, None, None, None)");
    };
    let rows = match targets.layout {
        TargetLayout::Single => format!("{}", batch.samples),
        TargetLayout::Multi { targets } => format!("{}×{targets}", batch.samples),
        TargetLayout::MultiFirst { targets } => format!("{targets}×{}", batch.samples),
    };
    let ids = format!("{rows}×{}", targets.columns);
    let mask = if targets.padding.is_some() {
        ids.clone()
    } else {
        "None".to_owned()
    };
    let weights = if targets.weights.is_some() {
        rows
    } else {
        "None".to_owned()
    };
    format!("({embeds}, {ids}, {mask}, {weights})")
}
