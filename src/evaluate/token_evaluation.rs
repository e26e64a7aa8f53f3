//! One pass of a decoder over an embedding dataset (`training.md` 4).

use candle_core::{Device, Tensor};

use crate::cache::batch::TargetLayout;
use crate::cache::{Loader, TargetConfig};
use crate::decoder::generate::NounTrie;
use crate::decoder::{Decoder, DropoutSites, DudDecoder, ForwardOptions};

use super::error::{EvaluateError, Result};
use super::token_accuracy::{TokenResults, TokenSums};

/// What is evaluated.
pub enum Subject {
    /// A decoder.
    Decoder(Box<Decoder>),
    /// The decoder that looks at its targets.
    Dud(DudDecoder),
}

/// How.
pub struct TokenEvaluation<'a> {
    /// The model.
    pub subject: &'a Subject,
    /// Predictions are restricted to continuations of the true prefix in it.
    pub guide: Option<&'a NounTrie>,
    /// Seed of dropout that is kept on.
    pub dropout_seed: Option<u64>,
    /// End tokens that count.
    pub num_end_loss: usize,
    /// Samples without any target are left out, not wrong.
    pub leaves_out_absent: bool,
}

/// The first batch, for people.
pub struct FirstBatch {
    /// Embeddings `[B, F]`.
    pub embeds: Tensor,
    /// Token ids of the first target of each sample.
    pub targets: Vec<Vec<u32>>,
    /// Whether each sample counts as right.
    pub right: Vec<bool>,
}

impl TokenEvaluation<'_> {
    /// All samples of `loader`, whose tokens are those of the model, in file
    /// order. `data` is the dataset's own target configuration; `after` is
    /// called with the number of samples done and may stop the pass.
    ///
    /// # Errors
    /// Data that cannot be read, without targets, or longer than the model's
    /// nouns.
    pub fn run(
        &self,
        loader: &Loader,
        data: &TargetConfig,
        mut after: impl FnMut(u64) -> bool,
    ) -> Result<(TokenResults, Option<FirstBatch>)> {
        let mut sums = TokenSums::new(data.token_length, self.leaves_out_absent);
        let mut first = None;
        let mut done = 0;
        for (number, batch) in (0..).zip(loader.epoch(0, 0, u64::MAX)) {
            let batch = batch?;
            let targets = batch.targets.ok_or(EvaluateError::NoTargets)?;
            let shape = (batch.samples, batch.dim);
            let embeds = Tensor::from_vec(batch.embeds, shape, &Device::Cpu)?;
            let right = match self.subject {
                Subject::Decoder(decoder) => {
                    let dropout = self
                        .dropout_seed
                        .map(|seed| DropoutSites::new(seed, 0, number, 1.0));
                    let options = ForwardOptions {
                        loss: decoder.loss_config(),
                        guide: self.guide,
                        dropout,
                        ..ForwardOptions::default()
                    };
                    let forward = decoder.forward(&embeds, &targets, options)?;
                    sums.add(&forward, targets.layout, batch.samples)
                }
                Subject::Dud(dud) => {
                    let prediction = dud.predict(&targets, batch.samples, self.num_end_loss)?;
                    sums.add_dud(&prediction, targets.layout, batch.samples)
                }
            };
            if number == 0 {
                let rows_per_sample = match targets.layout {
                    TargetLayout::Multi { targets } => targets,
                    TargetLayout::Single | TargetLayout::MultiFirst { .. } => 1,
                };
                let stride = rows_per_sample * targets.columns;
                let ids =
                    |sample: usize| targets.ids[sample * stride..][..targets.columns].to_vec();
                first = Some(FirstBatch {
                    embeds,
                    targets: (0..batch.samples).map(ids).collect(),
                    right,
                });
            }
            done += batch.samples as u64;
            if !after(done) {
                break;
            }
        }
        Ok((sums.results(), first))
    }
}
