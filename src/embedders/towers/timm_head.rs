//! From the pooled state of a timm trunk to the embedding (`embedders.md`
//! section 5.2, last paragraph).

use candle_core::{Result, Tensor};

use super::transformer::Linear;
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::TimmConfig;
use crate::embedders::weights::Parameters;
use crate::ops::linear::Activation;

/// Nothing, or a linear layer.
pub struct Head(Option<Linear>);

impl Head {
    /// Takes the parameters below `visual.`: none, `head.proj`, or the trunk's
    /// own classifier.
    pub fn load(
        parameters: &Parameters<'_>,
        width: usize,
        config: &TimmConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        Ok(Self(match config.projection.as_str() {
            "none" => None,
            "" => Some(Linear::load(
                &parameters.under("trunk.head"),
                width,
                config.embed_dim,
            )?),
            _ => {
                let parameters = parameters.under("head.proj");
                Some(Linear {
                    weight: parameters.matrix("weight", &[config.embed_dim, width])?,
                    bias: if config.projection_bias {
                        Some(parameters.take("bias", &[config.embed_dim])?)
                    } else {
                        None
                    },
                })
            }
        }))
    }

    /// `[B, D]` → `[B, F]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Some(layer) => layer.forward(x, Activation::Identity),
            None => Ok(x.clone()),
        }
    }
}
