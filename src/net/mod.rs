//! Where things outside this machine lie, and how they are reached. Knows
//! nothing of who asks for them.

mod addresses;
pub mod llm;
mod tls;
mod webhook;

pub use addresses::{KNOWN_RESOURCES, KnownResource, known_resource, model_repository};
pub use webhook::post_json;
