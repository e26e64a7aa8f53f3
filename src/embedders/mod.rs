//! Text and image towers that share one embedding space.
//!
//! [`Embedder::open`] takes a specification (`openclip:OWNER/REPO`) to a
//! tokenizer, an image transform and two lazily loaded towers; what comes out
//! are unit vectors. Knows nothing of decoders and caches.

mod batches;
mod clip_vocabulary;
mod code_pages;
mod description;
pub mod embedded;
mod embedder;
mod error;
mod families;
mod fetch;
mod files;
mod hf_tokenizer;
mod json_fields;
mod mojibake;
mod names;
mod openai_tokenizer;
mod openclip_config;
mod position_grids;
mod precision;
mod python_json;
mod sentencepiece;
mod spec;
mod text_cleaning;
mod timm_models;
pub mod tokenizer;
mod tower_configs;
mod towers;
mod weights;
mod word_ids;

pub use batches::BatchSizes;
pub use description::{Description, TextArchitecture, VisionArchitecture};
pub use embedder::{Embedder, OpenOptions, TextToVector};
pub use error::EmbedderError;
pub use fetch::{FetchError, Renewal, fetch, state as fetch_state};
pub use files::{ModelFiles, hub_cache};
pub use hf_tokenizer::{HfTokenizer, TokenizerSettings};
pub use openai_tokenizer::OpenAiTokenizer;
pub use openclip_config::OpenClipConfig;
pub use precision::Precision;
pub use spec::{Backend, EmbedderSpec, known_specifications};
pub use text_cleaning::{Cleaning, clean};
pub use towers::tap::Tap;
