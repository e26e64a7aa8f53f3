//! In which precision a model keeps its matrices.

use candle_core::{DType, Device};

/// Precision of the matrices of linear layers and of the table of tokens, which
/// are nearly all of a model's memory; off the CPU also of the products with them. Sums, norms,
/// attention and what comes out are of single precision always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32`
    #[default]
    Single,
    /// `f16`
    Half,
    /// `bf16`
    Brain,
}

impl Precision {
    /// Precision where none is asked for: single on the CPU; on other devices
    /// half with `amp` (`embedder.amp`), and brain with `bf16`
    /// (`embedder.amp_bf16`) too.
    pub fn automatic(device: &Device, amp: bool, bf16: bool) -> Self {
        match (device.is_cpu() || !amp, bf16) {
            (true, _) => Self::Single,
            (false, true) => Self::Brain,
            (false, false) => Self::Half,
        }
    }

    /// The precision of this name: `f32`, `f16`, `bf16`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Single, Self::Half, Self::Brain]
            .into_iter()
            .find(|precision| precision.name() == name)
    }

    /// The type of the stored values.
    pub fn dtype(self) -> DType {
        match self {
            Self::Single => DType::F32,
            Self::Half => DType::F16,
            Self::Brain => DType::BF16,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.dtype().as_str()
    }
}
