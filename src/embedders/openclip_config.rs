//! `open_clip_config.json` (`embedders.md` section 2.1): the architecture of
//! both towers and the image transform, every number checked against sane
//! bounds because it sizes allocations.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::EmbedderError;
use crate::images::{ImageTransform, Interpolation, ResizeMode};
use crate::ops::linear::Activation;

/// How a tower turns its token states into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// State of the class token.
    ClassToken,
    /// Mean over the patch tokens.
    Mean,
    /// State at the position of the largest id.
    LargestId,
    /// State at the first position.
    First,
    /// State at the last position.
    Last,
}

/// Architecture of the image tower.
#[derive(Clone, Debug, PartialEq)]
pub enum VisionConfig {
    /// The plain vision transformer of CLIP.
    ClipVit(ClipVitConfig),
    /// The residual network of CLIP.
    ResNet(ResNetConfig),
    /// A tower named by timm.
    Timm(TimmConfig),
}

/// The plain vision transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVitConfig {
    /// Input height and width.
    pub image_size: (usize, usize),
    /// Side of a patch.
    pub patch_size: usize,
    /// Width of the token states.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Whether block outputs are scaled by learned factors.
    pub layer_scale: bool,
    /// Whether the token states are normalised before the first block.
    pub norm_before: bool,
    /// Whether pooling comes before the last normalisation.
    pub norm_after_pool: bool,
    /// Class token or mean.
    pub pooling: Pooling,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// The residual network with attention pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Side of the square input.
    pub image_size: usize,
    /// Bottleneck blocks of the four stages.
    pub stages: [usize; 4],
    /// Channels after the stem.
    pub width: usize,
    /// Heads of the attention pool.
    pub heads: usize,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// A timm tower: the name is all the configuration says about its trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TimmConfig {
    /// Name without tag.
    pub name: String,
    /// `timm_pool`.
    pub pool: String,
    /// `timm_proj`; empty for none at all (the trunk's own classifier).
    pub projection: String,
    /// Whether a linear projection has a bias.
    pub projection_bias: bool,
    /// Input height and width.
    pub image_size: (usize, usize),
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// Architecture of the text tower and cleaning of its input.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Positions.
    pub context_length: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the token states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Whether block outputs are scaled by learned factors.
    pub layer_scale: bool,
    /// Whether a position sees only itself and what is before it.
    pub causal: bool,
    /// Which position becomes the embedding.
    pub pooling: Pooling,
    /// Whether the projection is a linear layer with bias.
    pub projection_bias: bool,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Dimension of the embedding.
    pub embed_dim: usize,
    /// `tokenizer_kwargs.clean`.
    pub clean: Cleaning,
    /// `tokenizer_kwargs.strip_sep_token`: separator ids become the pad id.
    pub strip_separator: bool,
}

/// What happens to a text before the tokenizer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// Nothing (`whitespace`; texts are assumed clean).
    Nothing,
    /// Repair, unescape, collapse whitespace, lower case.
    Lower,
    /// As lower, and without punctuation.
    Canonicalize,
}

/// A parsed `open_clip_config.json`.
#[derive(Clone, Debug)]
pub struct OpenClipConfig {
    /// The file's content, as it enters configuration hashes.
    pub json: Value,
    /// Dimension F of the embedding space.
    pub embed_dim: usize,
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// The image transform.
    pub transform: ImageTransform,
    /// Keys that were not understood.
    pub notices: Vec<String>,
}

const MAX_WIDTH: usize = 1 << 15;
const MAX_LAYERS: usize = 1 << 10;
const MAX_IMAGE: usize = 1 << 13;

