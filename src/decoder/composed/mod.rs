//! The decoder from composed tensor operations, with the gradients of the
//! tensor library: what a training step runs on where the fused kernels of the
//! CPU cannot, on a GPU. It gives the same numbers on any device.
//!
//! [`Decoder::forward_composed`] is the counterpart of [`Decoder::forward`].
//! Every target is a row of its own with prefix and tokens, padded to the
//! longest one; what is padded is behind what counts, where the causal mask
//! hides it. Losses and counts stay on the device until they are asked for.

mod autocast;
mod dropout;
mod network;
mod output;
mod rows;

use candle_core::{DType, Tensor};

use crate::cache::batch::TargetBatch;

use super::error::DecoderError;
use super::loss::LossConfig;
use super::model::{Decoder, DropoutSites};
use super::packing::Targets;

pub use autocast::Autocast;
use network::Network;
use output::Output;
use rows::PaddedRows;

/// What [`Decoder::forward_composed`] computes and how.
#[derive(Default)]
pub struct ComposedOptions {
    /// Loss; [`Decoder::loss_config`] gives that of the configuration.
    pub loss: LossConfig,
    /// Restrict all results to the last column.
    pub only_last_column: bool,
    /// Keep what [`ComposedForward::backward`] needs.
    pub gradients: bool,
    /// Dropout of training; absent in evaluation.
    pub dropout: Option<DropoutSites>,
    /// Precision of matrix products.
    pub autocast: Autocast,
}

/// Result of a composed forward pass over `A` target rows and `C` columns (one
/// column if restricted to the last); tensors are on the decoder's device.
pub struct ComposedForward {
    /// Columns of the masks below.
    pub columns: usize,
    /// Effective padding `[A, C]`.
    pub padding: Vec<bool>,
    /// Flat index into `[A, C]` of each counted position.
    pub places: Vec<u32>,
    /// Weighted number of counted positions.
    pub basis: f64,
    /// Weighted sum of cross entropies, f64 scalar.
    pub loss_sum: Tensor,
    /// Whether the prediction at each counted position is right, `[N]` of 0 and
    /// 1.
    pub correct: Tensor,
    parameters: Vec<candle_core::Var>,
    output: Option<Output>,
    gradients: bool,
}

impl ComposedForward {
    /// Counted positions.
    pub fn tokens(&self) -> usize {
        self.places.len()
    }

    /// Number of right predictions, f64 scalar.
    ///
    /// # Errors
    /// What the device says.
    pub fn correct_count(&self) -> Result<Tensor, DecoderError> {
        Ok(self.correct.to_dtype(DType::F64)?.sum_all()?)
    }

    /// Logits `[N, V]` of the counted positions; none if nothing counts.
    pub fn logits(&self) -> Option<&Tensor> {
        self.output.as_ref().map(Output::logits)
    }

    /// Gradients of `scale`·(loss sum) in the order of
    /// [`Decoder::parameters`]. Needs [`ComposedOptions::gradients`]; all
    /// absent otherwise or if nothing counts.
    ///
    /// # Errors
    /// What the device says.
    pub fn backward(self, scale: f64) -> Result<Vec<Option<Tensor>>, DecoderError> {
        match self.output.filter(|_| self.gradients) {
            Some(output) => Ok(output.backward(&self.parameters, scale)?),
            None => Ok(vec![None; self.parameters.len()]),
        }
    }
}

impl Decoder {
    /// Logits, loss and accuracy of a batch on the device of the parameters:
    /// `embeds` `[B, F]` of any length and on any device, and targets.
    ///
    /// # Errors
    /// A batch that does not fit the model; what the device says.
    pub fn forward_composed(
        &self,
        embeds: &Tensor,
        batch: &TargetBatch,
        options: ComposedOptions,
    ) -> Result<ComposedForward, DecoderError> {
        let samples = self.check_embeds(embeds)?;
        let targets = Targets::new(
            batch,
            samples,
            self.architecture().dimensions,
            options.loss.num_end_loss,
        )?;
        let all = batch.columns;
        let first = if options.only_last_column { all - 1 } else { 0 };
        let rows = PaddedRows::new(batch, &targets, self.architecture().prefix_len, first);
        let device = self.device();
        let weights: Vec<f64> = (rows.places.iter())
            .map(|&place| match &batch.weights {
                Some(weights) => f64::from(weights[place as usize / all]),
                None => 1.0,
            })
            .collect();
        let basis = weights.iter().sum();
        let (mut loss_sum, mut correct, mut output) = (
            Tensor::zeros((), DType::F64, device)?,
            Tensor::zeros(0, DType::U8, device)?,
            None,
        );
        if !rows.places.is_empty() {
            let mut network =
                Network::new(self, options.gradients, options.dropout, options.autocast);
            let states = network.states(&embeds.to_device(device)?, &rows)?;
            let ids: Vec<u32> = (rows.places.iter())
                .map(|&place| batch.ids[place as usize])
                .collect();
            let made = Output::new(
                &network,
                states,
                &rows,
                ids,
                weights,
                options.loss.label_smoothing,
            )?;
            loss_sum = made.loss_sum()?;
            correct = made.correct()?;
            output = Some(made);
        }
        Ok(ComposedForward {
            columns: all - first,
            padding: targets.padding_from(all, first),
            places: (rows.places.iter())
                .map(|&place| Targets::place_from(place, all, first))
                .collect(),
            basis,
            loss_sum,
            correct,
            parameters: self.parameters().to_vec(),
            output,
            gradients: options.gradients,
        })
    }
}
