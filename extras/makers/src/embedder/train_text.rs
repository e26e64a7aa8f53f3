//! Distilling the sentence encoder into the text tower.

use super::bpe;
use super::failure::{Failure, Outcome};
use super::image_tower::EMBED_DIM;
use super::layers::{dot, softmax, unit_rows};
use super::matrix::{Into, plain, product, turned};
use super::optimiser::{Optimiser, Rates};
use super::params::Params;
use super::prompts::Prompts;
use super::tape::Tape;
use super::targets::{NAME_WEIGHT, Targets, Text};
use super::text_tower::TextTower;
use super::threads;
use crate::dictionary;
use rand::distr::weighted::WeightedIndex;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use tokenizers::Tokenizer;

const BATCH: usize = 512;
/// Texts per unit of work, which are also told apart from each other.
const CHUNK: usize = 128;
/// Sharpness of the relations between the texts of a unit.
const SHARPNESS: f32 = 15.0;
/// Share of the relations in the loss, beside the angle to the target.
const RELATIONS: f32 = 0.3;
/// Share of nouns without a sentence.
const BARE: f64 = 0.25;
const AVERAGING: f32 = 0.004;

/// What to train and how long.
pub struct Plan {
    /// Samples in all.
    pub samples: usize,
    /// State whose parameters to begin with, with an optimiser at rest.
    pub from: Option<String>,
    /// Peak learning rate.
    pub adam: f32,
    /// Share of samples at the end with falling learning rate.
    pub decay: f32,
    /// How much more often the names of pictures are shown than `targets` says.
    pub names: f32,
}

/// Nouns above this frequency have words of one token each: the quick start's.
const WHOLE_FREQUENCY: u64 = 6;
/// What makes such a word outweigh what it is made of.
const WHOLE_WEIGHT: u64 = 4000;

/// Trains the tokenizer on all texts and prompts; words of the dictionary's
/// frequent nouns become tokens of their own.
pub fn tokenizer(work: &Path, prompts: &Prompts, dictionary: &Path) -> Outcome<()> {
    let targets = Targets::read(work)?;
    let mut texts: Vec<(String, u64)> = targets
        .texts
        .iter()
        .map(|t| (t.text.clone(), (t.weight * 10.0) as u64))
        .collect();
    texts.extend((0..prompts.len()).map(|i| (prompts.fill(i, ""), 2000)));
    let nouns = dictionary::read(dictionary)?;
    let words: BTreeSet<String> = nouns
        .into_iter()
        .filter(|noun| noun.frequency > WHOLE_FREQUENCY)
        .flat_map(|noun| bpe::words(&noun.text.to_lowercase()))
        .collect();
    texts.extend(words.iter().map(|word| (word.clone(), WHOLE_WEIGHT)));
    bpe::train(&texts, work)?;
    let tokenizer = bpe::read(work)?;
    let mut whole = 0;
    for word in &words {
        whole += usize::from(bpe::encode(&tokenizer, word)?.len() == 3);
    }
    println!("{whole} of {} words of nouns are one token", words.len());
    Ok(())
}

