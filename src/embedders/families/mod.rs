//! From the files of a model to its [`Description`]: one file per family.
//!
//! CLIPA and EVA02 are open_clip models whose configuration says so; SigLIP
//! exists both in the open_clip and in the transformers layout.

mod align;
mod open_clip;
mod openai;
mod preprocessor;
mod transformers_clip;
mod transformers_config;
mod transformers_siglip;

use super::description::Description;
use super::embedder::OpenOptions;
use super::error::EmbedderError;
use super::files::{Alternatives, ModelFiles};
use super::spec::{Backend, EmbedderSpec};

pub(super) use openai::{archive_cache, check_sha256};

/// Finds the files of a model and reads what they say.
pub(super) fn describe(
    spec: &EmbedderSpec,
    options: &OpenOptions,
) -> Result<(ModelFiles, Description), EmbedderError> {
    match spec.backend() {
        Backend::OpenAi => openai::describe(spec, options),
        Backend::OpenClip => {
            let files = ModelFiles::resolve(spec, required(Backend::OpenClip))?;
            let files = open_clip::with_tokenizer(spec, files)?;
            let description = open_clip::describe(spec, &files, options)?;
            Ok((files, description))
        }
        Backend::Transformers => {
            let files = ModelFiles::resolve(spec, required(Backend::Transformers))?;
            let description = match transformers_config::model_type(&files)?.as_str() {
                "clip" => transformers_clip::describe(spec, &files)?,
                "siglip" => transformers_siglip::describe(spec, &files)?,
                "align" => align::describe(spec, &files)?,
                other => {
                    return Err(EmbedderError::Unsupported {
                        spec: spec.to_string(),
                        what: format!(
                            "model type {other:?} of the transformers library (known are clip, \
                             siglip and align)"
                        ),
                    });
                }
            };
            Ok((files, description))
        }
    }
}

/// The repository of the tokenizer that a model has not itself but names.
pub(super) fn named_tokenizer(spec: &EmbedderSpec) -> Result<Option<String>, EmbedderError> {
    if spec.backend() != Backend::OpenClip {
        return Ok(None);
    }
    open_clip::named_tokenizer(&ModelFiles::resolve(spec, required(Backend::OpenClip))?)
}

/// Files without which no model of a kind can be opened.
pub(super) fn required(backend: Backend) -> &'static [&'static Alternatives] {
    match backend {
        Backend::OpenAi => &[],
        Backend::OpenClip => &[&[open_clip::CONFIG], &open_clip::WEIGHTS],
        Backend::Transformers => &[
            &[transformers_config::CONFIG],
            &[preprocessor::CONFIG],
            &transformers_config::WEIGHTS,
        ],
    }
}
