//! The towers' parameters in open_clip's layout.

use super::failure::{Outcome, at, content};
use super::image_tower;
use super::params::{Params, Slot};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A tensor with its shape, on its way into or out of a file.
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Both towers and the image tower's statistics.
pub struct Towers {
    pub image: Vec<f32>,
    pub moments: Vec<f32>,
    pub text: Vec<f32>,
}

/// Norms of the image tower in the order they run.
fn norms() -> Vec<(String, usize)> {
    let width = image_tower::WIDTH;
    let mut all: Vec<(String, usize)> = [width / 2, width / 2, width]
        .into_iter()
        .enumerate()
        .map(|(i, c)| (format!("bn{}", i + 1), c))
        .collect();
    let mut input = width;
    for (stage, &count) in image_tower::LAYERS.iter().enumerate() {
        let planes = width << stage;
        for block in 0..count {
            let name = format!("layer{}.{block}", stage + 1);
            for (norm, channels) in [("bn1", planes), ("bn2", planes), ("bn3", 4 * planes)] {
                all.push((format!("{name}.{norm}"), channels));
            }
            if block == 0 && (stage > 0 || input != 4 * planes) {
                all.push((format!("{name}.downsample.1"), 4 * planes));
            }
            input = 4 * planes;
        }
    }
    all
}

/// Turns `[rows, columns]` into `[columns, rows]`.
fn turn(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..values.len())
        .map(|i| values[(i % rows) * columns + i / rows])
        .collect()
}

/// Shape in the file of a parameter that is a matrix here.
fn matrix_columns(params: &Params, name: &str, slot: Slot) -> Option<usize> {
    if !name.ends_with("weight") || name.starts_with("token_embedding") {
        return None;
    }
    let bias = name
        .strip_suffix("weight")
        .map(|stem| format!("{stem}bias"));
    let columns = params
        .entries
        .iter()
        .find(|(n, _, _)| Some(n) == bias.as_ref())
        .map(|(_, s, _)| s.len);
    match columns {
        // A norm: gain and offset are equally long.
        Some(columns) if columns == slot.len => None,
        Some(columns) => Some(columns),
        None => {
            // A convolution: its norm has one gain per output channel.
            let norm = name
                .replace("downsample.0", "downsample.1")
                .replace("conv", "bn");
            params
                .entries
                .iter()
                .find(|(n, _, _)| *n == norm)
                .map(|(_, s, _)| s.len)
        }
    }
}

/// Writes both towers as `open_clip_model.safetensors`: matrices in half
/// precision, norms and statistics in single.
pub fn write(path: &Path, towers: &Towers, image: &Params, text: &Params) -> Outcome<()> {
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, slot, _) in &image.entries {
        let values = slot.of(&towers.image);
        if name == "logit_scale" {
            tensors.insert(
                name.clone(),
                Tensor {
                    shape: vec![],
                    values: values.to_vec(),
                },
            );
            continue;
        }
        let tensor = match matrix_columns(image, name, *slot) {
            Some(out) if name.starts_with("attnpool") => Tensor {
                shape: vec![out, slot.len / out],
                values: turn(values, out),
            },
            Some(out) => filter(
                values,
                out,
                if name.contains("conv2") || !name.starts_with("layer") {
                    3
                } else {
                    1
                },
            ),
            None if name.ends_with("positional_embedding") => {
                let width = 32 * image_tower::WIDTH;
                Tensor {
                    shape: vec![slot.len / width, width],
                    values: values.to_vec(),
                }
            }
            None => Tensor {
                shape: vec![slot.len],
                values: values.to_vec(),
            },
        };
        tensors.insert(format!("visual.{name}"), tensor);
    }
    let mut at_moment = 0;
    for (name, channels) in norms() {
        for part in ["running_mean", "running_var"] {
            let values = towers.moments[at_moment..at_moment + channels].to_vec();
            tensors.insert(
                format!("visual.{name}.{part}"),
                Tensor {
                    shape: vec![channels],
                    values,
                },
            );
            at_moment += channels;
        }
    }
    let mut stacked: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (name, slot, _) in &text.entries {
        let values = slot.of(&towers.text);
        let turned = matrix_columns(text, name, *slot).map(|out| (out, turn(values, out)));
        if let Some((block, part)) = name.split_once("attn.")
            && let Some((_, kind)) = part
                .split_once('.')
                .filter(|(p, _)| ["q", "k", "v"].contains(p))
        {
            let values = turned.map_or(values.to_vec(), |(_, v)| v);
            stacked
                .entry(format!("{block}attn.in_proj_{kind}"))
                .or_default()
                .extend(values);
            continue;
        }
        let width = super::text_tower::WIDTH;
        let tensor = match turned {
            Some((out, values)) => Tensor {
                shape: vec![out, slot.len / out],
                values,
            },
            None if name.ends_with("embedding.weight")
                || name.ends_with("positional_embedding") =>
            {
                Tensor {
                    shape: vec![slot.len / width, width],
                    values: values.to_vec(),
                }
            }
            None if name == "text_projection" => Tensor {
                shape: vec![width, slot.len / width],
                values: values.to_vec(),
            },
            None => Tensor {
                shape: vec![slot.len],
                values: values.to_vec(),
            },
        };
        tensors.insert(name.clone(), tensor);
    }
    for (name, values) in stacked {
        let width = super::text_tower::WIDTH;
        let shape = if name.ends_with("weight") {
            vec![3 * width, width]
        } else {
            vec![3 * width]
        };
        tensors.insert(name, Tensor { shape, values });
    }
    save(path, &tensors)
}

