//! Text and image towers that share one embedding space.
//!
//! [`Embedder::open`] takes a specification (`openclip:OWNER/REPO`) to a
//! tokenizer, an image transform and two lazily loaded towers; what comes out
//! are unit vectors. Knows nothing of decoders and caches.

pub mod embedded;
mod embedder;
mod error;
mod files;
mod hf_tokenizer;
mod openclip_config;
mod position_grids;
mod spec;
mod text_cleaning;
mod timm_models;
pub mod tokenizer;
mod towers;
mod weights;

pub use embedder::{Embedder, OpenOptions, TextToVector};
pub use error::EmbedderError;
pub use files::{ModelFiles, hub_cache};
pub use hf_tokenizer::{HfTokenizer, TokenizerSettings};
pub use openclip_config::{Cleaning, OpenClipConfig};
pub use spec::{Backend, EmbedderSpec};
