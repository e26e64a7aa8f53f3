//! CIFAR-10 and CIFAR-100 as published for Python: pickles with 32×32 pictures
//! as three planes.

use std::path::Path;

use image::RgbImage;

use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::in_memory::{Block, InMemory};
use crate::pickle::{PickleError, Value, read_plain};

/// Pixels of a picture.
const PIXELS: usize = 32 * 32;

/// Files of one of both.
pub(super) struct Files {
    train: &'static [&'static str],
    valid: &'static [&'static str],
    meta: &'static str,
    /// Keys of the class names and of the labels.
    names: &'static str,
    labels: &'static str,
}

pub(super) const CIFAR10: Files = Files {
    train: &[
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
    ],
    valid: &["test_batch"],
    meta: "batches.meta",
    names: "label_names",
    labels: "labels",
};

pub(super) const CIFAR100: Files = Files {
    train: &["train"],
    valid: &["test"],
    meta: "meta",
    names: "fine_label_names",
    labels: "fine_labels",
};

/// Opens the parts of a split.
pub(super) struct Cifar;

impl Cifar {
    pub(super) fn open(
        name: &str,
        folder: &Path,
        files: &Files,
        split: Split,
    ) -> Result<impl ClassificationDataset + use<>, DatasetError> {
        let meta_path = folder.join(files.meta);
        let meta = read_plain(&meta_path)?;
        let classes = class_names(&meta, files.names).map_err(|fault| PickleError {
            path: meta_path,
            fault,
        })?;
        let mut blocks = Vec::new();
        for part in split.parts() {
            let names = match part {
                Split::Train => files.train,
                _ => files.valid,
            };
            for file in names {
                let path = folder.join(file);
                let batch = read_plain(&path)?;
                blocks.push(
                    block(&batch, files.labels).map_err(|fault| PickleError { path, fault })?,
                );
            }
        }
        InMemory::new(name, classes, blocks, 3 * PIXELS, picture).map_err(|reason| {
            DatasetError::Layout {
                path: folder.to_owned(),
                reason,
            }
        })
    }
}

fn class_names(meta: &Value, key: &str) -> Result<Vec<String>, crate::pickle::Fault> {
    let names = meta.dict("the file")?.require(key, "the file")?;
    names
        .items(key)?
        .iter()
        .map(|name| Ok(name.text("a class name")?.replace('_', " ")))
        .collect()
}

fn block(batch: &Value, labels: &str) -> Result<Block, crate::pickle::Fault> {
    let batch = batch.dict("the file")?;
    let data = batch.require("data", "the file")?.byte_array("data")?;
    let labels = batch
        .require(labels, "the file")?
        .items(labels)?
        .iter()
        .map(|label| {
            usize::try_from(label.int("a label")?).map_err(|_| crate::pickle::Fault::Content {
                reason: "a label is negative".to_owned(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if data.shape != [labels.len(), 3 * PIXELS] {
        return Err(crate::pickle::Fault::Content {
            reason: format!(
                "data has sizes {:?}, not {} pictures of {} bytes",
                data.shape,
                labels.len(),
                3 * PIXELS
            ),
        });
    }
    Ok(Block {
        bytes: data.bytes,
        offset: 0,
        labels,
    })
}

/// Three planes → pixels.
fn picture(planes: &[u8]) -> Option<RgbImage> {
    let pixels = (0..PIXELS)
        .flat_map(|i| [planes[i], planes[PIXELS + i], planes[2 * PIXELS + i]])
        .collect();
    RgbImage::from_raw(32, 32, pixels)
}
