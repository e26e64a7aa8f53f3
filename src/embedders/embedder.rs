//! One embedder: tokenizer, image transform and lazily loaded towers of one
//! open_clip model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::error::EmbedderError;
use super::files::{Alternatives, ModelFiles};
use super::hf_tokenizer::{HfTokenizer, TokenizerSettings};
use super::openclip_config::{OpenClipConfig, TimmConfig, VisionConfig};
use super::position_grids;
use super::spec::{Backend, EmbedderSpec};
use super::timm_models::{self, TimmArchitecture, TimmFamily};
use super::tokenizer::TextTokenizer;
use super::towers::clip_text::ClipText;
use super::towers::clip_vit::ClipVit;
use super::towers::eva02::Eva02;
use super::towers::resnet::ResNet;
use super::towers::timm_vit::TimmVit;
use super::weights::{Parameters, Weights};
use crate::images::ImageTransform;

const CONFIG: &str = "open_clip_config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: [&str; 3] = [
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
];
const REQUIRED: [&Alternatives; 3] = [&[CONFIG], &[TOKENIZER], &WEIGHTS];

/// Texts that go through the tower together.
const TEXT_BATCH: usize = 512;
/// Pictures that go through the tower together.
const IMAGE_BATCH: usize = 64;

enum VisionTower {
    ClipVit(ClipVit),
    ResNet(ResNet),
    TimmVit(TimmVit),
    Eva02(Eva02),
}

/// What opening a model may need beside its files.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// A JSON file with architectures of timm towers that the built-in table
    /// lacks.
    pub timm_models: Option<PathBuf>,
}

/// Anything that turns texts into unit vectors of one embedding space.
pub trait TextToVector: Send + Sync {
    /// Dimension F of the space.
    fn dim(&self) -> usize;

    /// Unit vectors `[B, F]`, f32.
    fn text_vectors(&self, texts: &[&str]) -> Result<Tensor, EmbedderError>;
}

/// A model that embeds texts and images into one space of unit vectors.
///
/// Opening reads configuration and tokenizer; each tower is loaded when it is
/// first used and can be released again. All methods may be called from
/// several threads.
pub struct Embedder {
    spec: EmbedderSpec,
    files: ModelFiles,
    config: OpenClipConfig,
    /// Architecture of a timm tower.
    trunk: Option<TimmArchitecture>,
    tokenizer: Arc<HfTokenizer>,
    weights: &'static str,
    text: Mutex<Option<Arc<ClipText>>>,
    vision: Mutex<Option<Arc<VisionTower>>>,
    identity: Mutex<Option<blake3::Hash>>,
}

impl Embedder {
    /// Finds the model's files and reads configuration and tokenizer.
    pub fn open(spec: &EmbedderSpec) -> Result<Self, EmbedderError> {
        Self::open_with(spec, &OpenOptions::default())
    }

    /// The same with options.
    pub fn open_with(spec: &EmbedderSpec, options: &OpenOptions) -> Result<Self, EmbedderError> {
        if spec.backend() != Backend::OpenClip {
            return Err(EmbedderError::Unsupported {
                spec: spec.to_string(),
                what: format!("a model of type {}", spec.backend().name()),
            });
        }
        let files = ModelFiles::resolve(spec, &REQUIRED)?;
        let config = OpenClipConfig::parse(files.read_json(CONFIG)?, &files.path(CONFIG))?;
        let trunk = match &config.vision {
            VisionConfig::Timm(timm) => Some(trunk(spec, timm, options.timm_models.as_deref())?),
            _ => None,
        };
        let tokenizer = HfTokenizer::open(
            &files,
            TokenizerSettings {
                context_length: config.text.context_length,
                cleaning: config.text.clean,
                strip_separator: config.text.strip_separator,
            },
        )?;
        let weights = WEIGHTS
            .into_iter()
            .find(|name| files.has(name))
            .unwrap_or(WEIGHTS[0]);
        Ok(Self {
            spec: spec.clone(),
            files,
            config,
            trunk,
            tokenizer: Arc::new(tokenizer),
            weights,
            text: Mutex::new(None),
            vision: Mutex::new(None),
            identity: Mutex::new(None),
        })
    }

    /// The specification it was opened with.
    pub fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    /// Dimension F of the embedding space.
    pub fn dim(&self) -> usize {
        self.config.embed_dim
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> Arc<dyn TextTokenizer> {
        self.tokenizer.clone()
    }

    /// The image transform of the model.
    pub fn preprocess(&self) -> &ImageTransform {
        &self.config.transform
    }

    /// Remarks on the model's configuration worth showing once.
    pub fn notices(&self) -> &[String] {
        &self.config.notices
    }

    /// Unit vectors `[B, F]` (f32) of texts; texts longer than the context are
    /// truncated so that the end token remains.
    pub fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        let length = self.config.text.context_length;
        let tokens = self.tokenizer.encode(texts, Some(length))?;
        let tokens: Vec<&[i64]> = tokens.iter().map(Vec::as_slice).collect();
        self.embed_tokens(&tokens)
    }

