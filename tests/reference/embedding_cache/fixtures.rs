//! The embedders, tokenizers and caches of the reference data.

use std::collections::HashMap;
use std::path::PathBuf;

use half::{bf16, f16};
use novic::cache::{
    CacheFile, EmbedderSignature, FloatDtype, FloatVec, OpenOptions, Result, TargetConfig,
    TargetOptions,
};
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use safetensors::Dtype;
use serde_json::Value;

use super::AREA;
use crate::golden;
use crate::golden::Tensor;

/// A tokenizer that knows the token sequences of a few texts.
pub struct KnownTexts {
    pub constants: TokenizerConstants,
    pub sequences: HashMap<String, Vec<i64>>,
}

impl TextTokenizer for KnownTexts {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        _max_tokens: Option<usize>,
    ) -> std::result::Result<Vec<Vec<i64>>, TokenizerError> {
        texts
            .iter()
            .map(|&text| {
                self.sequences
                    .get(text)
                    .cloned()
                    .ok_or_else(|| TokenizerError::Encode {
                        text: text.to_owned(),
                        reason: "not in the reference data".to_owned(),
                    })
            })
            .collect()
    }

    fn decode(&self, ids: &[i64]) -> std::result::Result<String, TokenizerError> {
        let special = [
            Some(self.constants.pad_id),
            Some(self.constants.end_id),
            self.constants.start_id,
        ];
        self.sequences
            .iter()
            .find(|(_, sequence)| {
                let content = sequence.iter().filter(|id| !special.contains(&Some(**id)));
                content.eq(ids)
            })
            .map(|(text, _)| text.clone())
            .ok_or_else(|| TokenizerError::Decode {
                reason: format!("{ids:?} is not in the reference data"),
            })
    }
}

/// Tokenizer constants as the reference data write them.
pub fn constants(embedder: &Value) -> TokenizerConstants {
    TokenizerConstants {
        context_length: usize::try_from(embedder["context_length"].as_u64().unwrap()).unwrap(),
        vocab_size: usize::try_from(embedder["vocab_size"].as_u64().unwrap()).unwrap(),
        start_id: embedder["start_token_id"].as_i64(),
        end_id: embedder["end_token_id"].as_i64().unwrap(),
        pad_id: embedder["pad_token_id"].as_i64().unwrap(),
        dtype: match embedder["token_dtype"].as_str() {
            Some("torch.int32") => TokenDtype::I32,
            // Tokenizers alone are listed without their dtype.
            Some("torch.int64") | None => TokenDtype::I64,
            Some(other) => panic!("unknown token dtype {other}"),
        },
    }
}

/// Signature of an embedder of the reference data.
pub fn signature(embedder: &Value) -> EmbedderSignature {
    EmbedderSignature::new(
        usize::try_from(embedder["embed_dim"].as_u64().unwrap()).unwrap(),
        match embedder["embed_dtype"].as_str().unwrap() {
            "torch.float16" => FloatDtype::F16,
            "torch.bfloat16" => FloatDtype::BF16,
            "torch.float32" => FloatDtype::F32,
            "torch.float64" => FloatDtype::F64,
            other => panic!("unknown embed dtype {other}"),
        },
        constants(embedder).dtype,
        &embedder["configuration"],
    )
}

/// Default target options with these changes.
pub fn options(overrides: &Value) -> TargetOptions {
    let mut options = TargetOptions::default();
    for (key, value) in overrides.as_object().unwrap() {
        let value = value.as_bool().unwrap();
        match key.as_str() {
            "with_start_token" => options.with_start_token = value,
            "with_end_token" => options.with_end_token = value,
            "compact_ids" => options.compact_ids = value,
            "fixed_token_length" => options.fixed_token_length = value,
            "auto_fixed_token_length" => options.auto_fixed_token_length = value,
            "use_masks" => options.use_masks = value,
            other => panic!("unknown option {other}"),
        }
    }
    options
}

/// A target configuration of the reference data.
pub fn target_config(value: &Value) -> Option<TargetConfig> {
    (!value.is_null()).then(|| serde_json::from_value(value.clone()).unwrap())
}

/// One entry of `caches.json`.
pub struct GoldenCache {
    pub name: String,
    pub entry: Value,
}

impl GoldenCache {
    pub fn all() -> Vec<Self> {
        let entries = golden::json(AREA, "caches.json");
        let caches: Vec<Self> = entries
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, entry)| Self {
                name: name.clone(),
                entry: entry.clone(),
            })
            .collect();
        assert!(!caches.is_empty());
        caches
    }

    pub fn named(name: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|cache| cache.name == name)
            .unwrap_or_else(|| panic!("cache {name} is missing"))
    }

    pub fn path(&self) -> PathBuf {
        golden::area(AREA).join(self.entry["file"].as_str().unwrap())
    }

    pub fn signature(&self) -> EmbedderSignature {
        signature(&self.entry["embedder"])
    }

    pub fn target_config(&self) -> Option<TargetConfig> {
        let used = self.entry["header"]["use_targets"].as_bool().unwrap();
        used.then(|| target_config(&self.entry["target_config"]).unwrap())
    }

    pub fn records(&self) -> golden::Tensors {
        golden::tensors(AREA, &format!("records/{}.safetensors", self.name))
    }

    pub fn open(&self, use_targets: Option<bool>) -> Result<CacheFile> {
        let options = OpenOptions {
            use_targets,
            strict: true,
        };
        CacheFile::open(self.path(), &self.signature(), options)
    }

    /// A tokenizer that gives the nouns of the cache the tokens that the
    /// cache holds.
    pub fn tokenizer(&self) -> KnownTexts {
        let constants = constants(&self.entry["embedder"]);
        let config = self.target_config().unwrap();
        let tokens = self.records().get("target_token_ids").integers();
        let nouns = self.entry["target_nouns"].as_array().unwrap();
        let special = [
            Some(constants.pad_id),
            Some(constants.end_id),
            constants.start_id,
            Some(-1),
        ];
        let sequences = nouns
            .iter()
            .zip(tokens.chunks(config.token_length))
            .map(|(noun, row)| {
                let content = row
                    .iter()
                    .map(|&id| match &config.compact {
                        Some(compact) => compact.unmap[usize::try_from(id).unwrap()],
                        None => id,
                    })
                    .filter(|id| !special.contains(&Some(*id)));
                let sequence = constants.start_id.into_iter().chain(content);
                let sequence = sequence.chain([constants.end_id]).collect();
                (noun.as_str().unwrap().to_owned(), sequence)
            })
            .collect();
        KnownTexts {
            constants,
            sequences,
        }
    }
}

/// Elements of a float tensor in their own type.
pub fn floats(tensor: &Tensor) -> FloatVec {
    let bytes = &tensor.bytes;
    match tensor.dtype {
        Dtype::F16 => FloatVec::F16(golden::elements(bytes, f16::from_le_bytes)),
        Dtype::BF16 => FloatVec::BF16(golden::elements(bytes, bf16::from_le_bytes)),
        Dtype::F32 => FloatVec::F32(golden::elements(bytes, f32::from_le_bytes)),
        Dtype::F64 => FloatVec::F64(golden::elements(bytes, f64::from_le_bytes)),
        other => panic!("{other:?} is no float type"),
    }
}
