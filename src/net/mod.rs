//! Where things outside this machine lie. Knows nothing of who asks for them.

mod addresses;

pub use addresses::{KNOWN_RESOURCES, KnownResource, known_resource, model_repository};
