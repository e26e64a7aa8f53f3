//! How much memory a decoding takes, so that batches of large beams are done in
//! parts, and beams that fit nowhere are refused.

use crate::decoder::architecture::Architecture;

use super::config::{GenerationConfig, Method};
use super::successors::{Rules, Successor};
use super::trie::NounTrie;

/// Memory of what is decoded together.
const TOGETHER: u64 = 1 << 30;
/// Memory of one embedding, at most.
const MOST: u64 = 8 << 30;

/// What the memory of a decoding depends on.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    method: Method,
    topk: u64,
    /// Nouns that there are to find, and the nodes of their tree; without
    /// guide and prior there is no end of them.
    nouns: u64,
    nodes: u64,
    /// Tokens of a noun.
    tokens: u64,
    vocabulary: u64,
    /// Bytes of the cached projections of a token.
    token_bytes: u64,
}

impl Memory {
    pub fn of(architecture: &Architecture, config: &GenerationConfig, rules: &Rules<'_>) -> Self {
        let prior = rules.prior.map(|prior| prior.trie);
        let tries = || [rules.guide, prior].into_iter().flatten();
        let smallest = |size: fn(&NounTrie) -> usize| tries().map(size).min();
        let dimensions = architecture.dimensions;
        Self {
            method: config.method,
            topk: config.topk as u64,
            nouns: smallest(NounTrie::distinct).map_or(u64::MAX, |nouns| nouns as u64),
            nodes: smallest(NounTrie::node_count).map_or(u64::MAX, |nodes| nodes as u64),
            tokens: dimensions.token_length as u64,
            vocabulary: dimensions.vocab_size as u64,
            // Queries are kept with keys and values.
            token_bytes: (architecture.layers * 3 * architecture.hidden_dim * 4) as u64,
        }
    }

    /// About what one embedding takes.
    fn bytes(&self, topk: u64) -> u64 {
        let found = topk.min(self.nouns);
        match self.method {
            Method::Greedy => self.tokens * self.token_bytes,
            Method::Beam => {
                let successors = found.min(self.vocabulary) * size_of::<Successor>() as u64;
                let logits = self.vocabulary * size_of::<f32>() as u64;
                let candidate = self.tokens * self.token_bytes + logits + successors;
                found.saturating_mul(candidate)
            }
            // Unless all are wanted, few nodes are looked at.
            Method::All => {
                let visited = match found < self.nouns {
                    true => found.max(8).saturating_mul(self.tokens).min(self.nodes),
                    false => self.nodes,
                };
                visited.saturating_mul(self.token_bytes)
            }
        }
    }

    /// How many embeddings go together, at most `most` and at least one.
    pub fn together(&self, most: usize) -> usize {
        let fit = TOGETHER / self.bytes(self.topk).max(1);
        usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .clamp(1, most.max(1))
    }

    /// Most tokens whose projections are kept at a time.
    pub fn most_rows(&self) -> usize {
        usize::try_from(MOST / self.token_bytes.max(1)).unwrap_or(usize::MAX)
    }

    /// Why a beam is too wide, if it is.
    pub fn excess(&self) -> Option<String> {
        let bytes = self.bytes(self.topk);
        if self.method != Method::Beam || bytes <= MOST {
            return None;
        }
        let (mut fits, mut too_many) = (1, self.topk);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            match self.bytes(middle) <= MOST {
                true => fits = middle,
                false => too_many = middle,
            }
        }
        Some(format!(
            "{} beams would take about {} GiB of memory for one picture: use at most k{fits}",
            self.topk,
            bytes >> 30
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(name: &str, guide: Option<&NounTrie>) -> Memory {
        let config: GenerationConfig = name.parse().unwrap();
        let dimensions = crate::decoder::Dimensions {
            embed_dim: 64,
            vocab_size: 8000,
            token_length: 12,
        };
        let model = crate::config::schema::Config::default().model;
        let architecture = Architecture::new(&model, dimensions).unwrap();
        Memory::of(&architecture, &config, &Rules::new(&config, guide, guide))
    }

    #[test]
    fn wide_beams_go_alone_and_too_wide_ones_nowhere() {
        assert_eq!(memory("beam_k10_gn", None).together(128), 128);
        let wide = memory("beam_k1000_gn", None);
        assert!((1..8).contains(&wide.together(128)));
        assert_eq!(wide.excess(), None);
        let reason = memory("beam_k1000000_gn", None).excess().unwrap();
        let most = reason.rsplit_once('k').unwrap().1;
        let most: u64 = most.parse().unwrap();
        assert_eq!(memory(&format!("beam_k{most}_gn"), None).excess(), None);
        let more = format!("beam_k{}_gn", most + 1);
        assert!(memory(&more, None).excess().is_some(), "{reason}");
    }

    #[test]
    fn a_short_guide_bounds_every_beam() {
        let guide = NounTrie::new(&[[1, 0], [2, 0]]).unwrap();
        for name in ["beam_k1000000_gp", "all_k1000000_gp"] {
            let memory = memory(name, Some(&guide));
            assert_eq!((memory.together(128), memory.excess()), (128, None));
        }
    }
}