    /// Unit vectors `[B, F]` (f32) of token sequences without padding.
    pub fn embed_tokens(&self, texts: &[&[i64]]) -> Result<Tensor, EmbedderError> {
        let tower = self.text_tower()?;
        // Neighbours in sorted order share most of their tokens.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| texts[a].cmp(texts[b]));
        let dim = self.dim();
        let mut vectors = vec![0f32; texts.len() * dim];
        for batch in order.chunks(TEXT_BATCH) {
            let tokens: Vec<&[i64]> = batch.iter().map(|&index| texts[index]).collect();
            let features = unit_rows(
                &tower
                    .forward(&tokens)
                    .map_err(|error| self.bad_input(error))?,
            )?;
            for (&index, row) in batch.iter().zip(features.chunks_exact(dim)) {
                vectors[index * dim..][..dim].copy_from_slice(row);
            }
        }
        Ok(Tensor::from_vec(vectors, (texts.len(), dim), &Device::Cpu)?)
    }

    /// Unit vectors `[B, F]` (f32) of pictures of any size.
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
        let transform = self.preprocess();
        let (height, width) = (transform.height as usize, transform.width as usize);
        let mut vectors = Vec::with_capacity(images.len() * self.dim());
        for batch in images.chunks(IMAGE_BATCH) {
            let mut pixels = vec![0f32; batch.len() * transform.len()];
            pixels
                .par_chunks_mut(transform.len())
                .zip(batch)
                .for_each(|(out, image)| transform.apply(image, out));
            let pixels = Tensor::from_vec(pixels, (batch.len(), 3, height, width), &Device::Cpu)?;
            vectors.extend(self.pixel_vectors(&pixels)?);
        }
        Ok(Tensor::from_vec(
            vectors,
            (images.len(), self.dim()),
            &Device::Cpu,
        )?)
    }

    /// Unit vectors `[B, F]` (f32) of normalised pixels `[B, 3, H, W]`.
    pub fn embed_pixels(&self, pixels: &Tensor) -> Result<Tensor, EmbedderError> {
        let count = pixels.dim(0)?;
        let mut vectors = Vec::with_capacity(count * self.dim());
        for start in (0..count).step_by(IMAGE_BATCH) {
            let batch = pixels.narrow(0, start, IMAGE_BATCH.min(count - start))?;
            vectors.extend(self.pixel_vectors(&batch)?);
        }
        Ok(Tensor::from_vec(
            vectors,
            (count, self.dim()),
            &Device::Cpu,
        )?)
    }

    fn pixel_vectors(&self, pixels: &Tensor) -> Result<Vec<f32>, EmbedderError> {
        let (height, width) = (
            self.preprocess().height as usize,
            self.preprocess().width as usize,
        );
        match pixels.dims() {
            [_, 3, h, w] if (*h, *w) == (height, width) => {}
            found => {
                return Err(EmbedderError::BadInput {
                    spec: self.spec.to_string(),
                    reason: format!("pixels {found:?} are not [B, 3, {height}, {width}]"),
                });
            }
        }
        let pixels = pixels.to_dtype(DType::F32)?;
        let features = match &*self.vision_tower()? {
            VisionTower::ClipVit(tower) => tower.forward(&pixels)?,
            VisionTower::ResNet(tower) => tower.forward(&pixels)?,
            VisionTower::TimmVit(tower) => tower.forward(&pixels)?,
            VisionTower::Eva02(tower) => tower.forward(&pixels)?,
        };
        Ok(unit_rows(&features)?)
    }

    fn unsupported(&self, what: String) -> EmbedderError {
        EmbedderError::Unsupported {
            spec: self.spec.to_string(),
            what,
        }
    }

    fn bad_input(&self, error: candle_core::Error) -> EmbedderError {
        match error {
            candle_core::Error::Msg(reason) => EmbedderError::BadInput {
                spec: self.spec.to_string(),
                reason,
            },
            error => error.into(),
        }
    }

    /// BLAKE3 over configuration, tokenizer and weights; read once.
    pub fn identity(&self) -> Result<blake3::Hash, EmbedderError> {
        let mut identity = lock(&self.identity);
        if let Some(hash) = *identity {
            return Ok(hash);
        }
        let hash = self.files.digest(&[CONFIG, TOKENIZER, self.weights])?;
        *identity = Some(hash);
        Ok(hash)
    }

    /// The configuration object that enters cache hashes
    /// (`embedding-cache.md` section 5), as for a CPU without AMP.
    pub fn config_object(&self) -> Value {
        json!({
            "amp_dtype": "None",
            "class": "OpenCLIPEmbedder",
            "device_type": "cpu",
            "model_config": self.config.json,
            "model_id": self.spec.name(),
        })
    }

    /// Loads both towers now.
    pub fn load(&self) -> Result<(), EmbedderError> {
        self.text_tower()?;
        self.vision_tower()?;
        Ok(())
    }

    /// Forgets the towers; they are loaded again when needed.
    pub fn release(&self) {
        *lock(&self.text) = None;
        *lock(&self.vision) = None;
    }

    fn text_tower(&self) -> Result<Arc<ClipText>, EmbedderError> {
        let mut slot = lock(&self.text);
        if let Some(tower) = &*slot {
            return Ok(tower.clone());
        }
        let weights = self.open_weights()?;
        let pad_id = self.tokenizer.constants().pad_id;
        let tower = ClipText::load(&Parameters::root(&weights), &self.config.text, pad_id)?;
        weights.finish(|name| !name.starts_with("visual."))?;
        Ok(slot.insert(Arc::new(tower)).clone())
    }

    fn vision_tower(&self) -> Result<Arc<VisionTower>, EmbedderError> {
        let mut slot = lock(&self.vision);
        if let Some(tower) = &*slot {
            return Ok(tower.clone());
        }
        let weights = self.open_weights()?;
        let parameters = Parameters::root(&weights).under("visual");
        let tower = match &self.config.vision {
            VisionConfig::ClipVit(config) => {
                VisionTower::ClipVit(ClipVit::load(&parameters, config)?)
            }
            VisionConfig::ResNet(config) => VisionTower::ResNet(ResNet::load(&parameters, config)?),
            VisionConfig::Timm(config) => match &self.trunk {
                Some(trunk) if trunk.family == TimmFamily::Eva => {
                    VisionTower::Eva02(Eva02::load(&parameters, trunk, config)?)
                }
                Some(trunk) => VisionTower::TimmVit(TimmVit::load(&parameters, trunk, config)?),
                None => return Err(self.unsupported(format!("timm tower {}", config.name))),
            },
        };
        weights.finish(|name| name.starts_with("visual."))?;
        Ok(slot.insert(Arc::new(tower)).clone())
    }

    /// The weight file with its parameters named as in a plain open_clip
    /// checkpoint and its position grids brought to the configured sizes.
    fn open_weights(&self) -> Result<Weights, EmbedderError> {
        let path = self.files.path(self.weights);
        let mut weights = match &self.files {
            ModelFiles::Embedded(model) => match model.file(self.weights) {
                Some(bytes) => Weights::from_static(&path, bytes)?,
                None => {
                    return Err(EmbedderError::BadFile {
                        path,
                        reason: "not part of the embedded model".to_owned(),
                    });
                }
            },
            ModelFiles::Folder(_) if is_pickle(&path) => Weights::open_pickle(&path)?,
            ModelFiles::Folder(_) => Weights::open_safetensors(&path)?,
        };
        name_plainly(&mut weights);
        position_grids::fit(&mut weights, &self.config)?;
        Ok(weights)
    }
}

