//! SigLIP of the transformers library (`embedders.md` section 5.8).

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
use crate::embedders::names::Reading::{Leading, Third, Thirds};
use crate::embedders::names::{NameTable, ignored, read, whole};
use crate::embedders::spec::EmbedderSpec;
use crate::embedders::text_cleaning::Cleaning;
use crate::embedders::tower_configs::{MapVitConfig, Pooling, TextConfig, TimmConfig};

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
    whole("text_model.head.*", "text_projection.*"),
    whole(
        "vision_model.embeddings.patch_embedding.*",
        "visual.trunk.patch_embed.proj.*",
    ),
    read(
        "vision_model.embeddings.position_embedding.weight",
        "visual.trunk.pos_embed",
        Leading,
    ),
    ignored("vision_model.embeddings.position_ids"),
    whole(
        "vision_model.encoder.layers.{n}.layer_norm1.*",
        "visual.trunk.blocks.{n}.norm1.*",
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.q_proj.*",
        "visual.trunk.blocks.{n}.attn.qkv.*",
        Third(0),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.k_proj.*",
        "visual.trunk.blocks.{n}.attn.qkv.*",
        Third(1),
    ),
    read(
        "vision_model.encoder.layers.{n}.self_attn.v_proj.*",
        "visual.trunk.blocks.{n}.attn.qkv.*",
        Third(2),
    ),
    whole(
        "vision_model.encoder.layers.{n}.self_attn.out_proj.*",
        "visual.trunk.blocks.{n}.attn.proj.*",
    ),
    whole(
        "vision_model.encoder.layers.{n}.layer_norm2.*",
        "visual.trunk.blocks.{n}.norm2.*",
    ),
    whole(
        "vision_model.encoder.layers.{n}.mlp.*",
        "visual.trunk.blocks.{n}.mlp.*",
    ),
    whole("vision_model.post_layernorm.*", "visual.trunk.norm.*"),
    whole("vision_model.head.probe", "visual.trunk.attn_pool.latent"),
    read(
        "vision_model.head.attention.in_proj_weight",
        "visual.trunk.attn_pool.q.weight",
        Thirds(0, 1),
    ),
    read(
        "vision_model.head.attention.in_proj_weight",
        "visual.trunk.attn_pool.kv.weight",
        Thirds(1, 3),
    ),
    read(
        "vision_model.head.attention.in_proj_bias",
        "visual.trunk.attn_pool.q.bias",
        Thirds(0, 1),
    ),
    read(
        "vision_model.head.attention.in_proj_bias",
        "visual.trunk.attn_pool.kv.bias",
        Thirds(1, 3),
    ),
    whole(
        "vision_model.head.attention.out_proj.*",
        "visual.trunk.attn_pool.proj.*",
    ),
    whole(
        "vision_model.head.layernorm.*",
        "visual.trunk.attn_pool.norm.*",
    ),
    whole("vision_model.head.mlp.*", "visual.trunk.attn_pool.mlp.*"),
    ignored("logit_scale"),
    ignored("logit_bias"),
];

pub(super) fn describe(
    spec: &EmbedderSpec,
    files: &ModelFiles,
) -> Result<Description, EmbedderError> {
    let config = TransformersConfig::read(files)?;
    let path = files.path(CONFIG);
    let mut fields = Fields::new(&path, "text_config", &config.text)?;
    let width = fields.count("hidden_size", 768, MAX_WIDTH)?;
    let text = TextConfig {
        context_length: fields.count("max_position_embeddings", 64, 1 << 14)?,
        vocab_size: fields.count("vocab_size", 32000, 1 << 22)?,
        width,
        heads: heads(&mut fields, width, 12)?,
        layers: fields.count("num_hidden_layers", 12, MAX_LAYERS)?,
        hidden: fields.count("intermediate_size", 3072, MAX_WIDTH * 8)?,
        layer_scale: false,
        causal: false,
        pooling: Pooling::Last,
        projection_bias: true,
        activation: activation(&mut fields, "gelu_pytorch_tanh")?,
        eps: eps(&mut fields, "layer_norm_eps", 1e-6)? as f32,
        embed_dim: width,
    };
    let mut fields = Fields::new(&path, "vision_config", &config.vision)?;
    let vision_width = fields.count("hidden_size", 768, MAX_WIDTH)?;
    if vision_width != width {
        return Err(fields.bad("hidden_size", "that of the text tower"));
    }
    let size = fields.count("image_size", 224, MAX_IMAGE)?;
    let vision = MapVitConfig {
        image_size: (size, size),
        patch_size: fields.count("patch_size", 16, size)?,
        width,
        layers: fields.count("num_hidden_layers", 12, MAX_LAYERS)?,
        heads: heads(&mut fields, width, 12)?,
        hidden: fields.count("intermediate_size", 3072, MAX_WIDTH * 8)?,
        activation: activation(&mut fields, "gelu_pytorch_tanh")?,
        eps: eps(&mut fields, "layer_norm_eps", 1e-6)? as f32,
    };
    let no_head = TimmConfig {
        name: String::new(),
        pool: "map".to_owned(),
        projection: "none".to_owned(),
        projection_bias: false,
        image_size: vision.image_size,
        embed_dim: width,
    };
    let transform = preprocessor::transform(
        files,
        &Defaults {
            size,
            shortest: false,
            resample: 3,
            mean: [0.5; 3],
            std: [0.5; 3],
            include_top: false,
            offset: false,
        },
    )?;
    let settings = TokenizerSettings {
        context_length: text.context_length,
        cleaning: Cleaning::WithoutPunctuation,
        strip_separator: false,
    };
    let tokenizer = HfTokenizer::open(files, settings)?.limited();
    Ok(Description {
        family: "SigLIP in transformers layout",
        embed_dim: width,
        text: TextArchitecture::Clip(text),
        vision: VisionArchitecture::MapVit(vision, no_head),
        transform,
        configuration: configuration(spec, "SiglipConfig", &config),
        notices: Vec::new(),
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
