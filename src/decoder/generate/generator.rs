//! Decoding as a configuration says.

use candle_core::Tensor;

use crate::decoder::error::DecoderError;
use crate::decoder::model::Decoder;

use super::alternatives;
use super::beam::{self, Survivor};
use super::config::{GenerationConfig, Method};
use super::exhaustive::{self, NounTerms, Plan};
use super::greedy::{self, GreedyOutput};
use super::hypothesis::Hypothesis;
use super::memory::Memory;
use super::stop::Stop;
use super::successors::Rules;
use super::trie::NounTrie;

/// A checked configuration with its model and noun trees. What does not depend
/// on the embeddings is computed once.
pub struct Generator<'a> {
    decoder: &'a Decoder,
    config: GenerationConfig,
    rules: Rules<'a>,
    plan: Option<Plan<'a>>,
    memory: Memory,
    stop: Stop,
}

impl<'a> Generator<'a> {
    /// `guide` restricts the output, `vocabulary` is the table of priors; each
    /// is read only if the configuration uses it.
    ///
    /// # Errors
    /// Combinations that have no meaning, missing tables; beams that are too wide
    /// for any memory.
    pub fn new(
        decoder: &'a Decoder,
        config: GenerationConfig,
        guide: Option<&'a NounTrie>,
        vocabulary: Option<&'a NounTrie>,
    ) -> Result<Self, DecoderError> {
        config.check(guide.is_some(), vocabulary.is_some())?;
        let max_len = decoder.architecture().dimensions.token_length;
        for trie in [guide, vocabulary].into_iter().flatten() {
            let vocab_size = decoder.architecture().dimensions.vocab_size;
            if trie.max_len() > max_len || trie.max_token() as usize >= vocab_size {
                return Err(DecoderError::Nouns {
                    reason: format!(
                        "it was tokenized for another model: this one has nouns of at most {max_len} tokens from {vocab_size}"
                    ),
                });
            }
        }
        let rules = Rules::new(&config, guide, vocabulary);
        let memory = Memory::of(decoder.architecture(), &config, &rules);
        if let Some(reason) = memory.excess() {
            return Err(DecoderError::Generation {
                name: config.to_string(),
                reason,
            });
        }
        let plan = match (config.method, rules.guide) {
            (Method::All, Some(guide)) => Some(Plan::new(guide, rules)),
            _ => None,
        };
        Ok(Self {
            decoder,
            config,
            rules,
            plan,
            memory,
            stop: Stop::default(),
        })
    }

    /// The same that may be stopped while it decodes.
    #[must_use]
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// How many embeddings to decode together, at most `most`: fewer where beams
    /// are so wide that they take much memory.
    pub fn batch_size(&self, most: usize) -> usize {
        self.memory.together(most)
    }

    /// The configuration.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// Nouns of each sample of `embeds` `[B, F]`, best first: at most `topk`,
    /// fewer where fewer are possible.
    ///
    /// # Errors
    /// Embeddings that do not fit the model; a model whose output is not a
    /// number; [`DecoderError::Interrupted`] if it was told to stop.
    pub fn generate(&self, embeds: &Tensor) -> Result<Vec<Vec<Hypothesis>>, DecoderError> {
        self.generate_observed(embeds, |_, _, _| {})
    }

