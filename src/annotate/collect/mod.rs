//! Building image sets: a sample of a folder, lead pictures of an
//! encyclopaedia (`annotation.md` sections 13 and 14).
//!
//! [`sample`] draws, [`Sampled::copy_to`] copies with a manifest; [`wiki`]
//! collects, resumes and keeps the licence of every picture.

mod error;
mod sample;
mod sample_copy;
pub mod wiki;

pub use error::CollectError;
pub use sample::{
    Candidate, Draw, Pull, SampleRequest, Sampled, draw, sample, sample_candidates, weights,
};
pub use sample_copy::{CopyOptions, MANIFEST};