/// One JSON object, remembering which keys were asked for.
struct Fields<'a> {
    path: &'a Path,
    name: &'static str,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn new(path: &'a Path, name: &'static str, value: &'a Value) -> Result<Self, EmbedderError> {
        match value {
            Value::Object(map) => Ok(Self {
                path,
                name,
                map,
                known: Vec::new(),
            }),
            _ => Err(EmbedderError::BadFile {
                path: path.to_owned(),
                reason: format!("{name} is not an object"),
            }),
        }
    }

    fn bad(&self, key: &str, wanted: impl std::fmt::Display) -> EmbedderError {
        let given = self.map.get(key).unwrap_or(&Value::Null);
        EmbedderError::BadFile {
            path: self.path.to_owned(),
            reason: format!("{}.{key} = {given} is not {wanted}", self.name),
        }
    }

    /// The value of a key unless it is absent or null.
    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Keys without a meaning for inference.
    fn ignore(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    fn count(
        &mut self,
        key: &'static str,
        default: usize,
        max: usize,
    ) -> Result<usize, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => as_count(value, max)
                .ok_or_else(|| self.bad(key, format_args!("a whole number between 1 and {max}"))),
        }
    }

    fn number(&mut self, key: &'static str, default: f64) -> Result<f64, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.bad(key, "a number")),
        }
    }

    fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.bad(key, "true or false")),
        }
    }

    fn text(&mut self, key: &'static str, default: &'a str) -> Result<&'a str, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| self.bad(key, "a text")),
        }
    }

    /// One number for both, or `[height, width]`.
    fn size(&mut self, key: &'static str, default: usize) -> Result<(usize, usize), EmbedderError> {
        let size = match self.get(key) {
            None => return Ok((default, default)),
            Some(Value::Array(sides)) => match sides.as_slice() {
                [height, width] => as_count(height, MAX_IMAGE).zip(as_count(width, MAX_IMAGE)),
                _ => None,
            },
            Some(value) => as_count(value, MAX_IMAGE).map(|side| (side, side)),
        };
        size.ok_or_else(|| self.bad(key, format_args!("a size between 1 and {MAX_IMAGE} pixels")))
    }

    fn channels(
        &mut self,
        key: &'static str,
        default: [f32; 3],
    ) -> Result<[f32; 3], EmbedderError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let values = match value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
            value => value.as_f64().map(|value| vec![value; 3]),
        };
        match values.as_deref() {
            Some(&[red, green, blue]) => Ok([red as f32, green as f32, blue as f32]),
            _ => Err(self.bad(key, "three numbers")),
        }
    }

    fn layer_norm_eps(&mut self) -> Result<f32, EmbedderError> {
        let Some(kwargs) = self.get("norm_kwargs") else {
            return Ok(1e-5);
        };
        let eps = match kwargs.get("eps") {
            None => Some(1e-5),
            Some(eps) => eps.as_f64(),
        };
        match eps {
            Some(eps) if eps > 0.0 && eps < 1.0 => Ok(eps as f32),
            _ => Err(self.bad("norm_kwargs", "an object with a positive eps")),
        }
    }

    fn notices(&self) -> impl Iterator<Item = String> {
        self.map
            .keys()
            .filter(|key| !self.known.contains(&key.as_str()))
            .map(|key| format!("{}.{key} is not known and has no effect", self.name))
    }
}

fn as_count(value: &Value, max: usize) -> Option<usize> {
    let count = usize::try_from(value.as_u64()?).ok()?;
    (1..=max).contains(&count).then_some(count)
}

/// Hidden width of an MLP: ⌊width · ratio⌋ in `f64`.
fn hidden_width(fields: &mut Fields<'_>, width: usize) -> Result<usize, EmbedderError> {
    let ratio = fields.number("mlp_ratio", 4.0)?;
    let hidden = (width as f64 * ratio).floor();
    if (1.0..=(MAX_WIDTH * 8) as f64).contains(&hidden) {
        Ok(hidden as usize)
    } else {
        Err(fields.bad("mlp_ratio", "a sensible ratio"))
    }
}

