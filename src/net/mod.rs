//! Where things outside this machine lie. Knows nothing of who asks for them.

mod addresses;
mod tls;
mod webhook;

pub use addresses::{KNOWN_RESOURCES, KnownResource, known_resource, model_repository};
pub use webhook::post_json;