impl TextToVector for Embedder {
    fn dim(&self) -> usize {
        Embedder::dim(self)
    }

    fn text_vectors(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        self.embed_texts(texts)
    }
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

fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "bin")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The slots hold complete values at all times.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings the names of both checkpoint layouts (`embedders.md` 2.2) to the
/// plain one and drops what inference does not use.
fn name_plainly(weights: &mut Weights) {
    const UNUSED: [&str; 4] = [
        "logit_scale",
        "logit_bias",
        "attn_mask",
        "transformer.embeddings.position_ids",
    ];
    let is_wrapped = weights.names().all(|name| name.starts_with("module."));
    weights.rename(|name| {
        let name = if is_wrapped {
            name.strip_prefix("module.").unwrap_or(name)
        } else {
            name
        };
        let name = name.strip_prefix("text.").unwrap_or(name);
        let unused = UNUSED.contains(&name) || name.ends_with(".num_batches_tracked");
        (!unused).then(|| name.to_owned())
    });
}

/// Rows divided by their length.
fn unit_rows(features: &Tensor) -> candle_core::Result<Vec<f32>> {
    let dim = features.dim(1)?;
    let mut values = features.flatten_all()?.to_vec1::<f32>()?;
    for row in values.chunks_exact_mut(dim) {
        let length = row
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt();
        let scale = (1.0 / length.max(1e-12)) as f32;
        for value in row {
            *value *= scale;
        }
    }
    Ok(values)
}
