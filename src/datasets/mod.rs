//! Classification datasets: labelled pictures with the names that count as
//! correct. The known datasets in their published layouts, folders, list files, and
//! the packs of drawings inside the binary.
//!
//! Knows nothing of embedders.

mod archive;
mod cifar;
mod dataset;
mod drawings;
mod error;
mod folder;
mod food101;
mod idx;
mod imagenet_val;
mod in_memory;
mod known;
mod labelled_files;
mod list;
mod mat;
mod tree;

pub use crate::config::expanded;
pub use dataset::{ClassificationDataset, Split, open, open_in};
pub use drawings::{DrawingPack, EmbeddedPack, embedded_packs};
pub use error::DatasetError;
pub use folder::open_folder;
pub use imagenet_val::sort_imagenet_val;
pub use known::{known_names, known_place};
pub use labelled_files::LabelledFiles;
pub use list::open_list;
