//! Output projection, loss and accuracy (`decoder.md` 2 and 4). Logits are by
//! far the largest tensor of a step, so their gradient is written down here
//! and no operation on them is recorded; the choice of the counted positions
//! neither, because its gradient is a choice again.

use candle_core::{D, DType, Result, Tensor, Var};

use super::autocast::Autocast;
use super::network::Network;
use super::rows::PaddedRows;

/// Logits of the counted positions and what they are compared with.
pub(super) struct Output {
    /// States of all positions `[A·S, E]`, recorded.
    all_states: Tensor,
    /// Of the counted ones `[N, E]`.
    states: Tensor,
    /// Counted position of each state, N for none, `[A·S]`.
    predicted: Tensor,
    /// `[V, E]`
    weight: Tensor,
    /// `[N, V]`
    logits: Tensor,
    /// Target ids `[N, 1]`.
    targets: Tensor,
    /// Weights of the positions.
    weights: Vec<f64>,
    label_smoothing: f64,
    autocast: Autocast,
    /// Numbers of the parameters weight and bias.
    parameters: (usize, Option<usize>),
}

impl Output {
    /// Projects those of `all_states` `[A·S, E]` that predict the N counted
    /// positions of `rows`, which have these ids and weights.
    pub fn new(
        network: &Network<'_>,
        all_states: Tensor,
        rows: &PaddedRows,
        targets: Vec<u32>,
        weights: Vec<f64>,
        label_smoothing: f64,
    ) -> Result<Self> {
        let decoder = network.decoder;
        let device = decoder.device();
        let counted = Tensor::new(rows.states.as_slice(), device)?;
        let states = all_states.detach().index_select(&counted, 0)?;
        let (vocab_size, output) = (decoder.vocab_size(), &decoder.layout().output);
        let leading = |index: usize| {
            let values = decoder.parameters()[index].as_detached_tensor();
            values.narrow(0, 0, vocab_size)
        };
        let weight = leading(output.weight)?;
        let autocast = network.autocast;
        let mut logits = autocast.product_with_transposed(&states, &weight)?;
        if let Some(bias) = output.bias {
            logits = logits.broadcast_add(&leading(bias)?)?;
        }
        let shape = (targets.len(), 1);
        Ok(Self {
            targets: Tensor::from_vec(targets, shape, device)?,
            predicted: Tensor::new(rows.predicted.as_slice(), device)?,
            all_states,
            states,
            weight,
            logits,
            weights,
            label_smoothing,
            autocast,
            parameters: (output.weight, output.bias),
        })
    }

    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// Weighted sum of `−(1−ε)·log p[target] − ε/V·Σ log p`, f64.
    pub fn loss_sum(&self) -> Result<Tensor> {
        let logits = (self.logits).broadcast_sub(&self.logits.max_keepdim(D::Minus1)?)?;
        let of_target = logits.gather(&self.targets, 1)?.squeeze(1)?;
        // A sure prediction has a loss of almost log(1): f32 would lose it.
        let normaliser = logits.exp()?.to_dtype(DType::F64)?.sum(1)?.log()?;
        let of_target = of_target.to_dtype(DType::F64)?;
        let mut losses = (normaliser - (of_target * (1.0 - self.label_smoothing))?)?;
        if self.label_smoothing > 0.0 {
            let mean = logits.mean(D::Minus1)?.to_dtype(DType::F64)?;
            losses = (losses - (mean * self.label_smoothing)?)?;
        }
        let weights = Tensor::new(self.weights.as_slice(), losses.device())?;
        (losses * weights)?.sum_all()
    }

    /// Whether the target has the largest logit, `[N]` of 0 and 1. Of equal
    /// logits that of the lowest id counts as the largest, which the arg max of
    /// a device does not promise.
    pub fn correct(&self) -> Result<Tensor> {
        let of_target = self.logits.gather(&self.targets, 1)?;
        let larger = self.logits.broadcast_gt(&of_target)?;
        let equal = self.logits.broadcast_eq(&of_target)?;
        let ids = Tensor::arange(0, self.logits.dim(1)? as u32, self.logits.device())?;
        let before = ids.unsqueeze(0)?.broadcast_lt(&self.targets)?;
        let better = (larger + (equal * before)?)?;
        better.max(1)?.eq(0u8)
    }

    /// Gradients of `scale`·(loss sum) for all `parameters`.
    pub fn backward(&self, parameters: &[Var], scale: f64) -> Result<Vec<Option<Tensor>>> {
        let gradient = self.logit_gradient(scale)?; // [N, V]
        let of_states = self.autocast.product(&gradient, &self.weight)?;
        let of_states = of_states.pad_with_zeros(0, 0, 1)?;
        let of_states = of_states.index_select(&self.predicted, 0)?;
        // The derivative of this product by the states is their gradient.
        let mut found = (&self.all_states * of_states)?.backward()?;
        let mut gradients = (parameters.iter())
            .map(|parameter| match found.remove(parameter) {
                Some(gradient) => Ok(gradient),
                None => parameter.zeros_like(),
            })
            .collect::<Result<Vec<_>>>()?;
        let (weight, bias) = self.parameters;
        let of_weight = self.autocast.product(&gradient.t()?, &self.states)?;
        add_to_leading(&mut gradients[weight], &of_weight)?;
        if let Some(bias) = bias {
            add_to_leading(&mut gradients[bias], &gradient.sum(0)?)?;
        }
        Ok(gradients.into_iter().map(|g| Some(g.detach())).collect())
    }

    /// `scale·weight·(p − (1−ε)·[target] − ε/V)`
    fn logit_gradient(&self, scale: f64) -> Result<Tensor> {
        let device = self.logits.device();
        let factors: Vec<f32> = (self.weights.iter())
            .map(|weight| (weight * scale) as f32)
            .collect();
        let factors = Tensor::from_vec(factors, (self.weights.len(), 1), device)?;
        let mut gradient = candle_nn::ops::softmax_last_dim(&self.logits)?;
        if self.label_smoothing > 0.0 {
            gradient = (gradient - self.label_smoothing / self.logits.dim(1)? as f64)?;
        }
        let at_target = (&factors * (self.label_smoothing - 1.0))?;
        gradient
            .broadcast_mul(&factors)?
            .scatter_add(&self.targets, &at_target, 1)
    }
}

/// Adds to the first rows of a gradient.
fn add_to_leading(sum: &mut Tensor, part: &Tensor) -> Result<()> {
    let behind = sum.dim(0)? - part.dim(0)?;
    *sum = (&*sum + part.pad_with_zeros(0, 0, behind)?)?;
    Ok(())
}
