//! The TorchScript archives that OpenAI published (`embedders.md` sections
//! 2.4, 5.1, 5.6): the architecture is read from the shapes of the parameters,
//! the vocabulary is inside the binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::embedders::description::{Description, Layout, TextArchitecture, VisionArchitecture};
use crate::embedders::embedder::OpenOptions;
use crate::embedders::error::EmbedderError;
use crate::embedders::files::ModelFiles;
use crate::embedders::names::{NameTable, ignored};
use crate::embedders::openai_tokenizer::OpenAiTokenizer;
use crate::embedders::spec::{EmbedderSpec, suggestion};
use crate::embedders::tower_configs::{ClipVitConfig, Pooling, ResNetConfig, TextConfig};
use crate::embedders::weights::Weights;
use crate::images::{ImageTransform, Interpolation, ResizeMode};
use crate::net::{OPENAI_MODELS, OpenAiArchive};
use crate::ops::linear::Activation;

/// Parameters have the names of towers already; the rest is not used.
const NAMES: NameTable = &[
    ignored("input_resolution"),
    ignored("context_length"),
    ignored("vocab_size"),
    ignored("logit_scale"),
    ignored("visual.bn{n}.num_batches_tracked"),
    ignored("visual.layer{n}.{n}.bn{n}.num_batches_tracked"),
    ignored("visual.layer{n}.{n}.downsample.1.num_batches_tracked"),
];

const EPS: f32 = 1e-5;
/// Width of an attention head in all towers.
const HEAD_WIDTH: usize = 64;

/// Where the original keeps the archives.
pub(in crate::embedders) fn archive_cache() -> PathBuf {
    std::env::home_dir().unwrap_or_default().join(".cache/clip")
}

pub(super) fn describe(
    spec: &EmbedderSpec,
    options: &OpenOptions,
) -> Result<(ModelFiles, Description), EmbedderError> {
    let (path, published) = find(spec)?;
    let weights = Weights::open(std::slice::from_ref(&path))?;
    let bad = |reason: &str| EmbedderError::BadWeights {
        path: path.clone(),
        reason: format!("not an archive of an OpenAI model: {reason}"),
    };
    let shape = |name: &str, rank: usize| {
        weights
            .shape(name)
            .filter(|shape| shape.len() == rank && shape.iter().all(|&size| size > 0))
            .map(<[usize]>::to_vec)
            .ok_or_else(|| bad(&format!("it has no parameter {name} of {rank} dimensions")))
    };
    let blocks = |stack: &str| {
        (0..)
            .take_while(|n| weights.shape(&format!("{stack}.{n}.ln_1.weight")).is_some())
            .count()
    };
    let projection = shape("text_projection", 2)?;
    let tokens = shape("token_embedding.weight", 2)?;
    let (width, embed_dim) = (projection[0], projection[1]);
    let heads = |width: usize| {
        (width.is_multiple_of(HEAD_WIDTH))
            .then_some(width / HEAD_WIDTH)
            .ok_or_else(|| bad("a width is no multiple of the head width"))
    };
    let text = TextConfig {
        context_length: shape("positional_embedding", 2)?[0],
        vocab_size: tokens[0],
        width,
        heads: heads(width)?,
        layers: blocks("transformer.resblocks"),
        hidden: 4 * width,
        layer_scale: false,
        causal: true,
        pooling: Pooling::LargestId,
        projection_bias: false,
        activation: Activation::QuickGelu,
        eps: EPS,
        embed_dim,
    };
    let (vision, size) = if weights.shape("visual.proj").is_some() {
        let patches = shape("visual.conv1.weight", 4)?;
        let side = shape("visual.positional_embedding", 2)?[0]
            .saturating_sub(1)
            .isqrt();
        let size = side * patches[3];
        let config = ClipVitConfig {
            image_size: (size, size),
            patch_size: patches[3],
            width: patches[0],
            layers: blocks("visual.transformer.resblocks"),
            heads: heads(patches[0])?,
            hidden: 4 * patches[0],
            layer_scale: false,
            norm_before: true,
            norm_after_pool: false,
            pooling: Pooling::ClassToken,
            activation: Activation::QuickGelu,
            eps: EPS,
            embed_dim,
        };
        (VisionArchitecture::ClipVit(config), size)
    } else {
        let width = shape("visual.layer1.0.conv1.weight", 4)?[0];
        let side = shape("visual.attnpool.positional_embedding", 2)?[0]
            .saturating_sub(1)
            .isqrt();
        let blocks = |stage: usize| {
            (0..)
                .take_while(|n| {
                    let name = format!("visual.layer{stage}.{n}.conv1.weight");
                    weights.shape(&name).is_some()
                })
                .count()
        };
        let config = ResNetConfig {
            image_size: side * 32,
            stages: [1, 2, 3, 4].map(blocks),
            width,
            heads: heads(32 * width)?,
            embed_dim,
        };
        (VisionArchitecture::ResNet(config), side * 32)
    };
    let tokenizer = OpenAiTokenizer::open(options.openai_merges.as_deref(), text.context_length)?;
    let known = tokenizer.vocab_size();
    if known != text.vocab_size {
        return Err(EmbedderError::BadWeights {
            path,
            reason: format!(
                "the model has {} tokens, the vocabulary {known}; name the file of its merges",
                text.vocab_size
            ),
        });
    }
    let (model_name, model_checkpoint) = match published {
        Some(archive) => (archive.name.to_owned(), archive.address()),
        None => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (name.into_owned(), format!("sha256:{}", sha256(&path)?))
        }
    };
    let description = Description {
        family: "archive of OpenAI",
        embed_dim,
        text: TextArchitecture::Clip(text),
        vision,
        transform: ImageTransform {
            height: size as u32,
            width: size as u32,
            resize_mode: ResizeMode::Shortest,
            interpolation: Interpolation::Bicubic,
            rescale: ImageTransform::TO_UNIT,
            mean: ImageTransform::CLIP_MEAN,
            std: ImageTransform::CLIP_STD,
            fill: 0,
        },
        tokenizer: Arc::new(tokenizer),
        configuration: json!({
            "amp_dtype": "None",
            "class": "OpenAIEmbedder",
            "device_type": "cpu",
            "model_checkpoint": model_checkpoint,
            "model_name": model_name,
        }),
        notices: Vec::new(),
        weights: vec![
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        ],
        sha256: published.map(|archive| archive.sha256),
        layout: Layout::Table(NAMES),
        identity: Vec::new(),
    };
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok((ModelFiles::Folder(folder), description))
}

