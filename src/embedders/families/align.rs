//! ALIGN of the transformers library: BERT and EfficientNet (`embedders.md`
//! section 5.9).

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::preprocessor::{self, Defaults};
use super::transformers_config::{
    CONFIG, TransformersConfig, activation, configuration, eps, heads, weight_files,
};
use crate::embedders::description::{Description, Layout, TextArchitecture, VisionArchitecture};
use crate::embedders::error::EmbedderError;
use crate::embedders::files::ModelFiles;
use crate::embedders::hf_tokenizer::{HfTokenizer, TokenizerSettings};
use crate::embedders::json_fields::{Fields, MAX_IMAGE, MAX_LAYERS, MAX_WIDTH, as_count};
use crate::embedders::names::{NameTable, ignored, whole};
use crate::embedders::spec::EmbedderSpec;
use crate::embedders::text_cleaning::Cleaning;
use crate::embedders::tower_configs::{BertConfig, EfficientNetConfig, MobileBlockConfig};

const NAMES: NameTable = &[
    ignored("text_model.pooler.*"),
    ignored("text_model.embeddings.position_ids"),
    whole("text_model.*", "text.*"),
    whole("text_projection.*", "text.projection.*"),
    ignored("vision_model.embeddings.batchnorm.num_batches_tracked"),
    ignored("vision_model.encoder.blocks.{n}.expansion.expand_bn.num_batches_tracked"),
    ignored("vision_model.encoder.blocks.{n}.depthwise_conv.depthwise_norm.num_batches_tracked"),
    ignored("vision_model.encoder.blocks.{n}.projection.project_bn.num_batches_tracked"),
    whole("vision_model.*", "visual.*"),
    ignored("temperature"),
];

