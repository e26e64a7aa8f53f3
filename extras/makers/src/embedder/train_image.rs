//! Training of the image tower against fixed text embeddings.

use super::augment;
use super::failure::{Failure, Outcome};
use super::image_tower::{EMBED_DIM, IMAGE_SIZE, ImageTower};
use super::layers::{dot, softmax, unit_rows};
use super::matrix::{Into, plain, product, turned};
use super::names;
use super::optimiser::{Optimiser, Rates};
use super::params::{Params, Slot};
use super::pictures::Collection;
use super::raster;
use super::tape::Tape;
use super::targets::{COMMON_WEIGHT, Targets};
use super::threads;
use crate::dictionary;
use rand::distr::weighted::WeightedIndex;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// Pictures per step.
const BATCH: usize = 256;
/// Pictures per unit of work: the batch norms' batch.
const CHUNK: usize = 64;
/// Weight of one step in the running averages of parameters.
const AVERAGING: f32 = 0.004;
/// Style watched while training.
pub const VALIDATION: &str = "fxemoji";
/// Classes whose texts are nearer than this do not push each other away if
/// one of them is known from clip art only.
const TOO_NEAR: f32 = 0.6;
/// The same for nouns that no picture is named after.
const DISTRACTOR_TOO_NEAR: f32 = 0.8;
/// Nouns of a dictionary above this frequency are those that decoders know.
const DISTRACTOR_FREQUENCY: u64 = 2;

/// What to train and how long.
pub struct Plan {
    /// Samples in all.
    pub samples: usize,
    /// Samples after which to stop early.
    pub until: usize,
    /// State whose parameters to begin with, with an optimiser at rest.
    pub from: Option<String>,
    /// Share of samples at the end with falling learning rate.
    pub decay: f32,
    /// Peak turn of filters per step.
    pub filter: f32,
    /// Peak learning rate of the rest.
    pub adam: f32,
    /// How far views may depart from the picture, 1 = much.
    pub strength: f32,
    /// Weight of the angle between a picture and its name in the loss, beside
    /// the softmax over all names, which alone leaves them far apart.
    pub pull: f32,
    /// Nouns per step that no picture is named after, from which pictures must
    /// be told apart too.
    pub distractors: usize,
    /// Dictionary whose frequent nouns they come from, instead of WordNet's
    /// common nouns.
    pub dictionary: Option<PathBuf>,
    /// Train on the validation style too.
    pub everything: bool,
    /// Name of the state files in the work folder.
    pub name: String,
    /// Text embeddings to train against, a file of the work folder.
    pub targets: String,
}

/// The classes of a collection.
struct Classes {
    /// Places of the names in the targets, the class name first.
    names: Vec<Vec<usize>>,
    keys: Vec<String>,
    /// Class of every picture.
    of: Vec<usize>,
}

impl Classes {
    fn new(collection: &Collection, targets: &Targets) -> Outcome<Self> {
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        let mut classes = Self {
            names: Vec::new(),
            keys: Vec::new(),
            of: Vec::new(),
        };
        for picture in &collection.pictures {
            let next = index.len();
            let class = *index.entry(&picture.key).or_insert(next);
            if class == classes.keys.len() {
                let names: Option<Vec<usize>> =
                    picture.names.iter().map(|n| targets.find(n)).collect();
                let lacking = || {
                    Failure::Usage(format!(
                        "no target for {:?}: compute the targets again",
                        picture.names
                    ))
                };
                classes.names.push(names.ok_or_else(lacking)?);
                classes.keys.push(picture.key.clone());
            }
            classes.of.push(class);
        }
        Ok(classes)
    }

    fn is_emoji(&self, class: usize) -> bool {
        !self.keys[class].starts_with("name:")
    }

    /// Text embeddings with one name per class; the class name half the time.
    fn draw(&self, targets: &Targets, rng: &mut impl Rng) -> Vec<f32> {
        let rows = self.names.iter().flat_map(|names| {
            let pick = if rng.random_bool(0.6) {
                0
            } else {
                rng.random_range(0..names.len())
            };
            targets.of(names[pick]).iter().copied()
        });
        rows.collect()
    }

