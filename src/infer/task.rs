//! One way of decoding embeddings.

use candle_core::Tensor;

use super::error::InferError;
use super::guide::Guide;
use super::label::Label;
use super::noun_decoder::NounDecoder;
use crate::decoder::DecoderError;
use crate::decoder::generate::{
    GenerationConfig, Generator, GreedyLoss, Guiding, Prediction, Stop,
};
use crate::evaluate::PredictionType;

/// Embeddings that are decoded together.
const BATCH: usize = 128;

/// A decoder, a generation configuration and a guide list; what does not
/// depend on the embeddings is computed once.
pub struct DecodingTask<'a> {
    decoder: &'a NounDecoder,
    guide: &'a Guide,
    generator: Generator<'a>,
    with_tokens: bool,
}

impl<'a> DecodingTask<'a> {
    pub(super) fn new(
        decoder: &'a NounDecoder,
        config: GenerationConfig,
        guide: &'a Guide,
    ) -> Result<Self, InferError> {
        let generator = Generator::new(
            decoder.decoder()?,
            config,
            (config.guide != Guiding::None).then(|| guide.trie()),
            config.prior.map(|_| decoder.vocabulary_trie()),
        )?;
        Ok(Self {
            decoder,
            guide,
            generator,
            with_tokens: false,
        })
    }

    /// The same with the tokens of each noun and their log-probabilities.
    #[must_use]
    pub fn with_tokens(mut self, with_tokens: bool) -> Self {
        self.with_tokens = with_tokens;
        self
    }

    /// The same that may be stopped while it decodes; it then fails with
    /// [`DecoderError::Interrupted`].
    #[must_use]
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.generator = self.generator.with_stop(stop);
        self
    }

    /// Its configuration.
    pub fn config(&self) -> &GenerationConfig {
        self.generator.config()
    }

    /// Its guide list.
    pub fn guide(&self) -> &'a Guide {
        self.guide
    }

    /// Labels of each of any number of embeddings `[B, F]`, best first: at most
    /// as many as the configuration says, fewer where the guide has fewer.
    ///
    /// # Errors
    /// Embeddings that do not fit the model, are not finite or all zero; a stop.
    pub fn labels(&self, embeds: &Tensor) -> Result<Vec<Vec<Label>>, InferError> {
        let rows = self.rows(embeds)?;
        let batch = self.generator.batch_size(BATCH);
        let mut labels = Vec::with_capacity(rows);
        for start in (0..rows).step_by(batch) {
            let part = embeds
                .narrow(0, start, batch.min(rows - start))
                .map_err(DecoderError::from)?;
            for hypotheses in self.generator.generate(&part)? {
                let predictions = self
                    .decoder
                    .reader()
                    .predictions(hypotheses, self.with_tokens)?;
                labels.push(
                    predictions
                        .into_iter()
                        .map(|prediction| self.label(prediction))
                        .collect::<Result<_, _>>()?,
                );
            }
        }
        Ok(labels)
    }

    /// Greedy decoding with its loss: labels as [`labels`](Self::labels), and
    /// the sums of the cross entropy of the raw logits at the generated tokens.
    ///
    /// # Errors
    /// Another method; otherwise as [`labels`](Self::labels).
    pub fn greedy_labels(
        &self,
        embeds: &Tensor,
        label_smoothing: f64,
    ) -> Result<(Vec<Label>, GreedyLoss), InferError> {
        let rows = self.rows(embeds)?;
        let mut labels = Vec::with_capacity(rows);
        let mut loss = GreedyLoss {
            sum: 0.0,
            basis: 0.0,
        };
        for start in (0..rows).step_by(BATCH) {
            let part = embeds
                .narrow(0, start, BATCH.min(rows - start))
                .map_err(DecoderError::from)?;
            let outputs = self.generator.greedy_with_logits(&part)?;
            let part = GreedyLoss::new(&outputs, None, label_smoothing);
            loss.sum += part.sum;
            loss.basis += part.basis;
            for output in outputs {
                let hypotheses = vec![output.hypothesis];
                let predictions = self
                    .decoder
                    .reader()
                    .predictions(hypotheses, self.with_tokens)?;
                for prediction in predictions {
                    labels.push(self.label(prediction)?);
                }
            }
        }
        Ok((labels, loss))
    }

    fn rows(&self, embeds: &Tensor) -> Result<usize, InferError> {
        let dim = self.decoder.dim();
        let shape = match *embeds.dims() {
            [rows, found] if found == dim => rows,
            ref other => {
                return Err(InferError::Dimension {
                    found: format!("{other:?}"),
                    expected: dim,
                });
            }
        };
        let values = embeds
            .to_dtype(candle_core::DType::F32)
            .and_then(|embeds| embeds.flatten_all()?.to_vec1::<f32>())
            .map_err(DecoderError::from)?;
        for (index, row) in values.chunks_exact(dim.max(1)).enumerate() {
            self.decoder
                .check_embedding(row)
                .map_err(|fault| InferError::BadEmbedding { index, fault })?;
        }
        Ok(shape)
    }

    fn label(&self, prediction: Prediction) -> Result<Label, InferError> {
        let written = prediction.text;
        let in_vocabulary = self.decoder.vocabulary().contains(&written);
        let kind = if self.guide.contains(&written) {
            PredictionType::Guide
        } else if in_vocabulary {
            PredictionType::Vocabulary
        } else {
            PredictionType::Other
        };
        let tokens = match prediction.token_log_probs {
            None => None,
            Some(log_probs) => Some(
                prediction
                    .tokens
                    .iter()
                    .zip(log_probs)
                    .map(|(&id, log_prob)| self.decoder.token(id, f64::from(log_prob)))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Label {
            noun: crate::nouns::collapse_spaces(&written),
            written,
            score: prediction.score,
            probability: self
                .config()
                .gives_probabilities()
                .then(|| prediction.score.exp()),
            kind,
            in_vocabulary,
            tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::infer::{CheckpointSource, NovicModel};

    #[test]
    fn a_stop_is_heard_within_a_batch() {
        let model = NovicModel::load(&CheckpointSource::Embedded).unwrap();
        let embeds = model.embedder().embed_texts(&["a fox", "a key"]).unwrap();
        for name in ["beam_k5_gn", "beam_k5_gp", "all_k5_gp"] {
            let config: GenerationConfig = name.parse().unwrap();
            let asked = Arc::new(AtomicUsize::new(0));
            let counted = asked.clone();
            // The second step of the first batch does not happen.
            let stop = Stop::when(move || counted.fetch_add(1, Ordering::Relaxed) == 1);
            let stopped = (model.clone().with_generation(config).unwrap()).with_stop(stop);
            let error = stopped.classify_embeddings(&embeds).unwrap_err();
            assert!(
                matches!(error, InferError::Decoder(DecoderError::Interrupted)),
                "{name}: {error}"
            );
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn wide_beams_are_refused_and_large_ones_decoded_in_parts() {
        let model = NovicModel::load(&CheckpointSource::Embedded).unwrap();
        let task = |name: &str| {
            let config: GenerationConfig = name.parse().unwrap();
            let task = model.decoder().task(config, model.guide());
            task.map(|task| task.generator.batch_size(BATCH))
        };
        assert_eq!(task("beam_k10_gp").unwrap(), BATCH);
        assert!(task("beam_k1000_gn").unwrap() < BATCH);
        let error = task("beam_k1000000_gn").unwrap_err().to_string();
        assert!(error.contains("use at most k"), "{error}");
    }
}
