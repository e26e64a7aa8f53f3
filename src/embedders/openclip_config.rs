//! `open_clip_config.json` (`embedders.md` section 2.1): the architecture of
//! both towers and the image transform, every number checked against sane
//! bounds because it sizes allocations.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::EmbedderError;
use super::json_fields::{Fields, MAX_IMAGE, MAX_LAYERS, MAX_WIDTH, as_count};
use super::text_cleaning::Cleaning;
use super::tower_configs::{
    ClipVitConfig, Pooling, ResNetConfig, TextConfig, TimmConfig, VisionConfig,
};
use crate::images::{ImageTransform, Interpolation, ResizeMode};
use crate::ops::linear::Activation;

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
    /// `tokenizer_kwargs.clean`: what happens to a text first.
    pub cleaning: Cleaning,
    /// `tokenizer_kwargs.strip_sep_token`: separator ids become the pad id.
    pub strip_separator: bool,
    /// `hf_tokenizer_name`: the repository whose tokenizer a model takes that
    /// has none itself.
    pub tokenizer_repository: Option<String>,
    /// The image transform.
    pub transform: ImageTransform,
    /// Keys that were not understood.
    pub notices: Vec<String>,
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
        let (cleaning, strip_separator) = parse_tokenizer(&mut fields)?;
        let tokenizer_repository = fields.get("hf_tokenizer_name").and_then(Value::as_str);
        let tokenizer_repository = tokenizer_repository.filter(|name| is_repository(name));
        let tokenizer_repository = tokenizer_repository.map(str::to_owned);
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
            cleaning,
            strip_separator,
            tokenizer_repository,
            transform,
            notices,
        })
    }
}

/// Whether a name can be that of a repository: `NAME` or `OWNER/NAME`.
fn is_repository(name: &str) -> bool {
    let is_plain = |part: &str| {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(is_known)
    };
    name.split('/').count() <= 2 && name.split('/').all(is_plain)
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
    })
}

/// `tokenizer_kwargs`: cleaning, and whether separator ids become the pad id.
fn parse_tokenizer(fields: &mut Fields<'_>) -> Result<(Cleaning, bool), EmbedderError> {
    Ok(match fields.get("tokenizer_kwargs") {
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
    let std = fields.channels("std", ImageTransform::CLIP_STD)?;
    if std.iter().any(|std| *std <= 0.0 || std.is_nan()) {
        return Err(fields.bad("std", "positive"));
    }
    Ok(ImageTransform {
        height: height as u32,
        width: width as u32,
        resize_mode,
        interpolation,
        rescale: ImageTransform::TO_UNIT,
        mean: fields.channels("mean", ImageTransform::CLIP_MEAN)?,
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
    fn the_repository_of_the_tokenizer_is_a_plain_name_or_none() {
        for (name, wanted) in [
            (json!("bert-base-uncased"), Some("bert-base-uncased")),
            (json!("timm/ViT-B-16-SigLIP"), Some("timm/ViT-B-16-SigLIP")),
            (json!("../../etc"), None),
            (json!("a/b/c"), None),
            (json!("a b"), None),
            (json!(7), None),
            (Value::Null, None),
        ] {
            let config = parse(json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {},
                "text_cfg": {"hf_tokenizer_name": name}}}));
            let config = config.unwrap();
            assert_eq!(config.tokenizer_repository.as_deref(), wanted);
            assert!(config.notices.is_empty(), "{:?}", config.notices);
        }
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
