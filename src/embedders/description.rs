//! What a model's own files say about it, whatever family it is of: both
//! towers as numbers, tokenizer, image transform, and where its weights lie.

use std::sync::Arc;

use serde_json::Value;

use super::error::EmbedderError;
use super::names::NameTable;
use super::position_grids;
use super::timm_models::TimmArchitecture;
use super::tokenizer::TextTokenizer;
use super::tower_configs::{
    BertConfig, ClipVitConfig, EfficientNetConfig, MapVitConfig, ResNetConfig, TextConfig,
    TimmConfig,
};
use super::towers::bert::Bert;
use super::towers::clip_text::ClipText;
use super::towers::clip_vit::ClipVit;
use super::towers::efficient_net::EfficientNet;
use super::towers::eva02::Eva02;
use super::towers::map_vit::MapVit;
use super::towers::resnet::ResNet;
use super::towers::{ImageTower, TextTower};
use super::weights::{Parameters, Weights};
use crate::images::ImageTransform;

/// Architecture of a text tower.
#[derive(Clone, Debug, PartialEq)]
pub enum TextArchitecture {
    /// The text transformer of CLIP and SigLIP.
    Clip(TextConfig),
    /// BERT.
    Bert(BertConfig),
}

/// Architecture of an image tower.
#[derive(Clone, Debug, PartialEq)]
pub enum VisionArchitecture {
    /// The plain vision transformer of CLIP.
    ClipVit(ClipVitConfig),
    /// The residual network of CLIP.
    ResNet(ResNetConfig),
    /// The vision transformer of SigLIP with its head.
    MapVit(MapVitConfig, TimmConfig),
    /// EVA02 with its head.
    Eva02(TimmArchitecture, TimmConfig),
    /// EfficientNet.
    EfficientNet(EfficientNetConfig),
}

/// How the names in the weight files are to be understood.
#[derive(Clone, Copy)]
pub enum Layout {
    /// Checkpoints of open_clip: with or without `text.` and `module.`,
    /// position grids of any size.
    OpenClip,
    /// A table of names.
    Table(NameTable),
}

/// A model as its files describe it.
pub struct Description {
    /// Name of the family, for people.
    pub family: &'static str,
    /// Dimension F of the embedding space.
    pub embed_dim: usize,
    /// The text tower.
    pub text: TextArchitecture,
    /// The image tower.
    pub vision: VisionArchitecture,
    /// The image transform.
    pub transform: ImageTransform,
    /// The tokenizer.
    pub tokenizer: Arc<dyn TextTokenizer>,
    /// The object that enters cache hashes, as for a CPU without AMP.
    pub configuration: Value,
    /// Remarks worth showing once.
    pub notices: Vec<String>,
    /// Names of the weight files.
    pub weights: Vec<String>,
    /// SHA-256 that the weight file must have, where it is known.
    pub sha256: Option<&'static str>,
    /// Names in the weight files.
    pub layout: Layout,
    /// Files whose content identifies the model beside the weights.
    pub identity: Vec<String>,
}

impl Description {
    /// Gives the parameters the names that towers ask for, and position grids
    /// the configured sizes.
    pub fn arrange(&self, weights: &mut Weights) -> Result<(), EmbedderError> {
        match self.layout {
            Layout::Table(table) => weights.apply(table),
            Layout::OpenClip => {
                name_plainly(weights);
                position_grids::fit(weights, &self.text, &self.vision)
            }
        }
    }

    /// Takes the parameters of the text tower.
    pub fn text_tower(&self, weights: &Weights) -> Result<Box<dyn TextTower>, EmbedderError> {
        let parameters = Parameters::root(weights);
        let pad_id = self.tokenizer.constants().pad_id;
        let tower: Box<dyn TextTower> = match &self.text {
            TextArchitecture::Clip(config) => {
                Box::new(ClipText::load(&parameters, config, pad_id)?)
            }
            TextArchitecture::Bert(config) => Box::new(Bert::load(&parameters, config)?),
        };
        weights.finish(|name| !name.starts_with("visual."))?;
        Ok(tower)
    }

    /// Takes the parameters of the image tower.
    pub fn image_tower(&self, weights: &Weights) -> Result<Box<dyn ImageTower>, EmbedderError> {
        let parameters = Parameters::root(weights).under("visual");
        let tower: Box<dyn ImageTower> = match &self.vision {
            VisionArchitecture::ClipVit(config) => Box::new(ClipVit::load(&parameters, config)?),
            VisionArchitecture::ResNet(config) => Box::new(ResNet::load(&parameters, config)?),
            VisionArchitecture::MapVit(config, head) => {
                Box::new(MapVit::load(&parameters, config, head)?)
            }
            VisionArchitecture::Eva02(config, head) => {
                Box::new(Eva02::load(&parameters, config, head)?)
            }
            VisionArchitecture::EfficientNet(config) => {
                Box::new(EfficientNet::load(&parameters, config)?)
            }
        };
        weights.finish(|name| name.starts_with("visual."))?;
        Ok(tower)
    }
}

/// Brings the names of both checkpoint layouts of open_clip (`embedders.md`
/// 2.2) to the plain one and drops what inference does not use.
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
