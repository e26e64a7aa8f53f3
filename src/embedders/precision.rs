//! In which precision a model keeps its matrices.

use candle_core::DType;

/// Precision of the matrices of linear layers, which are nearly all of a
/// model's memory. Sums, norms, attention and what comes out are of single
/// precision always.
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