/// Trains or continues to train the tower.
pub fn train(work: &Path, prompts: &Prompts, plan: &Plan) -> Outcome<()> {
    let targets = Targets::read(work)?;
    let tokenizer = bpe::read(work)?;
    let mut params = Params::default();
    let tower = TextTower::new(&mut params);
    println!("{} parameters", params.values.len());
    let mut optimiser = Optimiser::new(&params);
    let mut average = params.values.clone();
    let state = |part: &str| work.join(format!("text-{part}.bin"));
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
        params.values = Params::load(&work.join(format!("{from}-text.bin")), len)?;
        average.copy_from_slice(&params.values);
    }
    let share = |t: &Text| match t.weight {
        NAME_WEIGHT => t.weight * plan.names,
        weight => weight,
    };
    let sampler = WeightedIndex::new(targets.texts.iter().map(share))
        .map_err(|e| Failure::Usage(format!("no texts: {e}")))?;
    let tapes: Vec<Mutex<(Tape, Vec<f32>)>> = (0..BATCH / CHUNK)
        .map(|_| Mutex::new((Tape::default(), vec![0.0; len])))
        .collect();
    let started = Instant::now();
    let first_step = optimiser.steps as usize;
    let (mut loss, mut cosine, mut seen) = (0.0, 0.0, 0usize);
    let mut total = vec![0.0; len];
    for step in first_step..steps {
        let results = threads::map(BATCH / CHUNK, |chunk| -> Outcome<(f32, f32)> {
            let Ok(mut guard) = tapes[chunk].lock() else {
                return Ok((0.0, 0.0));
            };
            let (tape, grads) = &mut *guard;
            grads.fill(0.0);
            tape.clear();
            let mut rng = ChaCha8Rng::seed_from_u64(step as u64);
            rng.set_stream(chunk as u64 + 1);
            let picked: Vec<usize> = (0..CHUNK).map(|_| sampler.sample(&mut rng)).collect();
            let ids: Outcome<Vec<Vec<u32>>> = picked
                .iter()
                .map(|&i| {
                    let noun = &targets.texts[i].text;
                    let text = if rng.random_bool(BARE) {
                        noun.clone()
                    } else {
                        prompts.fill(rng.random_range(0..prompts.len()), noun)
                    };
                    bpe::encode(&tokenizer, &text)
                })
                .collect();
            let ids = ids?;
            let views: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let wanted: Vec<f32> = picked
                .iter()
                .flat_map(|&i| targets.of(i).iter().copied())
                .collect();
            let out = tower.forward(tape, &params.values, &views);
            let (part_loss, part_cosine, gradient) = distil(tape.data(out), &wanted);
            tape.backward(&params.values, out, &gradient, grads);
            Ok((part_loss, part_cosine))
        });
        total.fill(0.0);
        for (tape, result) in tapes.iter().zip(results) {
            let (part_loss, part_cosine) = result?;
            if let Ok(guard) = tape.lock() {
                total
                    .iter_mut()
                    .zip(&guard.1)
                    .for_each(|(t, g)| *t += g / BATCH as f32);
            }
            loss += part_loss;
            cosine += part_cosine;
            seen += CHUNK;
        }
        let warm = (step as f32 + 1.0) / 100.0;
        let left = (steps - step) as f32 / (steps as f32 * plan.decay);
        let rates = Rates {
            filter: 0.0,
            adam: plan.adam * warm.min(left).min(1.0),
            decay: 0.02,
        };
        optimiser.step(&mut params.values, &total, rates);
        let share = AVERAGING.max(1.0 / (step as f32 + 1.0));
        average
            .iter_mut()
            .zip(&params.values)
            .for_each(|(a, v)| *a += share * (v - *a));
        if (step + 1) % 50 == 0 || step + 1 == steps {
            let speed = ((step + 1 - first_step) * BATCH) as f64 / started.elapsed().as_secs_f64();
            let (loss_now, cosine_now) = (loss / seen as f32, cosine / seen as f32);
            println!(
                "step {} of {steps}: loss {loss_now:.4}, cosine {cosine_now:.4}, {speed:.0} texts/s",
                step + 1
            );
            (loss, cosine, seen) = (0.0, 0.0, 0);
        }
        if (step + 1) % 200 == 0 || step + 1 == steps {
            Params::save(&params.values, &state("values"))?;
            Params::save(&average, &state("average"))?;
            Params::save(&optimiser.first, &state("first"))?;
            Params::save(&optimiser.second, &state("second"))?;
            Params::save(&[optimiser.steps as f32], &state("step"))?;
        }
    }
    Ok(())
}

