//! Architectures of timm towers by name (`embedders.md` section 2.1): a
//! configuration names its trunk and describes nothing. The table is data and
//! can be extended from a file of the same form.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::error::EmbedderError;

/// Which towers a trunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimmFamily {
    /// Vision transformers as in SigLIP.
    Vit,
    /// EVA towers.
    Eva,
}

/// Architecture of one trunk; field names are timm's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimmArchitecture {
    /// Family of the trunk.
    pub family: TimmFamily,
    /// Side of the square input.
    pub img_size: usize,
    /// Side of a patch.
    pub patch_size: usize,
    /// Width of the token states.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Hidden width of the MLPs over the width.
    pub mlp_ratio: f64,
    /// `map` or `token`.
    pub global_pool: String,
    /// Whether there is a class token.
    #[serde(default = "yes")]
    pub class_token: bool,
    /// Whether query, key and value are one layer.
    #[serde(default = "yes")]
    pub qkv_fused: bool,
    /// SwiGLU instead of GELU.
    #[serde(default)]
    pub swiglu_mlp: bool,
    /// Layer norm inside the MLP.
    #[serde(default)]
    pub scale_mlp: bool,
    /// Layer norm before the attention's output projection.
    #[serde(default)]
    pub scale_attn_inner: bool,
    /// Rotary position embedding.
    #[serde(default)]
    pub use_rot_pos_emb: bool,
    /// Grid whose coordinates the rotary angles refer to.
    #[serde(default)]
    pub ref_feat_shape: Option<(usize, usize)>,
    /// Branches are normalised after instead of before.
    #[serde(default)]
    pub use_post_norm: bool,
}

fn yes() -> bool {
    true
}

impl TimmArchitecture {
    /// Hidden width of the MLPs.
    pub fn hidden(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    fn is_sane(&self) -> bool {
        let within = |value: usize, max: usize| (1..=max).contains(&value);
        within(self.img_size, 1 << 13)
            && within(self.patch_size, self.img_size)
            && within(self.embed_dim, 1 << 15)
            && within(self.depth, 1 << 10)
            && within(self.num_heads, self.embed_dim)
            && self.embed_dim.is_multiple_of(self.num_heads)
            && within(self.hidden(), 1 << 18)
            && (!self.use_rot_pos_emb || (self.embed_dim / self.num_heads).is_multiple_of(4))
    }
}

const TABLE: &str = include_str!("timm_models.json");

/// Architecture of a trunk: from the user's file if it has it, else from the
/// built-in table.
pub fn architecture(
    name: &str,
    extension: Option<&Path>,
) -> Result<Option<TimmArchitecture>, EmbedderError> {
    if let Some(path) = extension {
        let text = std::fs::read_to_string(path).map_err(|source| EmbedderError::Read {
            path: path.to_owned(),
            source,
        })?;
        if let Some(found) = find(name, &text, path)? {
            return Ok(Some(found));
        }
    }
    find(name, TABLE, Path::new("timm_models.json"))
}

fn find(name: &str, table: &str, path: &Path) -> Result<Option<TimmArchitecture>, EmbedderError> {
    let bad = |reason: String| EmbedderError::BadFile {
        path: path.to_owned(),
        reason,
    };
    let mut table: HashMap<String, TimmArchitecture> =
        serde_json::from_str(table).map_err(|error| bad(error.to_string()))?;
    match table.remove(name) {
        Some(found) if !found.is_sane() => Err(bad(format!("the sizes of {name} make no sense"))),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_widths_are_those_of_the_published_models() {
        for (name, hidden) in [
            ("vit_base_patch16_siglip_224", 3072),
            ("vit_so400m_patch14_siglip_384", 4304),
            ("eva02_base_patch16_clip_224", 2048),
            ("eva02_large_patch14_clip_336", 2730),
            ("eva02_enormous_patch14_clip_224", 15360),
        ] {
            let found = architecture(name, None).unwrap().unwrap();
            assert_eq!(found.hidden(), hidden, "{name}");
        }
        assert_eq!(architecture("resnet50", None).unwrap(), None);
    }
}