    fn main_names(&self, targets: &Targets) -> Vec<f32> {
        self.names
            .iter()
            .flat_map(|names| targets.of(names[0]).iter().copied())
            .collect()
    }
}

/// How often a picture is shown.
fn share(collection: &Collection, classes: &Classes, plan: &Plan) -> Vec<f32> {
    let mut per_class = vec![0usize; classes.keys.len()];
    for &class in &classes.of {
        per_class[class] += 1;
    }
    let weights = collection
        .pictures
        .iter()
        .zip(&classes.of)
        .map(|(picture, &class)| {
            if picture.style == VALIDATION && !plan.everything {
                return 0.0;
            }
            let style = match picture.style.as_str() {
                "emojione-monotone" => 0.35,
                "emojione-v1" => 0.7,
                "openclipart" => 0.8,
                _ => 1.0,
            };
            let kind = if classes.is_emoji(class) { 1.0 } else { 0.5 };
            let form = if picture.gendered { 0.35 } else { 1.0 };
            style * kind * form / (per_class[class] as f32).powf(0.5)
        });
    weights.collect()
}

/// Subjects that are not themselves in a mirror.
fn mirrors(names: &[String]) -> bool {
    const SIDED: [&str; 12] = [
        "left",
        "right",
        "arrow",
        "button",
        "letter",
        "numeral",
        "clockwise",
        "sign",
        "symbol",
        "bracket",
        "abc",
        "speaker",
    ];
    !SIDED.iter().any(|word| names[0].contains(word))
}