/// The archive of a specification, and which published one it must be.
fn find(spec: &EmbedderSpec) -> Result<(PathBuf, Option<&'static OpenAiArchive>), EmbedderError> {
    if let Some(path) = spec.local_path() {
        return if path.is_file() {
            Ok((path, None))
        } else {
            Err(EmbedderError::Incomplete {
                folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
                missing: vec![
                    path.file_name()
                        .map_or_else(|| spec.name().to_owned(), |name| name.display().to_string()),
                ],
            })
        };
    }
    let known = OPENAI_MODELS.iter().find(|known| known.name == spec.name());
    let known = known.ok_or_else(|| EmbedderError::BadSpec {
        given: spec.to_string(),
        hint: match suggestion(&spec.to_string()) {
            hint if hint.is_empty() => {
                let names: Vec<&str> = OPENAI_MODELS.iter().map(|known| known.name).collect();
                format!("; OpenAI published {}", names.join(", "))
            }
            hint => hint,
        },
    })?;
    let cache = archive_cache();
    let path = cache.join(known.file);
    if path.is_file() {
        return Ok((path, Some(known)));
    }
    Err(EmbedderError::NotInCache {
        spec: spec.to_string(),
        kind: "openai",
        repository: known.address(),
        missing: vec![known.file.to_owned()],
        cache,
        hint: String::new(),
    })
}

/// Checks that a file is the published one.
pub(in crate::embedders) fn check_sha256(path: &Path, wanted: &str) -> Result<(), EmbedderError> {
    let found = sha256(path)?;
    if found == wanted {
        return Ok(());
    }
    Err(EmbedderError::BadWeights {
        path: path.to_owned(),
        reason: format!(
            "its SHA-256 is {found}, the published file has {wanted}; remove it and download it \
             again"
        ),
    })
}

/// SHA-256 of a file in hexadecimal.
fn sha256(path: &Path) -> Result<String, EmbedderError> {
    crate::net::sha256(path).map_err(|source| EmbedderError::Read {
        path: path.to_owned(),
        source,
    })
}