pub(super) fn describe(
    spec: &EmbedderSpec,
    files: &ModelFiles,
) -> Result<Description, EmbedderError> {
    let config = TransformersConfig::read(files)?;
    let path = files.path(CONFIG);
    let mut fields = Fields::new(&path, "config", &config.json)?;
    let embed_dim = fields.count("projection_dim", 640, MAX_WIDTH)?;
    let mut fields = Fields::new(&path, "text_config", &config.text)?;
    let width = fields.count("hidden_size", 768, MAX_WIDTH)?;
    let text = BertConfig {
        context_length: fields.count("max_position_embeddings", 512, 1 << 14)?,
        vocab_size: fields.count("vocab_size", 30522, 1 << 22)?,
        token_types: fields.count("type_vocab_size", 2, 1 << 10)?,
        width,
        heads: heads(&mut fields, width, 12)?,
        layers: fields.count("num_hidden_layers", 12, MAX_LAYERS)?,
        hidden: fields.count("intermediate_size", 3072, MAX_WIDTH * 8)?,
        activation: activation(&mut fields, "gelu")?,
        eps: eps(&mut fields, "layer_norm_eps", 1e-12)? as f32,
        embed_dim,
    };
    let (vision, size) = efficient_net(&path, &config.vision, embed_dim)?;
    let transform = preprocessor::transform(
        files,
        &Defaults {
            size,
            shortest: false,
            resample: 0,
            mean: [0.5; 3],
            std: [0.5; 3],
            include_top: true,
            offset: false,
        },
    )?;
    let settings = TokenizerSettings {
        context_length: text.context_length,
        cleaning: Cleaning::Nothing,
        strip_separator: false,
    };
    let tokenizer = HfTokenizer::open(files, settings)?.limited();
    Ok(Description {
        family: "ALIGN",
        embed_dim,
        text: TextArchitecture::Bert(text),
        vision: VisionArchitecture::EfficientNet(vision),
        transform,
        configuration: configuration(spec, "AlignConfig", &config),
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

/// All blocks and the input size.
fn efficient_net(
    path: &Path,
    json: &Value,
    embed_dim: usize,
) -> Result<(EfficientNetConfig, usize), EmbedderError> {
    let mut fields = Fields::new(path, "vision_config", json)?;
    let size = fields.count("image_size", 600, MAX_IMAGE)?;
    let channels = fields.count("num_channels", 3, 3)?;
    if channels != 3 {
        return Err(fields.bad("num_channels", "3"));
    }
    activation(&mut fields, "swish").and_then(|activation| match activation {
        crate::ops::linear::Activation::Silu => Ok(()),
        _ => Err(fields.bad("hidden_act", "swish")),
    })?;
    let width = factor(&mut fields, "width_coefficient", 2.0)?;
    let depth = factor(&mut fields, "depth_coefficient", 3.1)?;
    let divisor = fields.count("depth_divisor", 8, 1 << 10)?;
    let squeeze = factor(&mut fields, "squeeze_expansion_ratio", 0.25)?;
    let mut list = |key, default: &[usize], least| counts(&mut fields, key, default, least);
    let windows = list("kernel_sizes", &[3, 3, 5, 3, 5, 5, 3], 1)?;
    let inputs = list("in_channels", &[32, 16, 24, 40, 80, 112, 192], 1)?;
    let outputs = list("out_channels", &[16, 24, 40, 80, 112, 192, 320], 1)?;
    let fully_padded = list("depthwise_padding", &[], 0)?;
    let strides = list("strides", &[1, 2, 2, 2, 1, 2, 1], 1)?;
    let repeats = list("num_block_repeats", &[1, 2, 2, 3, 3, 4, 1], 1)?;
    let ratios = list("expand_ratios", &[1, 6, 6, 6, 6, 6, 6], 1)?;
    let stages = inputs.len();
    for (key, values) in [
        ("kernel_sizes", &windows),
        ("out_channels", &outputs),
        ("strides", &strides),
        ("num_block_repeats", &repeats),
        ("expand_ratios", &ratios),
    ] {
        if values.len() != stages {
            return Err(fields.bad(key, "as long as in_channels"));
        }
    }
    let rounded = |channels: usize| rounded_channels(channels as f64 * width, divisor);
    let mut blocks: Vec<MobileBlockConfig> = Vec::new();
    for stage in 0..stages {
        let count = (depth * repeats[stage] as f64).ceil() as usize;
        for repeat in 0..count {
            let first = repeat == 0;
            let outputs = rounded(outputs[stage]);
            let inputs = if first {
                rounded(inputs[stage])
            } else {
                outputs
            };
            let stride = if first { strides[stage] } else { 1 };
            let half = windows[stage] / 2;
            let small = stride > 1 && !fully_padded.contains(&blocks.len());
            blocks.push(MobileBlockConfig {
                inputs,
                outputs,
                expanded: inputs * ratios[stage],
                squeezed: ((inputs as f64 * squeeze) as usize).max(1),
                window: windows[stage],
                stride,
                padding: (if small { half.saturating_sub(1) } else { half }, half),
                skip: !first,
            });
        }
        if blocks.len() > MAX_LAYERS {
            return Err(fields.bad("num_block_repeats", "a sensible number of blocks"));
        }
    }
    if blocks.last().map(|block| block.outputs) != Some(embed_dim) {
        return Err(fields.bad(
            "out_channels",
            format_args!("{embed_dim} channels at the end, as projection_dim says"),
        ));
    }
    let config = EfficientNetConfig {
        stem: rounded_channels(32.0 * width, divisor),
        blocks,
        eps: eps(&mut fields, "batch_norm_eps", 1e-3)?,
    };
    Ok((config, size))
}

/// Channels scaled by the width, to a multiple of the divisor.
fn rounded_channels(channels: f64, divisor: usize) -> usize {
    let rounded = (channels + divisor as f64 / 2.0) as usize / divisor * divisor;
    let rounded = rounded.max(divisor);
    if (rounded as f64) < 0.9 * channels {
        rounded + divisor
    } else {
        rounded
    }
}

fn factor(fields: &mut Fields<'_>, key: &'static str, default: f64) -> Result<f64, EmbedderError> {
    let factor = fields.number(key, default)?;
    if factor > 0.0 && factor <= 64.0 {
        Ok(factor)
    } else {
        Err(fields.bad(key, "a positive number up to 64"))
    }
}

fn counts(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: &[usize],
    least: usize,
) -> Result<Vec<usize>, EmbedderError> {
    let Some(value) = fields.get(key) else {
        return Ok(default.to_vec());
    };
    let count = |value: &Value| {
        if least == 0 && value.as_u64() == Some(0) {
            return Some(0);
        }
        as_count(value, 1 << 12)
    };
    let values = value.as_array().filter(|values| values.len() <= 1 << 10);
    values
        .and_then(|values| values.iter().map(count).collect())
        .ok_or_else(|| fields.bad(key, "a list of whole numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_the_library() {
        for (channels, divisor, rounded) in [
            (64.0, 8, 64),
            (6.4, 4, 8),
            (3.2, 4, 4),
            (640.0, 8, 640),
            (10.7, 8, 16),
        ] {
            assert_eq!(rounded_channels(channels, divisor), rounded, "{channels}");
        }
    }
}
