//! Experiment framework for NOVIC: unconstrained open-vocabulary image
//! classification by inverting CLIP embeddings.
//!
//! A room uses the rooms listed above it and is used by those below; see
//! `docs/architecture.md`.

/// Tells something on standard error. Unlike the macro of the standard library it
/// goes on where nobody reads that any more: work does not end with a closed pipe.
macro_rules! eprintln {
    ($($told:tt)*) => {{
        use ::std::io::Write as _;
        let _ = ::std::writeln!(::std::io::stderr().lock(), $($told)*);
    }};
}

/// The same without a line feed.
macro_rules! eprint {
    ($($told:tt)*) => {{
        use ::std::io::Write as _;
        let _ = ::std::write!(::std::io::stderr().lock(), $($told)*);
    }};
}

pub mod annotate;
pub mod cache;
mod causes;
pub mod cli;
pub mod config;
pub mod datasets;
pub mod decoder;
pub mod device;
pub mod embedders;
pub mod evaluate;
pub mod images;
pub mod infer;
mod memory;
pub mod net;
pub mod nouns;
pub use novic_ops as ops;
pub mod pickle;
mod random;
pub mod reports;
pub mod runner;
pub mod serve;
pub mod stages;
pub mod store;
pub mod tracking;
pub mod train;
pub mod web;

pub use memory::keep_freed_memory;
