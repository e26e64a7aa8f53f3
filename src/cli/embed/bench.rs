//! `novic embed bench`.

use std::time::{Duration, Instant};

use clap::Args;
use image::RgbImage;
use serde_json::json;

use super::super::print::print;
use super::super::{CliError, Exit};
use super::EmbedderArgs;

/// Measure an embedder: texts, pictures, tokens and transforms per second
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The embedder, TYPE:NAME
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Inputs embedded together
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Seconds per measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

pub(super) fn bench(args: &BenchArgs) -> Result<Exit, CliError> {
    let embedder = args.embedder.open(&args.spec)?;
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let start = Instant::now();
    embedder.load().map_err(|error| failed(&error))?;
    let load = start.elapsed().as_secs_f64();
    let batch = args.batch as usize;
    let limit = Duration::from_secs_f64(args.seconds.max(0.0));
    let texts: Vec<String> = (0..batch)
        .map(|i| format!("a photo of a number {i} in a video game."))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let picture = RgbImage::from_fn(500, 375, |x, y| {
        image::Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8])
    });
    let pictures = vec![picture; batch];
    let fitted: Vec<RgbImage> = pictures
        .iter()
        .map(|picture| embedder.preprocess().fit(picture))
        .collect();
    let tokenizer = embedder.tokenizer();
    let tokens = per_second(batch, limit, || {
        tokenizer
            .encode(&texts, None)
            .map(|_| ())
            .map_err(|error| failed(&error))
    })?;
    let text = per_second(batch, limit, || {
        embedder
            .embed_texts(&texts)
            .map(|_| ())
            .map_err(|error| failed(&error))
    })?;
    let transform = per_second(batch, limit, || {
        for picture in &pictures {
            std::hint::black_box(embedder.preprocess().fit(picture));
        }
        Ok(())
    })?;
    let image = per_second(batch, limit, || {
        embedder
            .embed_fitted(&fitted)
            .map(|_| ())
            .map_err(|error| failed(&error))
    })?;
    let result = json!({
        "spec": embedder.spec().to_string(),
        "batch": batch,
        "threads": rayon::current_num_threads(),
        "dtype": embedder.precision().name(),
        "load_seconds": load,
        "tokenized_per_second": tokens,
        "texts_per_second": text,
        "transforms_per_second_and_thread": transform,
        "images_per_second": image,
    });
    print(&if args.json {
        format!("{result:#}\n")
    } else {
        format!(
            "{}: batch {batch}, {} threads, {}, loaded in {load:.2} s\n\
             tokenized    {tokens:10.1} texts/s\n\
             texts        {text:10.1} texts/s\n\
             transforms   {transform:10.1} pictures/s and thread (500×375)\n\
             images       {image:10.1} pictures/s\n",
            embedder.spec(),
            rayon::current_num_threads(),
            embedder.precision().name(),
        )
    })
}

/// Repeats some work of `count` items after one warm-up.
fn per_second(
    count: usize,
    limit: Duration,
    mut work: impl FnMut() -> Result<(), CliError>,
) -> Result<f64, CliError> {
    work()?;
    let start = Instant::now();
    let mut done = 0;
    loop {
        work()?;
        done += count;
        if start.elapsed() >= limit {
            return Ok(done as f64 / start.elapsed().as_secs_f64());
        }
    }
}
