//! The work that other programs do too, in turns with them: numbers of steps
//! come on standard input, one a line; each is answered with the wall-clock and
//! processor seconds they took, and a number that all programs must agree on.

use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};
use novic::images::{DecodeOptions, decode_file};
use rayon::prelude::*;

use super::models::open;
use super::processor_seconds;

type Step = Box<dyn FnMut() -> Result<f64, Box<dyn Error>>>;

/// Does the steps of a case until standard input ends.
pub fn serve(folder: &Path, case: &str) -> Result<(), Box<dyn Error>> {
    let mut step = step(folder, case)?;
    println!("novic {case}");
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse()?;
        let (begun, before) = (Instant::now(), processor_seconds());
        let mut agreed = 0.0;
        for _ in 0..steps {
            agreed = step()?;
        }
        let wall = begun.elapsed().as_secs_f64();
        let processor = processor_seconds()
            .zip(before)
            .map_or(wall, |(after, before)| after - before);
        println!("{wall:.6} {processor:.6} {agreed:.6}");
    }
    Ok(())
}

fn step(folder: &Path, case: &str) -> Result<Step, Box<dyn Error>> {
    let load = |file: &str| candle_core::safetensors::load(folder.join(file), &Device::Cpu);
    Ok(match case {
        "text" | "prompts" => {
            let (model, inputs) = match case {
                "text" => ("siglip", "inputs.safetensors"),
                _ => ("causal", "prompts.safetensors"),
            };
            let embedder = open(&folder.join(model))?;
            let ids: Vec<Vec<i64>> = load(inputs)?["ids"].to_vec2()?;
            // Nothing is padded here.
            let ids: Vec<Vec<i64>> = (ids.into_iter())
                .map(|row| row.into_iter().filter(|&id| id != 0).collect())
                .collect();
            Box::new(move || {
                let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
                first_components(&embedder.embed_tokens(&ids)?)
            })
        }
        "image" => {
            let embedder = open(&folder.join("siglip"))?;
            let pixels = load("inputs.safetensors")?["pixels"].clone();
            Box::new(move || first_components(&embedder.embed_pixels(&pixels)?))
        }
        "tokenize" => {
            let tokenizer = open(&folder.join("causal"))?.tokenizer();
            let texts = std::fs::read_to_string(folder.join("texts.txt"))?;
            Box::new(move || {
                let texts: Vec<&str> = texts.lines().collect();
                let ids = tokenizer.encode(&texts, Some(77))?;
                Ok(ids.iter().map(Vec::len).sum::<usize>() as f64)
            })
        }
        "pictures" => {
            let transform = open(&folder.join("siglip"))?.preprocess().clone();
            let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("pictures"))?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            files.sort();
            let options = DecodeOptions::default();
            Box::new(move || {
                let mean = |file: &PathBuf| {
                    let picture = decode_file(file, &options).map_err(|error| error.to_string())?;
                    let mut pixels = vec![0f32; transform.len()];
                    transform.apply(&picture, &mut pixels);
                    let sum: f64 = pixels.iter().map(|&value| f64::from(value)).sum();
                    Ok::<f64, String>(sum / pixels.len() as f64)
                };
                let means = files
                    .par_iter()
                    .map(mean)
                    .collect::<Result<Vec<f64>, _>>()?;
                Ok(means.iter().sum::<f64>() / means.len() as f64)
            })
        }
        _ => {
            let known = "text, image, prompts, tokenize, pictures";
            return Err(format!("unknown case {case:?}: {known}").into());
        }
    })
}

/// Sum of the absolute first components.
fn first_components(vectors: &Tensor) -> Result<f64, Box<dyn Error>> {
    let first = vectors.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(first.iter().map(|&value| f64::from(value.abs())).sum())
}
