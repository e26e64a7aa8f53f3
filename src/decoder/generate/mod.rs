//! Decoding: greedy, beam and exhaustive search over nouns.

mod trie;

pub use trie::{END, NodeId, NounTrie};
