//! Fused CPU kernels behind ordinary tensors, for training and inference; other
//! devices get the same results from composed tensor operations. Knows nothing
//! of models.

pub mod attention;
mod choice;
pub mod convolution;
pub mod linear;
pub mod resample;
pub mod rotary;
pub mod rows;
pub mod tape;
pub mod updates;

pub use choice::composed;
