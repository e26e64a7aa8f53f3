//! From embeddings and tokens to the states that predict (`decoder.md` 2).

use candle_core::{D, DType, Result, Tensor};

use super::autocast::Autocast;
use super::dropout::dropped;
use super::rows::PaddedRows;
use crate::decoder::model::{Decoder, DropoutSites};
use crate::decoder::parameters::{LayerIndex, LinearIndex, NormIndex};
use crate::ops::tape::{Activation, Dropout};

/// ε of the layer norms.
const NORM_EPSILON: f64 = 1e-5;
/// Smallest length an embedding is divided by.
const SMALLEST_LENGTH: f32 = 1e-12;

/// One run through the layers.
pub(super) struct Network<'a> {
    pub decoder: &'a Decoder,
    pub autocast: Autocast,
    gradients: bool,
    dropout: Option<DropoutSites>,
}

/// Sizes of the rows on their way through the layers.
#[derive(Clone, Copy)]
struct Shape {
    /// Rows `A`.
    rows: usize,
    /// Positions `S` of a row.
    positions: usize,
}

impl<'a> Network<'a> {
    pub fn new(
        decoder: &'a Decoder,
        gradients: bool,
        dropout: Option<DropoutSites>,
        autocast: Autocast,
    ) -> Self {
        Self {
            decoder,
            autocast,
            gradients,
            dropout,
        }
    }

    /// Final states `[A·S, E]` of all positions. `embeds` `[B, F]`.
    pub fn states(&mut self, embeds: &Tensor, rows: &PaddedRows) -> Result<Tensor> {
        let device = self.decoder.device();
        let shape = Shape {
            rows: rows.samples.len(),
            positions: self.decoder.architecture().prefix_len + rows.tokens,
        };
        let mask = self.mask(shape.positions)?;
        let samples = Tensor::new(rows.samples.as_slice(), device)?;
        let mut x = self.input(&embeds.index_select(&samples, 0)?, rows, shape)?;
        for layer in &self.decoder.layout().layers {
            x = self.layer(x, layer, shape, &mask)?;
        }
        match &self.decoder.layout().final_norm {
            Some(norm) => self.norm(&x, norm),
            None => Ok(x),
        }
    }

    /// A parameter; with gradients, as a variable.
    pub fn parameter(&self, index: usize) -> Tensor {
        let var = &self.decoder.parameters()[index];
        match self.gradients {
            true => var.as_tensor().clone(),
            false => var.as_detached_tensor(),
        }
    }

    fn linear(&self, x: &Tensor, linear: &LinearIndex) -> Result<Tensor> {
        let weight = self.parameter(linear.weight);
        let y = self.autocast.product_with_transposed(x, &weight)?;
        match linear.bias {
            Some(bias) => y.broadcast_add(&self.parameter(bias)),
            None => Ok(y),
        }
    }

