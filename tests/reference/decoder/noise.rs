//! `noise.json`: schemes with recorded draws, statistics, checks of parameters.

use std::collections::VecDeque;

use novic::config::schema::{Config, Noise};
use novic::decoder::noise::{EmbeddingNoise, NoiseSource, shift_mean};
use serde_json::Value;

use super::models::{list, size, text};
use super::tensors::{TensorFile, assert_absolute, assert_relative, number};
use crate::golden;

/// The configuration of an entry, or none if a value is refused already there.
fn config(entry: &Value) -> Option<Noise> {
    let mut config = Config::default();
    config.set("noise.scheme", &entry["scheme"]).ok()?;
    for key in [
        "vec_norm",
        "angle_min",
        "angle_max",
        "angle_std",
        "mix_ratio",
    ] {
        config.set(&format!("noise.{key}"), &entry[key]).ok()?;
    }
    Some(config.noise)
}

/// Recorded draws of one row: the reference draws both parts of a mixture, the
/// rotation first.
struct Recorded {
    normal_rows: VecDeque<Vec<f32>>,
    normal: VecDeque<f32>,
    angle: VecDeque<f32>,
    mix: VecDeque<f32>,
}

impl NoiseSource for Recorded {
    fn direction(&mut self, out: &mut [f32]) {
        out.copy_from_slice(&self.normal_rows.pop_front().expect("a recorded direction"));
    }

    fn offset(&mut self, out: &mut [f32]) {
        out.copy_from_slice(&self.normal_rows.pop_back().expect("a recorded offset"));
    }

    fn normal(&mut self) -> f32 {
        self.normal.pop_front().expect("a recorded normal number")
    }

    fn angle(&mut self, min: f64, max: f64) -> f64 {
        let angle = f64::from(self.angle.pop_front().expect("a recorded angle"));
        assert!(angle >= min - 1e-6 && angle <= max + 1e-6);
        angle
    }

    fn mix(&mut self) -> f32 {
        self.mix.pop_front().expect("a recorded uniform number")
    }
}

#[test]
fn recorded_draws_give_the_recorded_result() {
    let file = TensorFile::open("noise.safetensors");
    for entry in list(&golden::json("decoder", "noise.json")["exact"]) {
        let id = size(&entry["id"]);
        let noise = EmbeddingNoise::new(&config(entry).unwrap())
            .unwrap()
            .unwrap();
        let dim = size(&entry["embed_dim"]);
        let mut embeds = file.require(&format!("{id}/embed")).f32();
        let expected = file.require(&format!("{id}/out")).values;
        for (row, embed) in embeds.chunks_exact_mut(dim).enumerate() {
            let mut source = Recorded {
                normal_rows: VecDeque::new(),
                normal: VecDeque::new(),
                angle: VecDeque::new(),
                mix: VecDeque::new(),
            };
            for (n, kind) in list(&entry["draws"]).iter().enumerate() {
                let draws = file.require(&format!("{id}/draw{n}")).f32();
                match text(kind) {
                    "randn_like" => {
                        let draws = draws[row * dim..(row + 1) * dim].to_vec();
                        source.normal_rows.push_back(draws);
                    }
                    "randn" => source.normal.push_back(draws[row]),
                    "uniform" => source.angle.push_back(draws[row]),
                    "rand" => source.mix.push_back(draws[row]),
                    other => panic!("unknown draw {other}"),
                }
            }
            noise.apply_row(embed, &mut vec![0.0; dim], &mut source);
        }
        for (&found, expected) in embeds.iter().zip(expected) {
            assert_absolute(f64::from(found), expected, 1e-6, &format!("case {id}"));
        }
    }
    let mut embeds = file.require("shift/embed").f32();
    shift_mean(&mut embeds, &file.require("shift/shift").f32());
    for (found, expected) in embeds.into_iter().zip(file.require("shift/out").values) {
        assert_absolute(f64::from(found), expected, 1e-6, "mean shift");
    }
}

#[test]
fn statistics_of_noisy_copies() {
    for entry in list(&golden::json("decoder", "noise.json")["statistics"]) {
        let what = format!("{} in {} dimensions", entry["scheme"], entry["embed_dim"]);
        let noise = EmbeddingNoise::new(&config(entry).unwrap())
            .unwrap()
            .unwrap();
        let (dim, samples) = (size(&entry["embed_dim"]), size(&entry["samples"]));
        let mut clean = vec![0.0f32; dim];
        let norm = (1..=dim).map(|i| (i * i) as f32).sum::<f32>().sqrt();
        for (i, value) in clean.iter_mut().enumerate() {
            *value = (i + 1) as f32 / norm;
        }
        let mut angles = Vec::with_capacity(samples);
        let mut perpendicular = vec![0.0f64; dim];
        let mut cosines = 0.0;
        let batch_size = 2000.min(samples);
        for batch in 0..samples.div_ceil(batch_size) {
            let rows = batch_size.min(samples - batch * batch_size);
            let mut embeds = clean.repeat(rows);
            noise.apply(&mut embeds, dim, 11, 1, batch as u64);
            for row in embeds.chunks_exact(dim) {
                let product = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter()
                        .zip(b)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum()
                };
                assert!((product(row, row) - 1.0).abs() < 1e-5, "{what}");
                let cosine = product(row, &clean);
                cosines += cosine;
                angles.push(cosine.clamp(-1.0, 1.0).acos().to_degrees());
                for ((sum, &e), &c) in perpendicular.iter_mut().zip(row).zip(&clean) {
                    *sum += f64::from(e) - cosine * f64::from(c);
                }
            }
        }
        let n = samples as f64;
        let mean = angles.iter().sum::<f64>() / n;
        let std = (angles.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected = &entry["angle_deg"];
        let expected_std = number(&expected["std"]);
        let tolerance = 6.0 * expected_std / n.sqrt() * 2f64.sqrt();
        assert_absolute(mean, number(&expected["mean"]), tolerance, &what);
        assert_relative(std, expected_std, 0.02, &what);
        assert_absolute(cosines / n, number(&entry["cos_mean"]), 0.01, &what);
        angles.sort_by(f64::total_cmp);
        let clamp = number(&entry["angle_max"]);
        for (quantile, value) in expected["quantiles"].as_object().unwrap() {
            let q: f64 = quantile.parse().unwrap();
            let value = number(value);
            let clamped = text(&entry["scheme"]) == "GaussAngle" && (value - clamp).abs() < 0.5;
            if (0.05..=0.95).contains(&q) && !clamped {
                let found = angles[(q * (n - 1.0)).round() as usize];
                assert_absolute(
                    found,
                    value,
                    0.03 * expected_std + 0.1,
                    &format!("{what}: {quantile}"),
                );
            }
        }
        let norm = perpendicular
            .iter()
            .map(|p| (p / n).powi(2))
            .sum::<f64>()
            .sqrt();
        let expectation = number(&entry["mean_perpendicular_expected"]);
        assert_relative(norm, expectation, 0.35, &what);
    }
}

#[test]
fn parameters_are_checked() {
    for entry in list(&golden::json("decoder", "noise.json")["creation"]) {
        let found = match config(entry).map(|config| EmbeddingNoise::new(&config)) {
            None | Some(Err(_)) => "error",
            Some(Ok(None)) => "none",
            Some(Ok(Some(_))) => "ok",
        };
        assert_eq!(found, text(&entry["outcome"]), "{entry}");
    }
}
