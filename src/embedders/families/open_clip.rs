//! Models with an `open_clip_config.json` (`embedders.md` sections 2.1, 2.2,
//! 5.1–5.5): CLIP vision transformers and residual networks, SigLIP, CLIPA,
//! EVA02.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::embedders::clip_vocabulary;
use crate::embedders::description::{Description, Layout, TextArchitecture, VisionArchitecture};
use crate::embedders::embedder::OpenOptions;
use crate::embedders::error::EmbedderError;
use crate::embedders::files::{ModelFiles, hub_cache};
use crate::embedders::hf_tokenizer::{HfTokenizer, TokenizerSettings};
use crate::embedders::openclip_config::OpenClipConfig;
use crate::embedders::spec::EmbedderSpec;
use crate::embedders::timm_models::{self, TimmArchitecture, TimmFamily};
use crate::embedders::tower_configs::{MapVitConfig, TimmConfig, VisionConfig};
use crate::embedders::weights::Weights;
use crate::ops::linear::Activation;

pub(super) const CONFIG: &str = "open_clip_config.json";
pub(super) const WEIGHTS: [&str; 3] = [
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
];

/// ε of the layer norms of timm trunks.
const TIMM_EPS: f32 = 1e-6;

/// The repository whose tokenizer a model takes because it has none itself
/// (`text_cfg.hf_tokenizer_name`); models of CLIP's vocabulary take the built-in
/// one.
pub(super) fn named_tokenizer(files: &ModelFiles) -> Result<Option<String>, EmbedderError> {
    if HfTokenizer::is_in(files) {
        return Ok(None);
    }
    let config = OpenClipConfig::parse(files.read_json(CONFIG)?, &files.path(CONFIG))?;
    let is_clip = config.text.vocab_size == clip_vocabulary::SIZE;
    Ok(config.tokenizer_repository.filter(|_| !is_clip))
}

/// The files of a model, with those of the tokenizer that its configuration
/// names if it has none itself.
pub(super) fn with_tokenizer(
    spec: &EmbedderSpec,
    files: ModelFiles,
) -> Result<ModelFiles, EmbedderError> {
    let ModelFiles::Folder(folder) = &files else {
        return Ok(files);
    };
    let Some(repository) = named_tokenizer(&files)? else {
        return Ok(files);
    };
    let tokenizer = ModelFiles::of_repository(&repository)
        .filter(|tokenizer| HfTokenizer::is_in(&ModelFiles::Folder(tokenizer.clone())));
    match tokenizer {
        Some(tokenizer) => Ok(ModelFiles::WithTokenizer {
            folder: folder.clone(),
            tokenizer,
        }),
        None => Err(EmbedderError::NotInCache {
            spec: spec.to_string(),
            kind: spec.backend().name(),
            missing: vec![format!(
                "the tokenizer of {repository} (tokenizer.json, or vocab.json with merges.txt, \
                 or spiece.model), which {CONFIG} names, is"
            )],
            repository,
            cache: hub_cache(),
            hint: format!(" with these files beside {CONFIG}"),
        }),
    }
}

pub(super) fn describe(
    spec: &EmbedderSpec,
    files: &ModelFiles,
    options: &OpenOptions,
) -> Result<Description, EmbedderError> {
    let config = OpenClipConfig::parse(files.read_json(CONFIG)?, &files.path(CONFIG))?;
    let mut family = "CLIP in open_clip layout";
    let vision = match config.vision {
        VisionConfig::ClipVit(config) => {
            if config.norm_after_pool {
                family = "CLIPA in open_clip layout";
            }
            VisionArchitecture::ClipVit(config)
        }
        VisionConfig::ResNet(config) => VisionArchitecture::ResNet(config),
        VisionConfig::Timm(timm) => {
            let trunk = trunk(spec, &timm, options.timm_models.as_deref())?;
            if trunk.family == TimmFamily::Eva {
                family = "EVA02 in open_clip layout";
                VisionArchitecture::Eva02(trunk, timm)
            } else {
                family = "SigLIP in open_clip layout";
                VisionArchitecture::MapVit(
                    MapVitConfig {
                        image_size: timm.image_size,
                        patch_size: trunk.patch_size,
                        width: trunk.embed_dim,
                        layers: trunk.depth,
                        heads: trunk.num_heads,
                        hidden: trunk.hidden(),
                        activation: Activation::Gelu,
                        eps: TIMM_EPS,
                    },
                    timm,
                )
            }
        }
    };
    let settings = TokenizerSettings {
        context_length: config.text.context_length,
        cleaning: config.cleaning,
        strip_separator: config.strip_separator,
    };
    let tokenizer = HfTokenizer::open_or_clip(files, settings, config.text.vocab_size)?;
    let mut weights = None;
    for name in WEIGHTS.into_iter().filter(|name| files.has(name)) {
        // Repositories of both libraries have a `model.safetensors` with the
        // names of the other one.
        if name != WEIGHTS[1] || weights.is_none() && has_open_clip_names(files, name)? {
            weights = weights.or(Some(name));
        }
    }
    let weights = weights.or_else(|| WEIGHTS.into_iter().find(|name| files.has(name)));
    Ok(Description {
        family,
        embed_dim: config.embed_dim,
        text: TextArchitecture::Clip(config.text),
        vision,
        transform: config.transform,
        configuration: json!({
            "amp_dtype": "None",
            "class": "OpenCLIPEmbedder",
            "device_type": "cpu",
            "model_config": config.json,
            "model_id": spec.name(),
        }),
        notices: config.notices,
        weights: weights.into_iter().map(str::to_owned).collect(),
        sha256: None,
        layout: Layout::OpenClip,
        identity: [vec![CONFIG.to_owned()], tokenizer.files().to_vec()].concat(),
        tokenizer: Arc::new(tokenizer),
    })
}

fn has_open_clip_names(files: &ModelFiles, name: &str) -> Result<bool, EmbedderError> {
    if let ModelFiles::Embedded(_) = files {
        return Ok(true);
    }
    let weights = Weights::open(&[files.path(name)])?;
    let is_open_clip = weights.names().any(|name| name.starts_with("visual."));
    Ok(is_open_clip)
}

/// Architecture of a timm tower, checked against what the configuration says.
fn trunk(
    spec: &EmbedderSpec,
    config: &TimmConfig,
    extension: Option<&Path>,
) -> Result<TimmArchitecture, EmbedderError> {
    let unsupported = |what: String| EmbedderError::Unsupported {
        spec: spec.to_string(),
        what,
    };
    let trunk = timm_models::architecture(&config.name, extension)?
        .ok_or_else(|| unsupported(format!("timm tower {}", config.name)))?;
    let pool_is_known = match trunk.family {
        TimmFamily::Vit => config.pool == "map" && trunk.global_pool == "map" && !trunk.class_token,
        TimmFamily::Eva => config.pool == "token" && trunk.global_pool == "token",
    };
    if !pool_is_known {
        return Err(unsupported(format!(
            "timm tower {} with pooling {}",
            config.name, config.pool
        )));
    }
    if config.image_size != (trunk.img_size, trunk.img_size) {
        let (height, width) = config.image_size;
        return Err(unsupported(format!(
            "timm tower {} at {height}×{width} pixels",
            config.name
        )));
    }
    if config.projection == "none" && trunk.embed_dim != config.embed_dim {
        return Err(unsupported(format!(
            "timm tower {} of width {} without projection to {}",
            config.name, trunk.embed_dim, config.embed_dim
        )));
    }
    Ok(trunk)
}
