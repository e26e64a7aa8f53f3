//! Fused CPU kernels of the decoder, and the gradient tape they record on.
//!
//! [`Tape`] records what a training step does with [`Value`]s; its methods are
//! the operations of the model (linear maps, layer norm, packed attention,
//! activation, residual with dropout, embedding look-ups, row selection), each
//! with a hand-written backward pass. Kernels run over slices of candle
//! tensors and of buffers that are used again from step to step, are vectorised
//! for the instruction set found at run time, and give the same numbers for
//! every thread count. Knows nothing of models.

mod activation;
mod attention;
mod buffer;
pub mod cross_entropy;
mod dropout;
mod embedding;
mod host;
mod layer_norm;
mod linear;
pub mod math;
mod product;
mod record;
mod residual;
mod rows;

pub use activation::Activation;
pub use attention::{CachedKeys, PackedSequences, PageRef, cached_attention};
pub use buffer::{Buffer, Pool};
pub use dropout::Dropout;
pub use embedding::InputRows;
pub use host::{HostSlice, host, normalize_rows, tensor};
pub use record::{Gradients, Tape, Value, Values};
