//! The object decoder: turns an embedding vector into nouns.
//!
//! [`Decoder`] is the model with its loss, computed by fused kernels on the CPU
//! and by composed tensor operations on any device, [`noise`] what training adds to the
//! embeddings, [`generate`] decoding with its configurations, [`checkpoint`]
//! the native file. Knows nothing of training loops and experiments.

mod architecture;
pub mod checkpoint;
mod composed;
mod dud;
mod error;
pub mod generate;
pub mod init;
mod loss;
mod model;
pub mod noise;
mod packing;
mod parameters;
mod state;
mod stream;

pub use architecture::{Architecture, Dimensions, HiddenLayer, mlp_hidden_size};
pub use composed::{Autocast, ComposedForward, ComposedOptions};
pub use dud::{DudDecoder, DudPrediction};
pub use error::DecoderError;
pub use loss::{Loss, LossConfig};
pub use model::{Decoder, DropoutSites, Forward, ForwardOptions};
pub use packing::Targets;
pub use parameters::{ParameterCount, ParameterLayout, ParameterSpec, Part, Role, StateEntry};
pub use stream::{Purpose, stream};
