//! `TYPE:NAME` (`embedders.md` section 1).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::embedded;
use super::error::EmbedderError;

/// Where a model comes from and how its files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// TorchScript archives published by OpenAI.
    OpenAi,
    /// Repositories with `open_clip_config.json`.
    OpenClip,
    /// Repositories with the `config.json` of the transformers library.
    Transformers,
}

impl Backend {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenClip => "openclip",
            Self::Transformers => "transformers",
        }
    }
}

/// A parsed specification: `openclip:OWNER/REPO[@REVISION]`, `openclip:./DIR`,
/// `openai:NAME`, `transformers:OWNER/REPO`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmbedderSpec {
    backend: Backend,
    name: String,
    revision: Option<String>,
}

/// Specifications of the published experiments and comparisons.
const KNOWN: [&str; 40] = [
    "openclip:apple/DFN5B-CLIP-ViT-H-14-378",
    "openclip:timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k",
    "openclip:apple/DFN5B-CLIP-ViT-H-14",
    "openclip:rwightman/ViT-bigG-14-CLIPA-datacomp1B",
    "openclip:timm/ViT-SO400M-14-SigLIP",
    "openclip:timm/eva02_enormous_patch14_clip_224.laion2b_s4b_b115k",
    "openclip:apple/DFN2B-CLIP-ViT-L-14",
    "transformers:laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "openclip:laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "openclip:rwightman/ViT-H-14-CLIPA-datacomp1B",
    "transformers:facebook/metaclip-h14-fullcc2.5b",
    "openclip:laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    "transformers:laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    "openclip:rwightman/ViT-L-14-CLIPA-datacomp1B",
    "openclip:timm/ViT-L-16-SigLIP-256",
    "openclip:timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k",
    "openclip:laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
    "openclip:laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "transformers:laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "openclip:timm/ViT-B-16-SigLIP-384",
    "transformers:openai/clip-vit-large-patch14",
    "openai:ViT-L/14",
    "openclip:timm/ViT-B-16-SigLIP",
    "openclip:laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    "openclip:laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
    "openclip:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",
    "openclip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    "transformers:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "openclip:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "transformers:openai/clip-vit-base-patch16",
    "openai:ViT-B/16",
    "transformers:kakaobrain/align-base",
    "transformers:openai/clip-vit-base-patch32",
    "openai:ViT-B/32",
    "openai:RN50",
    "openai:RN101",
    "openai:RN50x4",
    "openai:RN50x16",
    "openai:RN50x64",
    "openai:ViT-L/14@336px",
];

/// Specifications of the published experiments and comparisons.
pub fn known_specifications() -> &'static [&'static str] {
    &KNOWN
}

/// ` (did you mean …?)` for the known specification nearest to `given`, empty
/// if none is near.
pub(super) fn suggestion(given: &str) -> String {
    let embedded = embedded::models()
        .iter()
        .map(|model| format!("openclip:{}", model.name));
    KNOWN
        .iter()
        .map(|known| (*known).to_owned())
        .chain(embedded)
        .map(|known| (strsim::normalized_damerau_levenshtein(&known, given), known))
        .filter(|(similarity, known)| *similarity > 0.6 && known != given)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!(" (did you mean {known}?)"))
        .unwrap_or_default()
}

impl EmbedderSpec {
    /// Kind of model.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What follows the colon, without a revision.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pinned revision (`@…`), if any.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The path that the name stands for if it starts with `.`, `/` or `~`.
    pub fn local_path(&self) -> Option<PathBuf> {
        if let Some(rest) = self.name.strip_prefix("~/") {
            return std::env::home_dir().map(|home| home.join(rest));
        }
        self.name
            .starts_with(['.', '/'])
            .then(|| PathBuf::from(&self.name))
    }

    /// The specification with `:` and `/` replaced by `_`, for file names.
    pub fn path_safe(&self) -> String {
        self.to_string().replace([':', '/'], "_")
    }
}

impl fmt::Display for EmbedderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.backend.name(), self.name)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

impl FromStr for EmbedderSpec {
    type Err = EmbedderError;

    fn from_str(given: &str) -> Result<Self, EmbedderError> {
        let bad = || EmbedderError::BadSpec {
            given: given.to_owned(),
            hint: suggestion(given),
        };
        let (kind, name) = given.split_once(':').ok_or_else(bad)?;
        let backend = [Backend::OpenAi, Backend::OpenClip, Backend::Transformers]
            .into_iter()
            .find(|backend| backend.name() == kind)
            .ok_or_else(bad)?;
        let mut spec = Self {
            backend,
            name: name.to_owned(),
            revision: None,
        };
        if spec.local_path().is_some() {
            return Ok(spec);
        }
        // OpenAI names contain `@` themselves (ViT-L/14@336px).
        if backend != Backend::OpenAi {
            if let Some((name, revision)) = name.split_once('@') {
                spec.name = name.to_owned();
                spec.revision = Some(revision.to_owned());
            }
            let part_is_valid = |part: &str| {
                !part.is_empty()
                    && !part.starts_with('.')
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            };
            let parts: Vec<&str> = spec.name.split('/').collect();
            let revision_is_valid = spec.revision.as_deref().is_none_or(part_is_valid);
            if parts.len() > 2 || !parts.into_iter().all(part_is_valid) || !revision_is_valid {
                return Err(bad());
            }
        } else if name.is_empty() {
            return Err(bad());
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_round_trip() {
        for text in KNOWN {
            let spec: EmbedderSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
        }
        let spec: EmbedderSpec = "openclip:timm/ViT-B-16-SigLIP@abc123".parse().unwrap();
        assert_eq!(
            (spec.name(), spec.revision()),
            ("timm/ViT-B-16-SigLIP", Some("abc123"))
        );
        assert_eq!(spec.path_safe(), "openclip_timm_ViT-B-16-SigLIP@abc123");
        let spec: EmbedderSpec = "openclip:./some/dir@2x".parse().unwrap();
        assert_eq!(spec.local_path(), Some(PathBuf::from("./some/dir@2x")));
    }

    #[test]
    fn errors_list_types_and_the_nearest_name() {
        for bad in [
            "",
            "ViT-B-32",
            "opencilp:timm/ViT-B-16-SigLIP",
            "openclip:",
            "openclip:a/../b",
            "openclip:a/b/c",
        ] {
            let error = bad.parse::<EmbedderSpec>().unwrap_err().to_string();
            assert!(error.contains("openai, openclip, transformers"), "{error}");
        }
        let error = "opencilp:timm/ViT-B-16-SigLIP"
            .parse::<EmbedderSpec>()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("did you mean openclip:timm/ViT-B-16-SigLIP?")
        );
    }
}
