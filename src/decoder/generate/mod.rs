//! Decoding: greedy, beam and exhaustive search over nouns (`decoder.md`
//! sections 6 to 9 and 12).
//!
//! [`Generator`] turns embeddings into [`Hypothesis`] lists as a
//! [`GenerationConfig`] says; [`NounReader`] turns their tokens into text.

mod alternatives;
mod beam;
mod cache;
mod config;
mod exhaustive;
mod generator;
mod greedy;
mod hypothesis;
mod memory;
mod nouns;
mod prior;
mod selection;
mod stop;
mod successors;
mod trie;

pub use beam::Survivor;
pub use config::{GenerationConfig, Guiding, Method, PriorConfig};
pub use exhaustive::NounTerms;
pub use generator::Generator;
pub use greedy::{GreedyLoss, GreedyOutput};
pub use hypothesis::{Hypothesis, NounReader, Prediction};
pub use nouns::{DropReason, DroppedNoun, EncodedNouns};
pub use selection::select;
pub use stop::Stop;
pub use trie::{END, NodeId, NounTrie};