impl OpenClipConfig {
    /// Parses the file's content; `path` is named in errors.
    pub fn parse(json: Value, path: &Path) -> Result<Self, EmbedderError> {
        let missing = |what: &str| EmbedderError::BadFile {
            path: path.to_owned(),
            reason: format!("{what} is missing"),
        };
        let model = json.get("model_cfg").ok_or_else(|| missing("model_cfg"))?;
        let mut model = Fields::new(path, "model_cfg", model)?;
        let embed_dim = model.count("embed_dim", 0, MAX_WIDTH)?;
        if embed_dim == 0 {
            return Err(missing("model_cfg.embed_dim"));
        }
        if model.get("multimodal_cfg").is_some() {
            return Err(EmbedderError::BadFile {
                path: path.to_owned(),
                reason: "CoCa models (multimodal_cfg) are not supported".to_owned(),
            });
        }
        let activation = if model.flag("quick_gelu", false)? {
            Activation::QuickGelu
        } else {
            Activation::Gelu
        };
        model.ignore(&["custom_text", "init_logit_scale", "init_logit_bias"]);
        let vision = model
            .get("vision_cfg")
            .ok_or_else(|| missing("model_cfg.vision_cfg"))?;
        let text = model
            .get("text_cfg")
            .ok_or_else(|| missing("model_cfg.text_cfg"))?;

        let mut notices: Vec<String> = model.notices().collect();
        let mut fields = Fields::new(path, "vision_cfg", vision)?;
        let vision = parse_vision(&mut fields, embed_dim, activation)?;
        notices.extend(fields.notices());
        let mut fields = Fields::new(path, "text_cfg", text)?;
        let text = parse_text(&mut fields, embed_dim, activation)?;
        notices.extend(fields.notices());
        let empty = Value::Object(Map::new());
        let preprocess = json.get("preprocess_cfg").unwrap_or(&empty);
        let mut fields = Fields::new(path, "preprocess_cfg", preprocess)?;
        let size = match &vision {
            VisionConfig::ClipVit(config) => config.image_size,
            VisionConfig::ResNet(config) => (config.image_size, config.image_size),
            VisionConfig::Timm(config) => config.image_size,
        };
        let transform = parse_transform(&mut fields, size)?;
        Ok(Self {
            json,
            embed_dim,
            vision,
            text,
            transform,
            notices,
        })
    }
}

