//! Classification datasets: labelled pictures with the names that count as
//! correct. Folders, list files, and the packs of drawings inside the binary.
//!
//! Knows nothing of embedders.

mod dataset;
mod drawings;
mod error;
mod folder;
mod labelled_files;
mod list;

pub use dataset::{ClassificationDataset, open};
pub use drawings::{DrawingPack, EmbeddedPack, embedded_packs};
pub use error::DatasetError;
pub use folder::open_folder;
pub use labelled_files::LabelledFiles;
pub use list::open_list;
