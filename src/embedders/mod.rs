//! Text and image towers that share one embedding space.

pub mod tokenizer;
