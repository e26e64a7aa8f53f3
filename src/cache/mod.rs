//! The embedding cache: header, reader, writers, merge, batch assembly. Knows
//! nothing of how vectors are made.

pub mod batch;
