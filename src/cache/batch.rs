//! What a loader delivers and the decoder takes: one batch on the host
//! (`embedding-cache.md` section 1).

/// How the targets of a batch are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetLayout {
    /// `[B, C]`: one target per sample.
    Single,
    /// `[B, M, C]`: `M` targets per sample.
    Multi {
        /// Targets per sample.
        targets: usize,
    },
    /// `[M, B, C]`: as `Multi`, target dimension first.
    MultiFirst {
        /// Targets per sample.
        targets: usize,
    },
}

/// Targets of a batch, row-major in the order of `layout`.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetBatch {
    /// Order and number of targets.
    pub layout: TargetLayout,
    /// Token columns `C` of this batch, end token included.
    pub columns: usize,
    /// Token ids, `rows × columns` with `rows = B` or `B·M`.
    pub ids: Vec<u32>,
    /// Padding mask of the same shape, true = padding; absent without masks.
    pub padding: Option<Vec<bool>>,
    /// One weight per row; absent when weights are not in use.
    pub weights: Option<Vec<f32>>,
}

/// One batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of samples `B`.
    pub samples: usize,
    /// Embedding dimension `F`.
    pub dim: usize,
    /// Unit vectors `[B, F]`, row-major.
    pub embeds: Vec<f32>,
    /// Targets, if in use.
    pub targets: Option<TargetBatch>,
}
