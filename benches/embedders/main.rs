//! Texts and images per second of one embedder:
//! `cargo bench --bench embedders -- [SPEC]` (default `openclip:novic/drawings`).
//!
//! `write=FOLDER` writes models of random weights and inputs for them, for the
//! same work in other programs (`benches/peers/compare_embedders.py`);
//! `serve=FOLDER case=CASE` does that work in turns.

mod models;
mod turns;

use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use novic::embedders::{Embedder, EmbedderError};

/// How fast something went.
struct Rate {
    /// Items per second of the fastest round.
    wall: f64,
    /// Items per second of processor time, which other load disturbs least.
    processor: Option<f64>,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s", self.wall)?;
        match self.processor {
            Some(rate) => write!(f, " ({rate:.0} per processor second)"),
            None => Ok(()),
        }
    }
}

/// Processor time of this process, where the system tells.
fn processor_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// Runs `step` for at least three seconds after one warm-up.
fn rate(
    items: usize,
    mut step: impl FnMut() -> Result<(), EmbedderError>,
) -> Result<Rate, EmbedderError> {
    step()?;
    let (start, before) = (Instant::now(), processor_seconds());
    let (mut best, mut rounds) = (f64::MAX, 0);
    while start.elapsed() < Duration::from_secs(3) {
        let round = Instant::now();
        step()?;
        best = best.min(round.elapsed().as_secs_f64());
        rounds += 1;
    }
    let processor = processor_seconds()
        .zip(before)
        .map(|(after, before)| after - before);
    Ok(Rate {
        wall: items as f64 / best,
        processor: processor.map(|seconds| (items * rounds) as f64 / seconds),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    novic::keep_freed_memory();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let value = |name: &str| {
        let values = arguments
            .iter()
            .filter_map(|argument| argument.split_once('='));
        values
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next()
    };
    if let Some(folder) = value("write") {
        return models::write(folder.as_ref());
    }
    if let Some(folder) = value("serve") {
        return turns::serve(folder.as_ref(), value("case").unwrap_or_default());
    }
    let spec = arguments
        .first()
        .cloned()
        .unwrap_or_else(|| "openclip:novic/drawings".to_owned());
    let embedder = Embedder::open(&spec.parse()?)?;
    let start = Instant::now();
    embedder.load()?;
    println!(
        "{spec}: towers loaded in {:.3} s",
        start.elapsed().as_secs_f64()
    );

    let prompts = [
        "a photo of a {}.",
        "a drawing of the {}.",
        "{}",
        "an icon of a {}.",
    ];
    let nouns = [
        "red fox",
        "alarm clock",
        "oak tree",
        "guitar",
        "bus stop",
        "mushroom",
    ];
    let texts: Vec<String> = (0..2048)
        .map(|i| {
            let noun = format!("{} {}", nouns[i % nouns.len()], nouns[i / 7 % nouns.len()]);
            prompts[i % prompts.len()].replace("{}", &format!("{noun} {}", i / 24))
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokenizer = embedder.tokenizer();
    let tokens = tokenizer.encode(&texts, None)?;
    let length = tokens.iter().map(Vec::len).sum::<usize>() as f64 / tokens.len() as f64;
    let tokenizing = rate(texts.len(), || {
        tokenizer
            .encode(&texts, None)
            .map(|_| ())
            .map_err(Into::into)
    })?;
    let embedding = rate(texts.len(), || embedder.embed_texts(&texts).map(|_| ()))?;
    println!("texts ({length:.1} tokens on average): {embedding}, tokenizing alone {tokenizing}");

    let images: Vec<RgbImage> = (0..256)
        .map(|i| {
            RgbImage::from_fn(128, 128, |x, y| {
                Rgb([(x + i) as u8, (y * 2) as u8, (x ^ y) as u8])
            })
        })
        .collect();
    let transform = embedder.preprocess();
    let mut pixels = vec![0f32; transform.len()];
    let transforming = rate(1, || {
        transform.apply(&images[0], &mut pixels);
        Ok(())
    })?;
    let embedding = rate(images.len(), || embedder.embed_images(&images).map(|_| ()))?;
    println!("images: {embedding}, transform alone {transforming}");
    Ok(())
}