/// Trains or continues to train the tower.
pub fn train(work: &Path, plan: &Plan) -> Outcome<()> {
    let collection = Collection::read(work)?;
    let mut targets = Targets::read(work)?;
    if plan.targets != "targets.bin" {
        targets.values = Params::load(&work.join(&plan.targets), targets.values.len())?;
    }
    let classes = Classes::new(&collection, &targets)?;
    let mut params = Params::default();
    let tower = ImageTower::new(&mut params);
    let scale = params.constant("logit_scale", 1, (20f32).ln());
    println!("{} parameters", params.values.len());
    let mut optimiser = Optimiser::new(&params);
    let mut average = params.values.clone();
    let state = |part: &str| work.join(format!("{}-{part}.bin", plan.name));
    let steps = plan.samples / BATCH;
    let len = params.values.len();
    if state("values").exists() {
        params.values = Params::load(&state("values"), len)?;
        average = Params::load(&state("average"), len)?;
        optimiser.first = Params::load(&state("first"), len)?;
        optimiser.second = Params::load(&state("second"), len)?;
        optimiser.steps = Params::load(&state("step"), 1)?[0] as i32;
    }
    if !state("values").exists()
        && let Some(from) = &plan.from
    {
        params.values = Params::load(&work.join(format!("{from}-average.bin")), len)?;
        average.copy_from_slice(&params.values);
    }
    let sampler = WeightedIndex::new(share(&collection, &classes, plan))
        .map_err(|e| Failure::Usage(format!("no pictures to train on: {e}")))?;
    let mirror: Vec<bool> = collection
        .pictures
        .iter()
        .map(|p| mirrors(&p.names))
        .collect();
    let main = classes.main_names(&targets);
    let count = classes.keys.len();
    let pool = distractor_pool(&targets, &classes, plan.dictionary.as_deref())?;
    let nearness = similarities(&main, &main);
    let tapes: Vec<Mutex<(Tape, Vec<f32>)>> = (0..BATCH / CHUNK)
        .map(|_| Mutex::new((Tape::default(), vec![0.0; len])))
        .collect();
    let started = Instant::now();
    let first_step = optimiser.steps as usize;
    let (mut loss, mut right, mut seen) = (0.0, 0usize, 0usize);
    let end = steps.min(plan.until / BATCH);
    for step in first_step..end {
        let mut rng = ChaCha8Rng::seed_from_u64(step as u64);
        let mut texts = classes.draw(&targets, &mut rng);
        let others = distractors(&targets, &pool, plan.distractors, &mut rng);
        let near = similarities(&main, &others);
        texts.extend(others);
        let results = threads::map(BATCH / CHUNK, |chunk| {
            let Ok(mut guard) = tapes[chunk].lock() else {
                return (0.0, 0);
            };
            let (tape, grads) = &mut *guard;
            grads.fill(0.0);
            tape.clear();
            let mut rng = ChaCha8Rng::seed_from_u64(step as u64);
            rng.set_stream(chunk as u64 + 1);
            const SIZE: usize = IMAGE_SIZE * IMAGE_SIZE * 3;
            let mut pixels = vec![0.0; CHUNK * SIZE];
            let picked: Vec<usize> = (0..CHUNK).map(|_| sampler.sample(&mut rng)).collect();
            for (out, &i) in pixels.chunks_exact_mut(SIZE).zip(&picked) {
                augment::view(
                    collection.square(i),
                    mirror[i],
                    plan.strength,
                    &mut rng,
                    out,
                );
            }
            let labels: Vec<usize> = picked.iter().map(|&i| classes.of[i]).collect();
            let out = tower.forward(tape, &params.values, &pixels, None);
            let allowed = |class: usize, other: usize| {
                if other >= count {
                    return near[class * plan.distractors + other - count] < DISTRACTOR_TOO_NEAR;
                }
                class == other
                    || (classes.is_emoji(class) && classes.is_emoji(other))
                    || nearness[class * count + other] < TOO_NEAR
            };
            let result = contrast(
                tape.data(out),
                &texts,
                &labels,
                Sharpness {
                    values: &params.values,
                    scale,
                    pull: plan.pull,
                },
                grads,
                allowed,
            );
            tape.backward(&params.values, out, &result.gradient, grads);
            (result.loss, result.right)
        });
        let mut total = vec![0.0; len];
        for (tape, (part_loss, part_right)) in tapes.iter().zip(results) {
            if let Ok(guard) = tape.lock() {
                total
                    .iter_mut()
                    .zip(&guard.1)
                    .for_each(|(t, g)| *t += g / BATCH as f32);
            }
            loss += part_loss;
            right += part_right;
            seen += CHUNK;
        }
        let rate = rate(step, steps, plan.decay);
        let rates = Rates {
            filter: plan.filter * rate,
            adam: plan.adam * rate,
            decay: 0.05,
        };
        optimiser.step(&mut params.values, &total, rates);
        let scale_value = &mut scale.of_mut(&mut params.values)[0];
        *scale_value = scale_value.clamp(0.0, (60f32).ln());
        let share = AVERAGING.max(1.0 / (step as f32 + 1.0));
        average
            .iter_mut()
            .zip(&params.values)
            .for_each(|(a, v)| *a += share * (v - *a));
        if (step + 1) % 50 == 0 || step + 1 == end {
            let speed = ((step + 1 - first_step) * BATCH) as f64 / started.elapsed().as_secs_f64();
            println!(
                "step {} of {steps}: loss {:.3}, right {:.1} %, scale {:.1}, {speed:.0} samples/s",
                step + 1,
                loss / seen as f32,
                100.0 * right as f32 / seen as f32,
                scale.of(&params.values)[0].exp(),
            );
            (loss, right, seen) = (0.0, 0, 0);
        }
        if (step + 1) % 250 == 0 || step + 1 == end {
            Params::save(&params.values, &state("values"))?;
            Params::save(&average, &state("average"))?;
            Params::save(&optimiser.first, &state("first"))?;
            Params::save(&optimiser.second, &state("second"))?;
            Params::save(&[optimiser.steps as f32], &state("step"))?;
            let moments = moments(
                &tower,
                &average,
                &collection,
                &sampler,
                &mirror,
                plan.strength,
            );
            Params::save(&moments, &state("moments"))?;
            let (top1, top5) = validate(&tower, &average, &moments, &collection, &classes, &main);
            println!(
                "step {}: {VALIDATION} top-1 {top1:.2} %, top-5 {top5:.2} %",
                step + 1
            );
        }
    }
    Ok(())
}

/// Cosines of the rows of `a` `[N, F]` and `b` `[M, F]`: `[N, M]`.
fn similarities(a: &[f32], b: &[f32]) -> Vec<f32> {
    let (rows, columns) = (a.len() / EMBED_DIM, b.len() / EMBED_DIM);
    let mut cosines = vec![0.0; rows * columns];
    product(
        rows,
        EMBED_DIM,
        columns,
        plain(a, EMBED_DIM),
        turned(b, EMBED_DIM),
        &mut cosines,
        Into::Replace,
    );
    cosines
}