fn parse_vision(
    fields: &mut Fields<'_>,
    embed_dim: usize,
    activation: Activation,
) -> Result<VisionConfig, EmbedderError> {
    fields.ignore(&[
        "patch_dropout",
        "timm_drop",
        "timm_drop_path",
        "timm_model_pretrained",
        "attentional_pool",
        "attn_pooler_queries",
        "attn_pooler_heads",
        "pos_embed_type",
        "act_kwargs",
        "output_tokens",
    ]);
    let image_size = fields.size("image_size", 224)?;
    let width = fields.count("width", 768, MAX_WIDTH)?;
    let head_width = fields.count("head_width", 64, MAX_WIDTH)?;
    let patch_size = fields.count("patch_size", 16, MAX_IMAGE)?;
    let hidden = hidden_width(fields, width)?;
    let layer_scale = fields.get("ls_init_value").is_some();
    let norm_before = !fields.flag("no_ln_pre", false)?;
    let norm_after_pool = fields.flag("final_ln_after_pool", false)?;
    let eps = fields.layer_norm_eps()?;
    let pooling = match fields.text("pool_type", "tok")? {
        "tok" => Pooling::ClassToken,
        "avg" => Pooling::Mean,
        _ => return Err(fields.bad("pool_type", "tok or avg")),
    };
    let timm_name = fields.text("timm_model_name", "")?;
    let timm_pool = fields.text("timm_pool", "avg")?;
    // An explicit null means no projection, an absent key a linear one.
    let timm_projection = match fields.map.get("timm_proj") {
        Some(Value::Null) => "",
        _ => fields.text("timm_proj", "linear")?,
    };
    fields.ignore(&["timm_proj"]);
    let projection_bias = fields.flag("timm_proj_bias", false)?;
    if fields
        .map
        .get("attentional_pool")
        .is_some_and(|value| *value != Value::Bool(false) && !value.is_null())
    {
        return Err(fields.bad(
            "attentional_pool",
            "false (attentional pooling is not supported)",
        ));
    }
    let layers = fields.get("layers");
    if !timm_name.is_empty() {
        return Ok(VisionConfig::Timm(TimmConfig {
            name: timm_name.split('.').next().unwrap_or(timm_name).to_owned(),
            pool: timm_pool.to_owned(),
            projection: timm_projection.to_owned(),
            projection_bias,
            image_size,
            embed_dim,
        }));
    }
    if let Some(Value::Array(stages)) = layers {
        let stages: Option<Vec<usize>> = stages
            .iter()
            .map(|value| as_count(value, MAX_LAYERS))
            .collect();
        let stages = stages
            .and_then(|stages| <[usize; 4]>::try_from(stages).ok())
            .ok_or_else(|| fields.bad("layers", "four numbers of blocks"))?;
        let heads = width * 32 / head_width;
        if heads == 0 || !(width * 32).is_multiple_of(heads) {
            return Err(fields.bad("head_width", "a divisor of 32 times the width"));
        }
        // Five halvings before the attention pool.
        if image_size.0 != image_size.1 || !image_size.0.is_multiple_of(32) {
            return Err(fields.bad("image_size", "a square size that 32 divides"));
        }
        if !width.is_multiple_of(2) {
            return Err(fields.bad("width", "even"));
        }
        return Ok(VisionConfig::ResNet(ResNetConfig {
            image_size: image_size.0,
            stages,
            width,
            heads,
            embed_dim,
        }));
    }
    let layers = match layers {
        None => 12,
        Some(value) => as_count(value, MAX_LAYERS).ok_or_else(|| {
            fields.bad(
                "layers",
                "a number of blocks, or four for a residual network",
            )
        })?,
    };
    let heads = width / head_width;
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(fields.bad("head_width", "a divisor of the width"));
    }
    if image_size.0 < patch_size || image_size.1 < patch_size {
        return Err(fields.bad("patch_size", "smaller than the image"));
    }
    Ok(VisionConfig::ClipVit(ClipVitConfig {
        image_size,
        patch_size,
        width,
        layers,
        heads,
        hidden,
        layer_scale,
        norm_before,
        norm_after_pool,
        pooling,
        activation,
        eps,
        embed_dim,
    }))
}

fn parse_text(
    fields: &mut Fields<'_>,
    embed_dim: usize,
    activation: Activation,
) -> Result<TextConfig, EmbedderError> {
    if fields.get("hf_model_name").is_some() {
        return Err(fields.bad("hf_model_name", "supported: text towers of the transformers library inside open_clip models cannot be loaded"));
    }
    fields.ignore(&[
        "hf_tokenizer_name",
        "hf_model_pretrained",
        "pad_id",
        "final_ln_after_pool",
        "act_kwargs",
        "output_tokens",
    ]);
    if fields.flag("embed_cls", false)? {
        return Err(fields.bad("embed_cls", "false (an extra class token is not supported)"));
    }
    let width = fields.count("width", 512, MAX_WIDTH)?;
    let heads = fields.count("heads", 8, MAX_WIDTH)?;
    if !width.is_multiple_of(heads) {
        return Err(fields.bad("heads", "a divisor of the width"));
    }
    let hidden = hidden_width(fields, width)?;
    let pooling = match fields.text("pool_type", "argmax")? {
        "argmax" => Pooling::LargestId,
        "first" => Pooling::First,
        "last" => Pooling::Last,
        _ => return Err(fields.bad("pool_type", "argmax, first or last")),
    };
    let (clean, strip_separator) = match fields.get("tokenizer_kwargs") {
        None => (Cleaning::Nothing, false),
        Some(kwargs) => {
            let clean = match kwargs.get("clean").filter(|value| !value.is_null()) {
                None => Some(Cleaning::Nothing),
                Some(value) => match value.as_str() {
                    Some("whitespace") => Some(Cleaning::Nothing),
                    Some("lower") => Some(Cleaning::Lower),
                    Some("canonicalize") => Some(Cleaning::Canonicalize),
                    _ => None,
                },
            };
            let strip = match kwargs.get("strip_sep_token") {
                None => Some(false),
                Some(value) => value.as_bool(),
            };
            clean.zip(strip).ok_or_else(|| {
                fields.bad(
                    "tokenizer_kwargs",
                    "clean = whitespace, lower or canonicalize, strip_sep_token = true or false",
                )
            })?
        }
    };
    Ok(TextConfig {
        context_length: fields.count("context_length", 77, 1 << 14)?,
        vocab_size: fields.count("vocab_size", 49408, 1 << 22)?,
        width,
        heads,
        layers: fields.count("layers", 12, MAX_LAYERS)?,
        hidden,
        layer_scale: fields.get("ls_init_value").is_some(),
        causal: !fields.flag("no_causal_mask", false)?,
        pooling,
        projection_bias: fields.flag("proj_bias", false)?,
        activation,
        eps: fields.layer_norm_eps()?,
        embed_dim,
        clean,
        strip_separator,
    })
}

