//! What is classified, and why it cannot be.

use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::error::EmbeddingFault;
use crate::images::{DecodeOptions, ImageError, decode_bytes, decode_file};

/// An input of a [`ClassifyStream`](super::ClassifyStream).
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name for people.
    pub name: String,
    /// What it is.
    pub content: Content,
    /// Anything that the asker wants back with the result.
    pub tag: Option<Value>,
}

/// What an input is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A picture file.
    File(PathBuf),
    /// The bytes of a picture file.
    Bytes(Vec<u8>),
    /// A decoded picture.
    Picture(RgbImage),
    /// A text.
    Text(String),
    /// An embedding of `F` values.
    Embedding(Vec<f32>),
    /// Nothing that could be read.
    Failed(SampleError),
}

/// Why an input was not classified.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[error("{message}")]
pub struct SampleError {
    /// `image_read`, `image_decode`, `image_size`, `embedding` or `input`.
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

impl SampleError {
    /// An input that is none.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            kind: "input",
            message: message.into(),
        }
    }
}

impl From<ImageError> for SampleError {
    fn from(error: ImageError) -> Self {
        Self {
            kind: match &error {
                ImageError::TooManyBytes { .. } | ImageError::BadSize { .. } => "image_size",
                ImageError::UnknownFormat { .. } | ImageError::Corrupt { .. } => "image_decode",
                _ => "image_read",
            },
            message: error.to_string(),
        }
    }
}

impl From<EmbeddingFault> for SampleError {
    fn from(fault: EmbeddingFault) -> Self {
        Self {
            kind: "embedding",
            message: fault.to_string(),
        }
    }
}

impl Sample {
    /// A picture file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self {
            name: path.display().to_string(),
            content: Content::File(path.to_owned()),
            tag: None,
        }
    }

    /// A text; its name is the text in double quotes.
    pub fn text(text: &str) -> Self {
        Self {
            name: format!("\"{text}\""),
            content: Content::Text(text.to_owned()),
            tag: None,
        }
    }
}

impl Content {
    /// Whether it is a picture, decoded or not.
    pub(super) fn is_picture(&self) -> bool {
        matches!(self, Self::File(_) | Self::Bytes(_) | Self::Picture(_))
    }

    /// A picture that still has to be decoded, decoded; everything else as it
    /// is.
    pub(super) fn decoded(self, name: &str, options: &DecodeOptions) -> Self {
        let picture = match self {
            Self::File(path) => decode_file(&path, options),
            Self::Bytes(bytes) => decode_bytes(&bytes, Path::new(name), options),
            other => return other,
        };
        match picture {
            Ok(picture) => Self::Picture(picture),
            Err(error) => Self::Failed(error.into()),
        }
    }
}