/// Places of the nouns that are no names of pictures: WordNet's common ones, or
/// those of a dictionary.
fn distractor_pool(
    targets: &Targets,
    classes: &Classes,
    dictionary: Option<&Path>,
) -> Outcome<Vec<usize>> {
    let named: BTreeSet<usize> = classes.names.iter().flatten().copied().collect();
    let mut pool: Vec<usize> = match dictionary {
        Some(path) => dictionary::read(path)?
            .iter()
            .filter(|noun| noun.frequency > DISTRACTOR_FREQUENCY)
            .filter_map(|noun| targets.find(&names::clean(&noun.text)))
            .collect(),
        None => (0..targets.texts.len())
            .filter(|&i| targets.texts[i].weight >= COMMON_WEIGHT)
            .collect(),
    };
    pool.retain(|place| !named.contains(place));
    println!("{} nouns that no picture is named after", pool.len());
    Ok(pool)
}

/// Embeddings of `number` nouns of the pool.
fn distractors(targets: &Targets, pool: &[usize], number: usize, rng: &mut impl Rng) -> Vec<f32> {
    let picked = (0..number).map(|_| pool[rng.random_range(0..pool.len())]);
    picked
        .flat_map(|place| targets.of(place).iter().copied())
        .collect()
}

/// Warm-up, plateau, linear fall.
fn rate(step: usize, steps: usize, decay: f32) -> f32 {
    let warm = (step as f32 + 1.0) / 100.0;
    let left = (steps - step) as f32 / (steps as f32 * decay);
    warm.min(left).min(1.0)
}

struct Contrast {
    loss: f32,
    right: usize,
    gradient: Vec<f32>,
}

/// How strongly the loss asks for the right name and for nearness to it.
struct Sharpness<'a> {
    values: &'a [f32],
    scale: Slot,
    pull: f32,
}

/// Softmax over all classes' texts and the angle to the right one; adds the
/// gradient of the scale.
fn contrast(
    features: &[f32],
    texts: &[f32],
    labels: &[usize],
    sharpness: Sharpness<'_>,
    grads: &mut [f32],
    allowed: impl Fn(usize, usize) -> bool,
) -> Contrast {
    let count = texts.len() / EMBED_DIM;
    let scale = sharpness.scale;
    let factor = scale.of(sharpness.values)[0].exp();
    let mut units = features.to_vec();
    let lengths = unit_rows(&mut units, EMBED_DIM);
    let cosines = similarities(&units, texts);
    let mut out = Contrast {
        loss: 0.0,
        right: 0,
        gradient: vec![0.0; features.len()],
    };
    let mut d_scale = 0.0;
    let mut d_cosines = vec![0.0; cosines.len()];
    for ((row, d), &label) in cosines
        .chunks_exact(count)
        .zip(d_cosines.chunks_exact_mut(count))
        .zip(labels)
    {
        for (other, (d, cosine)) in d.iter_mut().zip(row).enumerate() {
            *d = if allowed(label, other) {
                factor * cosine
            } else {
                -1e4
            };
        }
        let best = d
            .iter()
            .enumerate()
            .fold(0, |best, (i, x)| if *x > d[best] { i } else { best });
        out.right += usize::from(best == label);
        softmax(d);
        out.loss -= d[label].max(1e-20).ln();
        d[label] -= 1.0;
        d_scale += dot(d, row) * factor;
        d.iter_mut().for_each(|d| *d *= factor);
        out.loss += sharpness.pull * (1.0 - row[label]);
        d[label] -= sharpness.pull;
    }
    scale.of_mut(grads)[0] += d_scale;
    product(
        labels.len(),
        count,
        EMBED_DIM,
        plain(&d_cosines, count),
        plain(texts, EMBED_DIM),
        &mut out.gradient,
        Into::Replace,
    );
    for ((d, unit), length) in out
        .gradient
        .chunks_exact_mut(EMBED_DIM)
        .zip(units.chunks_exact(EMBED_DIM))
        .zip(lengths)
    {
        let along = dot(d, unit);
        d.iter_mut()
            .zip(unit)
            .for_each(|(d, u)| *d = (*d - along * u) / length);
    }
    out
}