fn parse_transform(
    fields: &mut Fields<'_>,
    (height, width): (usize, usize),
) -> Result<ImageTransform, EmbedderError> {
    let interpolation = match fields.text("interpolation", "bicubic")? {
        "bicubic" | "random" => Interpolation::Bicubic,
        "bilinear" => Interpolation::Bilinear,
        _ => return Err(fields.bad("interpolation", "bicubic or bilinear")),
    };
    let resize_mode = match fields.text("resize_mode", "shortest")? {
        "shortest" => ResizeMode::Shortest,
        "squash" => ResizeMode::Squash,
        "longest" => ResizeMode::Longest,
        _ => return Err(fields.bad("resize_mode", "shortest, squash or longest")),
    };
    let fill = fields.number("fill_color", 0.0)?;
    let std = fields.channels("std", [0.268_629_55, 0.261_302_6, 0.275_777_1])?;
    if std.iter().any(|std| *std <= 0.0 || std.is_nan()) {
        return Err(fields.bad("std", "positive"));
    }
    Ok(ImageTransform {
        height: height as u32,
        width: width as u32,
        resize_mode,
        interpolation,
        mean: fields.channels("mean", [0.481_454_66, 0.457_827_5, 0.408_210_73])?,
        std,
        fill: fill.clamp(0.0, 255.0) as u8,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(json: Value) -> Result<OpenClipConfig, EmbedderError> {
        OpenClipConfig::parse(json, Path::new("open_clip_config.json"))
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let config = parse(
            json!({"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {"new_key": 1}}}),
        )
        .unwrap();
        let VisionConfig::ClipVit(vision) = config.vision else {
            panic!("not a vision transformer");
        };
        assert_eq!(
            (vision.layers, vision.width, vision.heads, vision.hidden),
            (12, 768, 12, 3072)
        );
        assert_eq!(
            (config.text.context_length, config.text.vocab_size),
            (77, 49408)
        );
        assert!(config.text.causal);
        assert_eq!(
            config.notices,
            ["text_cfg.new_key is not known and has no effect"]
        );
    }

    #[test]
    fn hidden_widths_are_floors() {
        for (width, ratio, hidden) in [
            (1152, 3.7362, 4304),
            (1408, 4.3637, 6144),
            (1664, 4.9231, 8192),
        ] {
            let config = parse(json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {},
                "text_cfg": {"width": width, "mlp_ratio": ratio, "heads": 16}}}));
            assert_eq!(config.unwrap().text.hidden, hidden);
        }
    }

    #[test]
    fn errors_name_key_and_value() {
        let bad = [
            (json!({}), "model_cfg is missing"),
            (
                json!({"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}),
                "embed_dim",
            ),
            (
                json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {"width": 1e18}, "text_cfg": {}}}),
                "vision_cfg.width",
            ),
            (
                json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {"layers": [1, 2]}, "text_cfg": {}}}),
                "vision_cfg.layers",
            ),
            (
                json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"heads": 7}}}),
                "text_cfg.heads",
            ),
            (
                json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}, "multimodal_cfg": {}}}),
                "CoCa",
            ),
        ];
        for (json, word) in bad {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
