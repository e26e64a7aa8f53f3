//! Training throughput of a small decoder on synthetic data, and where the
//! time of a batch goes.
//!
//! `cargo bench --bench training -- [hidden=256] [layers=3] [batch=256]
//! [dim=384] [vocab=3000] [accum=1] [batches=60]`

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use novic::cache::batch::{Batch, TargetBatch, TargetLayout};
use novic::config::schema::{Config, NoiseScheme};
use novic::decoder::noise::EmbeddingNoise;
use novic::decoder::{Decoder, Dimensions, DropoutSites, ForwardOptions};
use novic::train::{GradientSums, Optimizer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Token columns; nouns have one to three tokens and an end token.
const COLUMNS: usize = 4;

struct Sizes {
    hidden: usize,
    layers: usize,
    batch: usize,
    dim: usize,
    vocab: usize,
    accum: usize,
    batches: usize,
}

fn main() {
    let mut sizes = Sizes {
        hidden: 256,
        layers: 3,
        batch: 256,
        dim: 384,
        vocab: 3000,
        accum: 1,
        batches: 60,
    };
    for argument in std::env::args().skip(1) {
        let Some((name, value)) = argument.split_once('=') else {
            continue;
        };
        let value: usize = value.parse().expect("a number");
        match name {
            "hidden" => sizes.hidden = value,
            "layers" => sizes.layers = value,
            "batch" => sizes.batch = value,
            "dim" => sizes.dim = value,
            "vocab" => sizes.vocab = value,
            "accum" => sizes.accum = value,
            "batches" => sizes.batches = value,
            _ => panic!("unknown size {name}"),
        }
    }
    measure(&sizes);
}

fn measure(sizes: &Sizes) {
    let mut config = Config::default();
    config.model.hidden_dim = sizes.hidden;
    config.model.layers = sizes.layers;
    config.noise.scheme = NoiseScheme::GaussElemUniformAngle;
    config.noise.vec_norm = 3.25;
    (config.noise.angle_min, config.noise.angle_max) = (45.0, 75.0);
    config.noise.mix_ratio = 0.15;
    let dimensions = Dimensions {
        embed_dim: sizes.dim,
        vocab_size: sizes.vocab,
        token_length: COLUMNS,
    };
    let decoder = Decoder::new(&config.model, dimensions, 1).expect("a decoder");
    let noise = EmbeddingNoise::new(&config.noise)
        .expect("a scheme")
        .expect("noise");
    let parameters: Vec<(String, Tensor)> = decoder
        .named_parameters()
        .into_iter()
        .map(|(name, var)| (name, var.as_tensor().clone()))
        .collect();
    let elements: usize = parameters.iter().map(|(_, p)| p.elem_count()).sum();
    let mut optimizer =
        Optimizer::new(parameters, (&config.train.optimizer).into()).expect("an optimizer");
    let mut gradients = GradientSums::new(optimizer.parameters().len());
    let batches: Vec<Batch> = (0..8).map(|seed| batch(sizes, seed)).collect();

    let names = [
        "noise",
        "forward",
        "backward",
        "accumulate",
        "norm",
        "update",
    ];
    let mut spent = [Duration::ZERO; 6];
    let (mut tokens, mut wall, mut cpu_begun) = (0, Duration::ZERO, Duration::ZERO);
    // The first tenth warms up.
    let warm_up = sizes.batches.div_ceil(10);
    for number in 0..warm_up + sizes.batches {
        let measured = number >= warm_up;
        if number == warm_up {
            cpu_begun = cpu_time();
        }
        let begun = Instant::now();
        let mut last = begun;
        let mut lap = |index: usize| {
            let now = Instant::now();
            if measured {
                spent[index] += now - last;
            }
            last = now;
        };
        let mut batch = batches[number % batches.len()].clone();
        noise.apply(&mut batch.embeds, batch.dim, 1, 1, number as u64);
        let embeds = Tensor::from_vec(batch.embeds, (batch.samples, batch.dim), &Device::Cpu);
        lap(0);
        let forward = decoder
            .forward(
                &embeds.expect("embeddings"),
                &batch.targets.expect("targets"),
                ForwardOptions {
                    loss: decoder.loss_config(),
                    gradients: true,
                    dropout: Some(DropoutSites::new(1, 1, number as u64, 1.0)),
                    ..ForwardOptions::default()
                },
            )
            .expect("a forward pass");
        tokens += forward.loss.tokens * usize::from(measured);
        let scale = 1.0 / (forward.loss.basis * sizes.accum as f64);
        lap(1);
        let mut store = forward.backward(scale).expect("a backward pass");
        let delivered = decoder.parameters().iter().map(|var| store.remove(var));
        let delivered = delivered.collect();
        lap(2);
        gradients.add(delivered).expect("gradients");
        lap(3);
        if (number + 1) % sizes.accum == 0 {
            let norm = gradients.norm().expect("a norm");
            lap(4);
            let clip = (1.0 / (norm + 1e-6)).min(1.0);
            optimizer.step(&gradients, clip, 1e-4).expect("an update");
            gradients.clear();
            lap(5);
        }
        if measured {
            wall += begun.elapsed();
        }
    }

    let cpu = cpu_time() - cpu_begun;
    let samples = (sizes.batches * sizes.batch) as f64;
    println!(
        "hidden {} · layers {} · batch {} · F {} · V {} · accumulation {} · {:.2} M parameters · \
         {} threads",
        sizes.hidden,
        sizes.layers,
        sizes.batch,
        sizes.dim,
        sizes.vocab,
        sizes.accum,
        elements as f64 / 1e6,
        rayon::current_num_threads()
    );
    println!(
        "{:.0} samples/s · {:.0} tokens/s · {:.0} samples per CPU second",
        samples / wall.as_secs_f64(),
        tokens as f64 / wall.as_secs_f64(),
        samples / cpu.as_secs_f64()
    );
    for (name, spent) in names.iter().zip(spent) {
        println!(
            "{name:>12} {:7.2} ms per batch {:5.1} %",
            spent.as_secs_f64() * 1e3 / sizes.batches as f64,
            spent.as_secs_f64() / wall.as_secs_f64() * 100.0
        );
    }
}

/// Time all threads of this process spent computing, in steps of 10 ms; zero
/// where the system does not tell.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, in parentheses, may contain blanks.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn batch(sizes: &Sizes, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut embeds = Vec::with_capacity(sizes.batch * sizes.dim);
    let (mut ids, mut padding) = (Vec::new(), Vec::new());
    for _ in 0..sizes.batch {
        let row: Vec<f32> = (0..sizes.dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        embeds.extend(row.iter().map(|value| value / norm));
        let length = rng.random_range(1..COLUMNS);
        for column in 0..COLUMNS {
            let token = rng.random_range(1..sizes.vocab as u32);
            ids.push(if column < length { token } else { 0 });
            padding.push(column > length);
        }
    }
    Batch {
        samples: sizes.batch,
        dim: sizes.dim,
        embeds,
        targets: Some(TargetBatch {
            layout: TargetLayout::Single,
            columns: COLUMNS,
            ids,
            padding: Some(padding),
            weights: None,
        }),
    }
}