/// Moments of the batch norms under the averaged parameters.
fn moments(
    tower: &ImageTower,
    average: &[f32],
    collection: &Collection,
    sampler: &WeightedIndex<f32>,
    mirror: &[bool],
    strength: f32,
) -> Vec<f32> {
    const CHUNKS: usize = 16;
    let all = threads::map(CHUNKS, |chunk| {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::MAX - chunk as u64);
        let mut pixels = vec![0.0; CHUNK * IMAGE_SIZE * IMAGE_SIZE * 3];
        for out in pixels.chunks_exact_mut(IMAGE_SIZE * IMAGE_SIZE * 3) {
            let i = sampler.sample(&mut rng);
            augment::view(collection.square(i), mirror[i], strength, &mut rng, out);
        }
        let mut tape = Tape::default();
        tower.forward(&mut tape, average, &pixels, None);
        tape.moments
    });
    let mut mean = vec![0.0; all[0].len()];
    for one in &all {
        mean.iter_mut()
            .zip(one)
            .for_each(|(m, x)| *m += x / CHUNKS as f32);
    }
    mean
}

/// Unit embeddings of RGB pictures of the tower's size.
pub fn embed(
    tower: &ImageTower,
    values: &[f32],
    moments: &[f32],
    pictures: &[Vec<u8>],
) -> Vec<f32> {
    let chunks: Vec<&[Vec<u8>]> = pictures.chunks(CHUNK).collect();
    let parts = threads::map(chunks.len(), |i| {
        let scaled = |v: &u8| (f32::from(*v) / 255.0 - augment::PIXEL_MEAN) / augment::PIXEL_MEAN;
        let pixels: Vec<f32> = chunks[i].iter().flatten().map(scaled).collect();
        let mut tape = Tape::default();
        let out = tower.forward(&mut tape, values, &pixels, Some(moments));
        let mut features = tape.data(out).to_vec();
        unit_rows(&mut features, EMBED_DIM);
        features
    });
    parts.concat()
}

/// Shares in percent of the nearest and of the five nearest texts being right.
pub fn accuracy(features: &[f32], labels: &[usize], texts: &[f32]) -> (f32, f32) {
    let (mut top1, mut top5) = (0, 0);
    for (f, &label) in features.chunks_exact(EMBED_DIM).zip(labels) {
        let own = dot(f, &texts[label * EMBED_DIM..(label + 1) * EMBED_DIM]);
        let better = texts
            .chunks_exact(EMBED_DIM)
            .enumerate()
            .filter(|(i, t)| *i != label && dot(f, t) >= own)
            .count();
        top1 += usize::from(better == 0);
        top5 += usize::from(better < 5);
    }
    let percent = |n: usize| 100.0 * n as f32 / labels.len().max(1) as f32;
    (percent(top1), percent(top5))
}

/// Zero-shot accuracy on the validation style over all emoji classes.
fn validate(
    tower: &ImageTower,
    average: &[f32],
    moments: &[f32],
    collection: &Collection,
    classes: &Classes,
    main: &[f32],
) -> (f32, f32) {
    let emoji: Vec<usize> = (0..classes.keys.len())
        .filter(|&c| classes.is_emoji(c))
        .collect();
    let texts: Vec<f32> = emoji
        .iter()
        .flat_map(|&c| main[c * EMBED_DIM..(c + 1) * EMBED_DIM].iter().copied())
        .collect();
    let (mut pictures, mut labels) = (Vec::new(), Vec::new());
    for (i, picture) in collection.pictures.iter().enumerate() {
        if picture.style == VALIDATION
            && let Some(label) = emoji.iter().position(|&c| c == classes.of[i])
        {
            pictures.push(raster::shrink(
                &raster::on_white(collection.pixels(i)),
                super::pictures::SIDE,
                IMAGE_SIZE,
            ));
            labels.push(label);
        }
    }
    let features = embed(tower, average, moments, &pictures);
    accuracy(&features, &labels, &texts)
}
