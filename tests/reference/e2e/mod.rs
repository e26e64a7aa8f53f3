//! One whole experiment of the original, step by step.

mod caches;
mod import;
mod predictions;
mod tables;
