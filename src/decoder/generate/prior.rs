//! Priors of tokens under a vocabulary (`decoder.md` section 8).

use super::config::PriorConfig;
use super::trie::{NodeId, NounTrie};

/// A prior that is in effect.
#[derive(Clone, Copy)]
pub(super) struct Prior<'a> {
    pub trie: &'a NounTrie,
    config: PriorConfig,
}

impl<'a> Prior<'a> {
    /// The prior of a configuration, none if its exponent is 0.
    pub fn new(config: Option<PriorConfig>, vocabulary: Option<&'a NounTrie>) -> Option<Self> {
        let config = config.filter(|config| config.scaler != 0.0)?;
        Some(Self {
            trie: vocabulary?,
            config,
        })
    }

    /// −λ·log q of going from `node` to its child.
    pub fn gain(&self, node: NodeId, child: NodeId) -> f64 {
        let q = if self.config.per_token {
            1.0 / self.trie.child_count(node) as f64
        } else {
            self.trie.count(child) as f64 / self.trie.count(node) as f64
        };
        -self.config.scaler * q.ln()
    }
}
