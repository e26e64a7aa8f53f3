//! Exact key-value cache of decoding (`decoder.md` section 12).
//!
//! Keys and values of a sample's prefix are computed once and shared by all
//! its candidates; those of a token once per candidate that adds it. A
//! candidate is a list of pages, so reordering beams copies nothing.

use std::sync::Arc;

use candle_core::Tensor;

use crate::decoder::error::DecoderError;
use crate::decoder::model::{Decoder, Pass};
use crate::ops::tape::{
    CachedKeys, InputRows, PackedSequences, PageRef, Value, Values, cached_attention,
};

/// One new row: a candidate of a sample and the token it just added.
pub(super) struct NewRow<'a> {
    pub sample: u32,
    pub token: u32,
    /// Pages of the tokens before it.
    pub pages: &'a [PageRef],
}

/// Cached projections of a batch, per layer.
pub(super) struct KeyValueCache<'a> {
    decoder: &'a Decoder,
    prefix: Vec<Value>,
    steps: Vec<Vec<Value>>,
}

impl<'a> KeyValueCache<'a> {
    /// Runs the prefixes of `embeds` `[B, F]`; also returns the logits `[B, V]`
    /// of the first token.
    pub fn start(decoder: &'a Decoder, embeds: &Tensor) -> Result<(Self, Tensor), DecoderError> {
        let samples = decoder.check_embeds(embeds)?;
        let architecture = decoder.architecture();
        let prefix_len = architecture.prefix_len;
        let mut pass = Pass::new(decoder, false, None);
        let prefix = pass.prefix(embeds)?;
        let rows = InputRows {
            prefix_rows: (0..(samples * prefix_len) as u32).collect(),
            prefix_positions: (0..samples).flat_map(|_| 0..prefix_len as u32).collect(),
            ..InputRows::default()
        };
        let sequences = Arc::new(PackedSequences {
            heads: architecture.heads,
            prefix_len,
            causal_prefix: architecture.strictly_causal,
            group_sizes: vec![0; samples],
            lengths: Vec::new(),
        });
        let last: Vec<u32> = (1..=samples)
            .map(|end| (end * prefix_len - 1) as u32)
            .collect();
        let mut projections = Vec::with_capacity(architecture.layers);
        let x = pass.input(&prefix, &rows)?;
        let x = pass.layers(x, Some(&last), |pass, _, qkv| {
            projections.push(qkv.clone());
            Ok(pass.tape.attention(qkv, &sequences, None)?)
        })?;
        let logits = pass.logits(&x)?.into_tensor()?;
        let cache = Self {
            decoder,
            steps: vec![Vec::new(); projections.len()],
            prefix: projections,
        };
        Ok((cache, logits))
    }

    /// Computes new rows and returns the logits `[R, V]` of the tokens behind
    /// them. Row `r` becomes page `r` of step [`Self::last_step`].
    pub fn extend(&mut self, rows: &[NewRow<'_>]) -> Result<Tensor, DecoderError> {
        let architecture = self.decoder.architecture();
        let prefix_len = architecture.prefix_len;
        let samples: Vec<u32> = rows.iter().map(|row| row.sample).collect();
        let pages: Vec<&[PageRef]> = rows.iter().map(|row| row.pages).collect();
        let input = InputRows {
            tokens: rows.iter().map(|row| row.token).collect(),
            token_positions: rows
                .iter()
                .map(|row| (prefix_len + row.pages.len()) as u32)
                .collect(),
            ..InputRows::default()
        };
        let mut pass = Pass::new(self.decoder, false, None);
        let none = Tensor::zeros(
            (0, architecture.hidden_dim),
            candle_core::DType::F32,
            &candle_core::Device::Cpu,
        )?;
        let none = pass.tape.constant(none);
        let x = pass.input(&none, &input)?;
        let (prefix, steps) = (&self.prefix, &mut self.steps);
        let x = pass.layers(x, None, |pass, layer, qkv| {
            let out = {
                let held = steps[layer]
                    .iter()
                    .map(Value::values)
                    .collect::<Result<Vec<Values<'_>>, _>>()?;
                let prefix = prefix[layer].values()?;
                let cache = CachedKeys {
                    heads: architecture.heads,
                    prefix_len,
                    prefix: &prefix,
                    steps: held.iter().map(|step| &**step).collect(),
                };
                cached_attention(&cache, qkv, &samples, &pages)?
            };
            steps[layer].push(qkv.clone());
            Ok(pass.tape.constant(out))
        })?;
        Ok(pass.logits(&x)?.into_tensor()?)
    }

    /// Number of the latest step.
    pub fn last_step(&self) -> u32 {
        (self.steps.first().map_or(0, Vec::len) as u32).saturating_sub(1)
    }
}
