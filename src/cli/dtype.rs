//! `--dtype`: in which precision an embedder is asked to keep its matrices.

use clap::ValueEnum;

use crate::embedders::Precision;

/// What the option takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Dtype {
    /// f32 on processors, f16 on GPUs
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
}

impl Dtype {
    /// The precision that is asked for; `None` where device and model decide.
    pub(super) fn precision(self) -> Option<Precision> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Precision::Single),
            Self::F16 => Some(Precision::Half),
            Self::Bf16 => Some(Precision::Brain),
        }
    }
}
