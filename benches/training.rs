//! Training throughput of a decoder on synthetic data, and where the time of a
//! batch goes.
//!
//! `cargo bench --bench training -- [hidden=512] [layers=6] [heads=8] [prefix=4]
//! [batch=256] [dim=768] [vocab=10001] [targets=1] [columns=8] [dropout=0.1]
//! [accum=1] [batches=20] [write=FILE] [serve=1]`
//!
//! More than one target per sample comes with weights. `write` puts the batches
//! into a file, for the same step in other frameworks (`benches/peers`).
//! `serve` reads numbers of steps from standard input, one a line, and answers
//! each with the wall-clock and processor seconds they took and the last loss.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use novic::cache::batch::{Batch, TargetBatch, TargetLayout};
use novic::config::schema::{Config, NoiseScheme};
use novic::decoder::noise::EmbeddingNoise;
use novic::decoder::{Decoder, Dimensions, DropoutSites, ForwardOptions};
use novic::train::{Gradient, GradientSums, Optimizer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Per mille of the nouns of the embedded dictionary that have 1, 2, … tokens
/// in CLIP's byte pair encoding, among those with at most 7.
const LENGTHS: [u32; 7] = [99, 463, 218, 95, 59, 43, 23];

/// Different batches, used in turn.
const BATCHES: u64 = 8;

struct Sizes {
    hidden: usize,
    layers: usize,
    heads: usize,
    prefix: usize,
    batch: usize,
    dim: usize,
    vocab: usize,
    targets: usize,
    columns: usize,
    accum: usize,
    batches: usize,
    dropout: f64,
}

fn main() {
    let mut sizes = Sizes {
        hidden: 512,
        layers: 6,
        heads: 8,
        prefix: 4,
        batch: 256,
        dim: 768,
        vocab: 10_001,
        targets: 1,
        columns: 8,
        accum: 1,
        batches: 20,
        dropout: 0.1,
    };
    let (mut write, mut serving) = (None, false);
    for argument in std::env::args().skip(1) {
        let Some((name, value)) = argument.split_once('=') else {
            continue;
        };
        let count = || value.parse::<usize>().expect("a number");
        match name {
            "hidden" => sizes.hidden = count(),
            "layers" => sizes.layers = count(),
            "heads" => sizes.heads = count(),
            "prefix" => sizes.prefix = count(),
            "batch" => sizes.batch = count(),
            "dim" => sizes.dim = count(),
            "vocab" => sizes.vocab = count(),
            "targets" => sizes.targets = count(),
            "columns" => sizes.columns = count(),
            "accum" => sizes.accum = count(),
            "batches" => sizes.batches = count(),
            "dropout" => sizes.dropout = value.parse().expect("a number"),
            "write" => write = Some(value.to_owned()),
            "serve" => serving = count() > 0,
            _ => panic!("unknown size {name}"),
        }
    }
    let batches: Vec<Batch> = (0..BATCHES).map(|seed| batch(&sizes, seed)).collect();
    if let Some(path) = write {
        write_batches(Path::new(&path), &sizes, &batches).expect("a file to write to");
        return;
    }
    let mut training = Training::new(&sizes, batches);
    if serving {
        serve(&mut training);
    } else {
        measure(&sizes, &mut training);
    }
}

/// Parts of a step whose time is measured.
const PARTS: [&str; 6] = [
    "noise",
    "forward",
    "backward",
    "accumulate",
    "norm",
    "update",
];

struct Training {
    decoder: Decoder,
    noise: EmbeddingNoise,
    optimizer: Optimizer,
    gradients: GradientSums,
    batches: Vec<Batch>,
    accum: usize,
    elements: usize,
    number: usize,
    spent: [Duration; PARTS.len()],
    tokens: usize,
    loss: f64,
}

impl Training {
    fn new(sizes: &Sizes, batches: Vec<Batch>) -> Self {
        let mut config = Config::default();
        config.model.hidden_dim = sizes.hidden;
        config.model.layers = sizes.layers;
        config.model.heads = sizes.heads;
        config.model.prefix_len = sizes.prefix;
        config.model.input_dropout = sizes.dropout;
        config.model.layer_dropout = sizes.dropout;
        config.noise.scheme = NoiseScheme::GaussElemUniformAngle;
        config.noise.vec_norm = 3.25;
        (config.noise.angle_min, config.noise.angle_max) = (45.0, 75.0);
        config.noise.mix_ratio = 0.15;
        let dimensions = Dimensions {
            embed_dim: sizes.dim,
            vocab_size: sizes.vocab,
            token_length: sizes.columns,
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
        let elements = parameters.iter().map(|(_, p)| p.elem_count()).sum();
        let optimizer =
            Optimizer::new(parameters, (&config.train.optimizer).into()).expect("an optimizer");
        Self {
            gradients: GradientSums::new(optimizer.parameters().len()),
            decoder,
            noise,
            optimizer,
            batches,
            accum: sizes.accum,
            elements,
            number: 0,
            spent: [Duration::ZERO; PARTS.len()],
            tokens: 0,
            loss: f64::NAN,
        }
    }

    /// Learns from the next batch.
    fn step(&mut self) {
        let number = self.number;
        self.number += 1;
        let mut last = Instant::now();
        let mut lap = |index: usize, spent: &mut [Duration]| {
            let now = Instant::now();
            spent[index] += now - last;
            last = now;
        };
        let mut batch = self.batches[number % self.batches.len()].clone();
        self.noise
            .apply(&mut batch.embeds, batch.dim, 1, 1, number as u64);
        let embeds = Tensor::from_vec(batch.embeds, (batch.samples, batch.dim), &Device::Cpu);
        lap(0, &mut self.spent);
        let forward = self
            .decoder
            .forward(
                &embeds.expect("embeddings"),
                &batch.targets.expect("targets"),
                ForwardOptions {
                    loss: self.decoder.loss_config(),
                    gradients: true,
                    dropout: Some(DropoutSites::new(1, 1, number as u64, 1.0)),
                    ..ForwardOptions::default()
                },
            )
            .expect("a forward pass");
        self.tokens += forward.loss.tokens;
        self.loss = forward.loss.mean();
        let scale = 1.0 / (forward.loss.basis * self.accum as f64);
        lap(1, &mut self.spent);
        let delivered = forward.backward(scale).expect("a backward pass");
        lap(2, &mut self.spent);
        let delivered = delivered.into_iter().map(|g| g.map(Gradient::Host));
        (self.gradients.add(delivered.collect())).expect("gradients");
        lap(3, &mut self.spent);
        if (number + 1).is_multiple_of(self.accum) {
            let norm = self.gradients.norm().and_then(|norm| norm.value());
            let norm = norm.expect("a norm");
            lap(4, &mut self.spent);
            let clip = (1.0 / (norm + 1e-6)).min(1.0);
            (self.optimizer.step(&self.gradients, clip, 1e-4)).expect("an update");
            self.gradients.clear();
            lap(5, &mut self.spent);
        }
    }
}

fn serve(training: &mut Training) {
    println!("novic parameters {}", training.elements);
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line.expect("a line").trim().parse().expect("a number");
        let (begun, cpu_begun) = (Instant::now(), cpu_time());
        for _ in 0..steps {
            training.step();
        }
        println!(
            "{:.6} {:.6} {:.4}",
            begun.elapsed().as_secs_f64(),
            (cpu_time() - cpu_begun).as_secs_f64(),
            training.loss
        );
    }
}

fn measure(sizes: &Sizes, training: &mut Training) {
    // The first tenth warms up.
    for _ in 0..sizes.batches.div_ceil(10) {
        training.step();
    }
    training.spent.fill(Duration::ZERO);
    training.tokens = 0;
    let (begun, cpu_begun) = (Instant::now(), cpu_time());
    for _ in 0..sizes.batches {
        training.step();
    }
    let (wall, cpu) = (begun.elapsed(), cpu_time() - cpu_begun);
    let samples = (sizes.batches * sizes.batch) as f64;
    println!(
        "hidden {} · layers {} · prefix {} · batch {} · targets {} · F {} · V {} · accumulation {} \
         · {:.2} M parameters · {} threads",
        sizes.hidden,
        sizes.layers,
        sizes.prefix,
        sizes.batch,
        sizes.targets,
        sizes.dim,
        sizes.vocab,
        sizes.accum,
        training.elements as f64 / 1e6,
        rayon::current_num_threads()
    );
    println!(
        "{:.0} samples/s · {:.0} tokens/s · {:.0} samples per CPU second",
        samples / wall.as_secs_f64(),
        training.tokens as f64 / wall.as_secs_f64(),
        samples / cpu.as_secs_f64()
    );
    for (name, spent) in PARTS.iter().zip(training.spent) {
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
    for _ in 0..sizes.batch {
        let row: Vec<f32> = (0..sizes.dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        embeds.extend(row.iter().map(|value| value / norm));
    }
    let (mut ids, mut padding) = (Vec::new(), Vec::new());
    for _ in 0..sizes.batch * sizes.targets {
        let length = noun_length(&mut rng).min(sizes.columns - 1);
        for column in 0..sizes.columns {
            let token = rng.random_range(1..sizes.vocab as u32);
            ids.push(if column < length { token } else { 0 });
            padding.push(column > length);
        }
    }
    let (layout, weights) = if sizes.targets > 1 {
        let targets = sizes.targets;
        let weights = (0..sizes.batch * targets)
            .map(|row| 1.0 / (1 + row % targets) as f32)
            .collect();
        (TargetLayout::Multi { targets }, Some(weights))
    } else {
        (TargetLayout::Single, None)
    };
    Batch {
        samples: sizes.batch,
        dim: sizes.dim,
        embeds,
        targets: Some(TargetBatch {
            layout,
            columns: sizes.columns,
            ids,
            padding: Some(padding),
            weights,
        }),
    }
}

/// Number of tokens of a random noun, without the end token.
fn noun_length(rng: &mut ChaCha8Rng) -> usize {
    let mut place = rng.random_range(0..LENGTHS.iter().sum());
    for (length, &share) in (1..).zip(&LENGTHS) {
        if place < share {
            return length;
        }
        place -= share;
    }
    unreachable!("the place is below the sum")
}

/// Sizes as eight u32, then embeddings f32 `[B, F]`, ids u32 `[B·M, C]`, token
/// counts u32 `[B·M]` and, with several targets, weights f32 `[B·M]` of each
/// batch, all little-endian.
fn write_batches(path: &Path, sizes: &Sizes, batches: &[Batch]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let header = [
        0x4E56_4254,
        batches.len(),
        sizes.batch,
        sizes.dim,
        sizes.targets,
        sizes.columns,
        sizes.vocab,
        usize::from(sizes.targets > 1),
    ];
    for size in header {
        file.write_all(&(size as u32).to_le_bytes())?;
    }
    for batch in batches {
        let Some(targets) = &batch.targets else {
            continue;
        };
        file.write_all(bytemuck::cast_slice(&batch.embeds))?;
        file.write_all(bytemuck::cast_slice(&targets.ids))?;
        let padding = targets.padding.as_deref().unwrap_or_default();
        for row in padding.chunks_exact(targets.columns) {
            let counted = row.iter().filter(|&&padded| !padded).count();
            file.write_all(&(counted as u32 - 1).to_le_bytes())?;
        }
        if let Some(weights) = &targets.weights {
            file.write_all(bytemuck::cast_slice(weights))?;
        }
    }
    file.flush()
}