/// A convolution `[size · size · in, out]` as `[out, in, size, size]`.
fn filter(values: &[f32], out: usize, size: usize) -> Tensor {
    let taps = size * size;
    let input = values.len() / out / taps;
    let mut turned = vec![0.0; values.len()];
    for tap in 0..taps {
        for i in 0..input {
            for o in 0..out {
                turned[(o * input + i) * taps + tap] = values[(tap * input + i) * out + o];
            }
        }
    }
    Tensor {
        shape: vec![out, input, size, size],
        values: turned,
    }
}

fn save(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Outcome<()> {
    let mut bytes: BTreeMap<&str, (Dtype, Vec<u8>)> = BTreeMap::new();
    for (name, tensor) in tensors {
        let half = tensor.shape.len() > 1;
        let raw = if half {
            tensor
                .values
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect()
        } else {
            tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        bytes.insert(name, (if half { Dtype::F16 } else { Dtype::F32 }, raw));
    }
    let mut views = Vec::new();
    for (name, (dtype, raw)) in &bytes {
        let view = TensorView::new(*dtype, tensors[*name].shape.clone(), raw)
            .map_err(|e| content(path, e))?;
        views.push((name.to_string(), view));
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let file = serialize(views, Some(metadata)).map_err(|e| content(path, e))?;
    std::fs::write(path, file).map_err(at(path))
}

/// Reads a file written by [`write`].
pub fn read(path: &Path, image: &Params, text: &Params) -> Outcome<Towers> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| content(path, e))?;
    let get = |name: &str| -> Outcome<Vec<f32>> {
        let view = file.tensor(name).map_err(|e| content(path, e))?;
        Ok(match view.dtype() {
            Dtype::F16 => view
                .data()
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            _ => view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        })
    };
    let mut towers = Towers {
        image: image.values.clone(),
        moments: Vec::new(),
        text: text.values.clone(),
    };
    for (name, slot, _) in &image.entries {
        if name == "logit_scale" {
            continue;
        }
        let values = get(&format!("visual.{name}"))?;
        let values = match matrix_columns(image, name, *slot) {
            Some(out) if name.starts_with("attnpool") => turn(&values, slot.len / out),
            Some(out) => {
                let taps = if name.contains("conv2") || !name.starts_with("layer") {
                    9
                } else {
                    1
                };
                // [out, in · taps] → [in, taps, out] → [taps, in, out]
                let rows = turn(&values, slot.len / out);
                let input = slot.len / out / taps;
                let order = (0..taps).flat_map(|t| (0..input).map(move |i| i * taps + t));
                order
                    .flat_map(|r| rows[r * out..(r + 1) * out].to_vec())
                    .collect()
            }
            None => values,
        };
        slot.of_mut(&mut towers.image).copy_from_slice(&values);
    }
    for (name, _) in norms() {
        towers
            .moments
            .extend(get(&format!("visual.{name}.running_mean"))?);
        towers
            .moments
            .extend(get(&format!("visual.{name}.running_var"))?);
    }
    for (name, slot, _) in &text.entries {
        let part = name.split_once("attn.").and_then(|(block, part)| {
            let (which, kind) = part.split_once('.')?;
            let third = ["q", "k", "v"].iter().position(|p| *p == which)?;
            Some((format!("{block}attn.in_proj_{kind}"), third))
        });
        let values = match part {
            Some((stack, third)) => get(&stack)?[third * slot.len..(third + 1) * slot.len].to_vec(),
            None => get(name)?,
        };
        let values = match matrix_columns(text, name, *slot) {
            Some(out) => turn(&values, slot.len / out),
            None => values,
        };
        slot.of_mut(&mut towers.text).copy_from_slice(&values);
    }
    Ok(towers)
}