    /// As [`generate`](Self::generate); `observe(step, sample, survivors)` sees
    /// every step of a beam search, steps from 1.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_observed(
        &self,
        embeds: &Tensor,
        observe: impl FnMut(usize, usize, &[Survivor]),
    ) -> Result<Vec<Vec<Hypothesis>>, DecoderError> {
        if self.decoder.check_embeds(embeds)? == 0 {
            return Ok(Vec::new());
        }
        match (self.config.method, &self.plan) {
            (Method::All, Some(plan)) => self.exhaustive(plan, embeds, self.memory.most_rows()),
            (Method::Greedy, _) => {
                let outputs = greedy::search(self.decoder, &self.rules, embeds, false)?;
                Ok(outputs
                    .into_iter()
                    .map(|output| vec![output.hypothesis])
                    .collect())
            }
            _ => {
                let topk = self.config.topk;
                beam::search(self.decoder, &self.rules, topk, embeds, &self.stop, observe)
            }
        }
    }

    /// All guide nouns of each sample, as many samples together as keep at most
    /// `most_rows` projected tokens.
    fn exhaustive(
        &self,
        plan: &Plan<'_>,
        embeds: &Tensor,
        most_rows: usize,
    ) -> Result<Vec<Vec<Hypothesis>>, DecoderError> {
        let samples = embeds.dim(0)?;
        let mut together = samples;
        let mut found = Vec::with_capacity(samples);
        while found.len() < samples {
            let count = together.min(samples - found.len());
            let part = embeds.narrow(0, found.len(), count)?;
            let topk = self.config.topk;
            match exhaustive::search(self.decoder, plan, topk, &part, most_rows, &self.stop)? {
                Some(part) => found.extend(part),
                None => together = (count / 4).max(1),
            }
        }
        Ok(found)
    }

    /// Greedy decoding that keeps the logits of every generated token.
    ///
    /// # Errors
    /// Another method; otherwise as [`generate`](Self::generate).
    pub fn greedy_with_logits(&self, embeds: &Tensor) -> Result<Vec<GreedyOutput>, DecoderError> {
        if self.config.method != Method::Greedy {
            return Err(DecoderError::Generation {
                name: self.config.to_string(),
                reason: "logits are kept by greedy decoding only".to_owned(),
            });
        }
        if self.decoder.check_embeds(embeds)? == 0 {
            return Ok(Vec::new());
        }
        greedy::search(self.decoder, &self.rules, embeds, true)
    }

    /// For each place of `tokens` of a noun read from `embed` `[1, F]`, the
    /// tokens that may stand there behind those before it, with their
    /// log-probabilities, best first; with a guide only those that continue one
    /// of its nouns.
    ///
    /// # Errors
    /// Embeddings that do not fit the model, tokens that are none.
    pub fn alternatives(
        decoder: &Decoder,
        embed: &Tensor,
        tokens: &[u32],
        guide: Option<&NounTrie>,
    ) -> Result<Vec<Vec<(u32, f64)>>, DecoderError> {
        alternatives::alternatives(decoder, embed, tokens, guide)
    }

    /// Terms of exhaustive scores that do not depend on the embedding, one per
    /// guide noun; absent for other methods.
    pub fn noun_terms(&self) -> Option<Vec<NounTerms>> {
        self.plan.as_ref().map(Plan::noun_terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Dimensions;

    #[test]
    fn samples_that_take_too_much_memory_together_are_parted() {
        let dimensions = Dimensions {
            embed_dim: 8,
            vocab_size: 12,
            token_length: 4,
        };
        let mut model = crate::config::schema::Config::default().model;
        model.hidden_dim = 16;
        model.layers = 1;
        model.heads = 2;
        let decoder = Decoder::new(&model, dimensions, 3).unwrap();
        let nouns: Vec<[u32; 4]> = (0..300)
            .map(|i| [1 + i % 11, 1 + i / 11 % 11, 1 + i / 121, 0])
            .collect();
        let trie = NounTrie::new(&nouns).unwrap();
        let config = "all_k5_gr".parse().unwrap();
        let generator = Generator::new(&decoder, config, Some(&trie), None).unwrap();
        let values: Vec<f32> = (0..9 * 8).map(|i| (i as f32 * 0.7).sin()).collect();
        let embeds = Tensor::from_vec(values, (9, 8), &candle_core::Device::Cpu).unwrap();
        let together = generator.generate(&embeds).unwrap();
        let plan = generator.plan.as_ref().unwrap();
        for most_rows in [0, 40, 200] {
            let parted = generator.exhaustive(plan, &embeds, most_rows).unwrap();
            assert_same(&parted, &together);
        }
        let stop = Stop::default();
        let one_go = |rows| exhaustive::search(&decoder, plan, 5, &embeds, rows, &stop).unwrap();
        assert!(one_go(40).is_none());
        assert_same(&one_go(usize::MAX).unwrap(), &together);
    }

    fn assert_same(a: &[Vec<Hypothesis>], b: &[Vec<Hypothesis>]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            assert_eq!(a.tokens, b.tokens);
            assert!((a.score - b.score).abs() < 1e-5);
        }
    }
}
