//! Precision of matrix products: single, or half with everything else single
//! (`training.md` 2.9).

use candle_core::{DType, Result, Tensor};

/// In which precision matrices are multiplied. Sums of products, norms,
/// softmax, activations, the residual stream and the loss are single always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autocast {
    /// `f32`
    #[default]
    Off,
    /// `bf16`
    Brain,
    /// `f16`; gradients need a scaled loss.
    Half,
}

impl Autocast {
    fn dtype(self) -> DType {
        match self {
            Self::Off => DType::F32,
            Self::Brain => DType::BF16,
            Self::Half => DType::F16,
        }
    }

    /// `a·b` of f32 matrices, as f32.
    pub(super) fn product(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (a, b) = (a.to_dtype(self.dtype())?, b.to_dtype(self.dtype())?);
        a.matmul(&b)?.to_dtype(DType::F32)
    }

    /// `a·bᵀ` of f32 matrices, as f32.
    pub(super) fn product_with_transposed(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (a, b) = (a.to_dtype(self.dtype())?, b.to_dtype(self.dtype())?);
        a.matmul(&b.t()?)?.to_dtype(DType::F32)
    }

    /// Whether small gradients vanish unless the loss is scaled.
    pub fn needs_scaled_loss(self) -> bool {
        self == Self::Half
    }
}
