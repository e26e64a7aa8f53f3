//! PyTorch files without Python: zip archives with a pickle and raw storages
//! (`.train`, `.model`, `.pt`, `.pth`, `.bin`).
//!
//! [`Archive`] opens a file, [`Archive::value`] runs its pickle on a machine
//! that knows a fixed list of globals and executes nothing, and
//! [`Archive::tensor`] reads one tensor of the result. [`ArchiveWriter`] writes
//! the same form. All sizes are checked against the file before anything is
//! allocated. Knows nothing of models and checkpoints.

mod archive;
mod calls;
mod error;
mod globals;
mod heap;
#[cfg(test)]
mod hostile_tests;
mod machine;
mod opcode;
mod operands;
mod plain;
mod storage;
mod value;
mod write;

pub use archive::Archive;
pub use error::{Fault, PickleError};
pub use globals::Allow;
pub use plain::{ByteArray, plain_value};
pub use storage::{Storage, TensorData, TensorInfo};
pub use value::{Dict, Module, Value};
pub use write::ArchiveWriter;