    fn norm(&self, x: &Tensor, norm: &NormIndex) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let y = centred
            .broadcast_div(&(variance + NORM_EPSILON)?.sqrt()?)?
            .broadcast_mul(&self.parameter(norm.weight))?;
        match norm.bias {
            Some(bias) => y.broadcast_add(&self.parameter(bias)),
            None => Ok(y),
        }
    }

    fn site(&mut self, rate: f64) -> Option<Dropout> {
        self.dropout.as_mut().and_then(|sites| sites.next(rate))
    }

    fn layer_site(&mut self) -> Option<Dropout> {
        self.site(self.decoder.layer_dropout)
    }

    /// 0 where a position sees another, −∞ elsewhere: `[S, S]`.
    fn mask(&self, positions: usize) -> Result<Tensor> {
        let architecture = self.decoder.architecture();
        let values: Vec<f32> = (0..positions * positions)
            .map(
                |at| match architecture.attends(at / positions, at % positions) {
                    true => 0.0,
                    false => f32::NEG_INFINITY,
                },
            )
            .collect();
        Tensor::from_vec(values, (positions, positions), self.decoder.device())
    }

    /// Embeddings `[A, F]` to prefixes `[A, P, E]`.
    fn prefix(&self, embeds: &Tensor) -> Result<Tensor> {
        let (architecture, layout) = (self.decoder.architecture(), self.decoder.layout());
        let length = embeds.sqr()?.sum_keepdim(1)?.sqrt()?;
        let mut x = embeds.broadcast_div(&length.maximum(SMALLEST_LENGTH)?)?;
        x = self.linear(&x, &layout.mlp_first)?;
        if let Some(norm) = &layout.mlp_norm {
            x = self.norm(&x, norm)?;
        }
        if let (Some(hidden), Some(last)) = (architecture.mlp, &layout.mlp_last) {
            x = self.linear(&activated(&x, hidden.activation)?, last)?;
        }
        let dims = (
            embeds.dim(0)?,
            architecture.prefix_len,
            architecture.hidden_dim,
        );
        x.reshape(dims)
    }

    /// Prefixes of embeddings `[A, F]` and token embeddings, with their
    /// positions, `[A·S, E]`.
    fn input(&mut self, embeds: &Tensor, rows: &PaddedRows, shape: Shape) -> Result<Tensor> {
        let (device, layout) = (self.decoder.device(), self.decoder.layout());
        let width = self.decoder.architecture().hidden_dim;
        let mut x = self.prefix(embeds)?;
        if rows.tokens > 0 {
            let ids = Tensor::new(rows.ids.as_slice(), device)?;
            let tokens = self.parameter(layout.token_table).index_select(&ids, 0)?;
            let tokens = tokens.reshape((shape.rows, rows.tokens, width))?;
            x = Tensor::cat(&[&x, &tokens], 1)?;
        }
        let positions = self.parameter(layout.positions);
        let x = x.broadcast_add(&positions.narrow(0, 0, shape.positions)?)?;
        let site = self.site(self.decoder.input_dropout);
        dropped(&x, site)?.reshape((shape.rows * shape.positions, width))
    }

    /// One layer over `[A·S, E]`.
    fn layer(
        &mut self,
        mut x: Tensor,
        layer: &LayerIndex,
        shape: Shape,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let architecture = self.decoder.architecture();
        let pre_norm = architecture.norm_first;
        let scale = |number: usize| {
            let (first, second) = layer.scales?;
            Some(if number == 0 { first } else { second })
        };

        let normed = match pre_norm {
            true => self.norm(&x, &layer.norm1)?,
            false => x.clone(),
        };
        let qkv = self.linear(&normed, &layer.in_proj)?; // [A·S, 3E]
        let branch = self.attention(&qkv, shape, mask)?; // [A·S, E]
        let branch = self.linear(&branch, &layer.out_proj)?;
        x = self.residual(&x, &branch, scale(0))?;
        if !pre_norm {
            x = self.norm(&x, &layer.norm1)?;
        }

        let normed = match pre_norm {
            true => self.norm(&x, &layer.norm2)?,
            false => x.clone(),
        };
        let inner = self.linear(&normed, &layer.linear1)?; // [A·S, D]
        let site = self.layer_site();
        let inner = dropped(&activated(&inner, architecture.activation)?, site)?;
        let branch = self.linear(&inner, &layer.linear2)?;
        x = self.residual(&x, &branch, scale(1))?;
        match pre_norm {
            true => Ok(x),
            false => self.norm(&x, &layer.norm2),
        }
    }

    /// `softmax(q·kᵀ/√d + mask)·v` of every head: `[A·S, 3E]` → `[A·S, E]`.
    fn attention(&mut self, qkv: &Tensor, shape: Shape, mask: &Tensor) -> Result<Tensor> {
        let Shape { rows, positions } = shape;
        let heads = self.decoder.architecture().heads;
        let width = self.decoder.architecture().hidden_dim;
        let dim = width / heads;
        let parts = qkv
            .reshape((rows, positions, 3, heads, dim))?
            .permute((2, 0, 3, 1, 4))?
            .contiguous()?; // [3, A, H, S, d]
        let (query, key, value) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
        let scores = self.autocast.product_with_transposed(&query, &key)?;
        let scores = (scores / (dim as f64).sqrt())?.broadcast_add(mask)?;
        let weights = softmax(&scores)?;
        let site = self.layer_site();
        let mixed = self.autocast.product(&dropped(&weights, site)?, &value)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?;
        mixed.reshape((rows * positions, width))
    }

    /// `x + scale·dropout(branch)`
    fn residual(&mut self, x: &Tensor, branch: &Tensor, scale: Option<usize>) -> Result<Tensor> {
        let site = self.layer_site();
        let branch = dropped(branch, site)?;
        match scale {
            Some(scale) => x + branch.broadcast_mul(&self.parameter(scale))?,
            None => x + branch,
        }
    }
}

fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::Tanh => x.tanh(),
    }
}

/// Softmax over the last dimension. The largest value only keeps numbers small
/// and takes no part in gradients.
fn softmax(x: &Tensor) -> Result<Tensor> {
    debug_assert_eq!(x.dtype(), DType::F32);
    let exponentials = x
        .broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?
        .exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}
