//! Where things outside this machine lie, and how they get here: downloads that
//! resume and are checked, the model hub and its cache, archives, services.
//! Knows nothing of who asks.

mod addresses;
mod download;
#[cfg(test)]
mod download_tests;
mod hub;
pub mod llm;
#[cfg(test)]
mod loopback;
mod resources;
pub(crate) mod tls;
mod unpack;
mod webhook;

pub use addresses::{
    Form, KNOWN_RESOURCES, KnownResource, LOOKUPS, MIRROR_VARIABLE, OPENAI_MODELS, OpenAiArchive,
    Root, WANDB_SERVICE, hub_model_bytes, known_resource, mirrored, model_repository, resource_at,
    wikipedia,
};
pub use download::{DownloadError, Downloader, Fetch, Patience, Progress, Silent, sha256};
pub use hub::{Hub, HubError, Listing};
pub use resources::{ResourceError, Roots, State};
pub(crate) use tls::install_provider as install_tls;
pub(crate) use unpack::{Member, walk};
pub use unpack::{UnpackError, UnpackLimits, unpack};
pub use webhook::post_json;
