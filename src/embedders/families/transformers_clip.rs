//! CLIP of the transformers library (`embedders.md` sections 2.3 and 5.7).

use std::sync::Arc;

use super::preprocessor::{self, Defaults};
use super::transformers_config::{
    CONFIG, TransformersConfig, activation, configuration, eps, heads, weight_files,
};
use crate::embedders::description::{Description, Layout, TextArchitecture, VisionArchitecture};
use crate::embedders::error::EmbedderError;
use crate::embedders::files::ModelFiles;
use crate::embedders::hf_tokenizer::{HfTokenizer, TokenizerSettings};
use crate::embedders::json_fields::{Fields, MAX_IMAGE, MAX_LAYERS, MAX_WIDTH};
use crate::embedders::names::Reading::{Third, Transposed};
use crate::embedders::names::{NameTable, ignored, read, whole};
use crate::embedders::spec::EmbedderSpec;
use crate::embedders::text_cleaning::Cleaning;
use crate::embedders::tower_configs::{ClipVitConfig, Pooling, TextConfig};
use crate::images::ImageTransform;

const NAMES: NameTable = &[
    whole(
        "text_model.embeddings.token_embedding.weight",
        "token_embedding.weight",
    ),
    whole(
        "text_model.embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ignored("text_model.embeddings.position_ids"),
    whole(
        "text_model.encoder.layers.{n}.layer_norm1.*",
        "transformer.resblocks.{n}.ln_1.*",
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.q_proj.weight",
        "transformer.resblocks.{n}.attn.in_proj_weight",
        Third(0),
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.k_proj.weight",
        "transformer.resblocks.{n}.attn.in_proj_weight",
        Third(1),
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.v_proj.weight",
        "transformer.resblocks.{n}.attn.in_proj_weight",
        Third(2),
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.q_proj.bias",
        "transformer.resblocks.{n}.attn.in_proj_bias",
        Third(0),
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.k_proj.bias",
        "transformer.resblocks.{n}.attn.in_proj_bias",
        Third(1),
    ),
    read(
        "text_model.encoder.layers.{n}.self_attn.v_proj.bias",
        "transformer.resblocks.{n}.attn.in_proj_bias",
        Third(2),
    ),
    whole(
        "text_model.encoder.layers.{n}.self_attn.out_proj.*",
        "transformer.resblocks.{n}.attn.out_proj.*",
    ),
    whole(
        "text_model.encoder.layers.{n}.layer_norm2.*",
        "transformer.resblocks.{n}.ln_2.*",
    ),
    whole(
        "text_model.encoder.layers.{n}.mlp.fc1.*",
        "transformer.resblocks.{n}.mlp.c_fc.*",
    ),
    whole(
        "text_model.encoder.layers.{n}.mlp.fc2.*",
        "transformer.resblocks.{n}.mlp.c_proj.*",
    ),
    whole("text_model.final_layer_norm.*", "ln_final.*"),
    read("text_projection.weight", "text_projection", Transposed),
    whole(
        "vision_model.embeddings.class_embedding",
        "visual.class_embedding",
    ),
    whole(
        "vision_model.embeddings.patch_embedding.weight",
        "visual.conv1.weight",
    ),
    whole(
        "vision_model.embeddings.position_embedding.weight",
        "visual.positional_embedding",
    ),
    ignored("vision_model.embeddings.position_ids"),
    whole("vision_model.pre_layrnorm.*", "visual.ln_pre.*"),
    whole(
        "vision_model.encoder.layers.{n}.layer_norm1.*",
        "visual.transformer.resblocks.{n}.ln_1.*",
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.q_proj.weight",
        "visual.transformer.resblocks.{n}.attn.in_proj_weight",
        Third(0),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.k_proj.weight",
        "visual.transformer.resblocks.{n}.attn.in_proj_weight",
        Third(1),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.v_proj.weight",
        "visual.transformer.resblocks.{n}.attn.in_proj_weight",
        Third(2),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.q_proj.bias",
        "visual.transformer.resblocks.{n}.attn.in_proj_bias",
        Third(0),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.k_proj.bias",
        "visual.transformer.resblocks.{n}.attn.in_proj_bias",
        Third(1),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.v_proj.bias",
        "visual.transformer.resblocks.{n}.attn.in_proj_bias",
        Third(2),
    ),
    whole(
        "vision_model.encoder.layers.{n}.self_attn.out_proj.*",
        "visual.transformer.resblocks.{n}.attn.out_proj.*",
    ),
    whole(
        "vision_model.encoder.layers.{n}.layer_norm2.*",
        "visual.transformer.resblocks.{n}.ln_2.*",
    ),
    whole(
        "vision_model.encoder.layers.{n}.mlp.fc1.*",
        "visual.transformer.resblocks.{n}.mlp.c_fc.*",
    ),
    whole(
        "vision_model.encoder.layers.{n}.mlp.fc2.*",
        "visual.transformer.resblocks.{n}.mlp.c_proj.*",
    ),
    whole("vision_model.post_layernorm.*", "visual.ln_post.*"),
    read("visual_projection.weight", "visual.proj", Transposed),
    ignored("logit_scale"),
];

/// `eos_token_id` of configurations written before it was corrected: the end
/// token is the largest id then.
const OLD_END_ID: i64 = 2;

pub(super) fn describe(
    spec: &EmbedderSpec,
    files: &ModelFiles,
) -> Result<Description, EmbedderError> {
    let mut config = TransformersConfig::read(files)?;
    let path = files.path(CONFIG);
    let mut fields = Fields::new(&path, "config", &config.json)?;
    let embed_dim = fields.count("projection_dim", 512, MAX_WIDTH)?;
    let mut notices = Vec::new();
    for (name, part) in [
        ("text_config", &mut config.text),
        ("vision_config", &mut config.vision),
    ] {
        let own = part
            .get("projection_dim")
            .and_then(serde_json::Value::as_u64);
        // The default of the parts is 512.
        if own.unwrap_or(512) != embed_dim as u64 {
            notices.push(format!(
                "{name}.projection_dim = {} has no effect; the model's is {embed_dim}",
                own.unwrap_or(512)
            ));
            part["projection_dim"] = embed_dim.into();
        }
    }
    let mut fields = Fields::new(&path, "text_config", &config.text)?;
    let width = fields.count("hidden_size", 512, MAX_WIDTH)?;
    let text = TextConfig {
        context_length: fields.count("max_position_embeddings", 77, 1 << 14)?,
        vocab_size: fields.count("vocab_size", 49408, 1 << 22)?,
        width,
        heads: heads(&mut fields, width, 8)?,
        layers: fields.count("num_hidden_layers", 12, MAX_LAYERS)?,
        hidden: fields.count("intermediate_size", 2048, MAX_WIDTH * 8)?,
        layer_scale: false,
        causal: true,
        pooling: match fields.number("eos_token_id", 49407.0)? as i64 {
            OLD_END_ID => Pooling::LargestId,
            id => Pooling::FirstOf(id),
        },
        projection_bias: false,
        activation: activation(&mut fields, "quick_gelu")?,
        eps: eps(&mut fields, "layer_norm_eps", 1e-5)? as f32,
        embed_dim,
    };
    let mut fields = Fields::new(&path, "vision_config", &config.vision)?;
    let width = fields.count("hidden_size", 768, MAX_WIDTH)?;
    let size = fields.count("image_size", 224, MAX_IMAGE)?;
    let vision = ClipVitConfig {
        image_size: (size, size),
        patch_size: fields.count("patch_size", 32, size)?,
        width,
        layers: fields.count("num_hidden_layers", 12, MAX_LAYERS)?,
        heads: heads(&mut fields, width, 12)?,
        hidden: fields.count("intermediate_size", 3072, MAX_WIDTH * 8)?,
        layer_scale: false,
        norm_before: true,
        norm_after_pool: false,
        pooling: Pooling::ClassToken,
        activation: activation(&mut fields, "quick_gelu")?,
        eps: eps(&mut fields, "layer_norm_eps", 1e-5)? as f32,
        embed_dim,
    };
    let transform = preprocessor::transform(
        files,
        &Defaults {
            size,
            shortest: true,
            resample: 3,
            mean: ImageTransform::CLIP_MEAN,
            std: ImageTransform::CLIP_STD,
            include_top: false,
            offset: false,
        },
    )?;
    let settings = TokenizerSettings {
        context_length: text.context_length,
        cleaning: Cleaning::Nothing,
        strip_separator: false,
    };
    let tokenizer = if spec.name().starts_with("facebook/metaclip-") {
        // Their repositories lack a usable tokenizer; it is CLIP's.
        HfTokenizer::clip(settings)?
    } else {
        HfTokenizer::open_or_clip(files, settings, text.vocab_size)?
    }
    .limited();
    Ok(Description {
        family: "CLIP in transformers layout",
        embed_dim,
        text: TextArchitecture::Clip(text),
        vision: VisionArchitecture::ClipVit(vision),
        transform,
        configuration: configuration(spec, "CLIPConfig", &config),
        notices,
        weights: weight_files(files)?,
        sha256: None,
        layout: Layout::Table(NAMES),
        identity: [
            vec![CONFIG.to_owned(), preprocessor::CONFIG.to_owned()],
            tokenizer.files().to_vec(),
        ]
        .concat(),
        tokenizer: Arc::new(tokenizer),
    })
}