/// Angle to the target, and the relations to the other targets of the unit.
/// Returns loss, sum of cosines and the gradient of the features.
fn distil(features: &[f32], wanted: &[f32]) -> (f32, f32, Vec<f32>) {
    let n = wanted.len() / EMBED_DIM;
    let mut units = features.to_vec();
    let lengths = unit_rows(&mut units, EMBED_DIM);
    let mut ours = vec![0.0; n * n];
    let mut theirs = vec![0.0; n * n];
    product(
        n,
        EMBED_DIM,
        n,
        plain(&units, EMBED_DIM),
        turned(wanted, EMBED_DIM),
        &mut ours,
        Into::Replace,
    );
    product(
        n,
        EMBED_DIM,
        n,
        plain(wanted, EMBED_DIM),
        turned(wanted, EMBED_DIM),
        &mut theirs,
        Into::Replace,
    );
    let (mut loss, mut cosine) = (0.0, 0.0);
    for i in 0..n {
        let (a, b) = (
            &mut ours[i * n..(i + 1) * n],
            &mut theirs[i * n..(i + 1) * n],
        );
        cosine += a[i];
        loss += 1.0 - a[i];
        a.iter_mut()
            .chain(b.iter_mut())
            .for_each(|x| *x *= SHARPNESS);
        softmax(a);
        softmax(b);
        for j in 0..n {
            if b[j] > 1e-8 {
                loss += RELATIONS * b[j] * (b[j] / a[j].max(1e-12)).ln();
            }
            a[j] = RELATIONS * SHARPNESS * (a[j] - b[j]);
        }
        a[i] -= 1.0;
    }
    let mut gradient = vec![0.0; features.len()];
    product(
        n,
        n,
        EMBED_DIM,
        plain(&ours, n),
        plain(wanted, EMBED_DIM),
        &mut gradient,
        Into::Replace,
    );
    for ((d, unit), length) in gradient
        .chunks_exact_mut(EMBED_DIM)
        .zip(units.chunks_exact(EMBED_DIM))
        .zip(lengths)
    {
        let along = dot(d, unit);
        d.iter_mut()
            .zip(unit)
            .for_each(|(d, u)| *d = (*d - along * u) / length);
    }
    (loss, cosine, gradient)
}

/// Replaces the targets by what the trained tower itself makes of the texts, and
/// writes them as `own-targets.bin`: the image tower ends its training on these.
pub fn own_targets(work: &Path, templates: &[String]) -> Outcome<()> {
    let mut targets = Targets::read(work)?;
    let tokenizer = bpe::read(work)?;
    let mut params = Params::default();
    let tower = TextTower::new(&mut params);
    let values = Params::load(&work.join("text-average.bin"), params.values.len())?;
    // The mean over the prompts matters less for nouns to be told apart from.
    let few: Vec<String> = templates.iter().step_by(3).cloned().collect();
    for (names, templates) in [(true, templates), (false, &few)] {
        let places: Vec<usize> = (0..targets.texts.len())
            .filter(|&i| (targets.texts[i].weight == NAME_WEIGHT) == names)
            .collect();
        let texts: Vec<String> = places
            .iter()
            .map(|&i| targets.texts[i].text.clone())
            .collect();
        let own = embed_nouns(&tower, &values, &tokenizer, templates, &texts)?;
        let mut cosine = 0.0;
        for (&i, new) in places.iter().zip(own.chunks_exact(EMBED_DIM)) {
            cosine += dot(new, targets.of(i)) / places.len() as f32;
            targets.values[i * EMBED_DIM..(i + 1) * EMBED_DIM].copy_from_slice(new);
        }
        println!(
            "{} texts, mean cosine to the sentence encoder {cosine:.4}",
            places.len()
        );
    }
    Params::save(&targets.values, &work.join("own-targets.bin"))
}

/// Unit embeddings of the mean over prompts, per noun.
pub fn embed_nouns(
    tower: &TextTower,
    values: &[f32],
    tokenizer: &Tokenizer,
    prompts: &[String],
    nouns: &[String],
) -> Outcome<Vec<f32>> {
    let parts = threads::map(nouns.len(), |i| -> Outcome<Vec<f32>> {
        let ids: Outcome<Vec<Vec<u32>>> = prompts
            .iter()
            .map(|p| bpe::encode(tokenizer, &p.replace("{c}", &nouns[i])))
            .collect();
        let ids = ids?;
        let views: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let mut tape = Tape::default();
        let out = tower.forward(&mut tape, values, &views);
        let mut units = tape.data(out).to_vec();
        unit_rows(&mut units, EMBED_DIM);
        let mut mean = vec![0.0; EMBED_DIM];
        for unit in units.chunks_exact(EMBED_DIM) {
            mean.iter_mut().zip(unit).for_each(|(m, u)| *m += u);
        }
        unit_rows(&mut mean, EMBED_DIM);
        Ok(mean)
    });
    let mut all = Vec::with_capacity(nouns.len() * EMBED_DIM);
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}
