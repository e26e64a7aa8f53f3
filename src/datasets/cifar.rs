//! CIFAR-10 and CIFAR-100 as published for Python: pickles with 32×32 pictures
//! as three planes.

use std::path::PathBuf;

use image::RgbImage;
use md5::{Digest, Md5};

use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::in_memory::{Block, InMemory};
use super::tree::Tree;
use crate::pickle::{PickleError, Value, plain_value};

/// Pixels of a picture.
const PIXELS: usize = 32 * 32;

/// A file and the MD5 of the one that is published.
type Published = (&'static str, &'static str);

/// Files of one of both.
pub(super) struct Files {
    /// What `novic hub get` calls them.
    resource: &'static str,
    train: &'static [Published],
    valid: &'static [Published],
    meta: Published,
    /// Keys of the class names and of the labels.
    names: &'static str,
    labels: &'static str,
}

pub(super) const CIFAR10: Files = Files {
    resource: "cifar10",
    train: &[
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ],
    valid: &[("test_batch", "40351d587109b95175f43aff81a1287e")],
    meta: ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    names: "label_names",
    labels: "labels",
};

pub(super) const CIFAR100: Files = Files {
    resource: "cifar100",
    train: &[("train", "16019d7e3df5f24257cddd939b257f8d")],
    valid: &[("test", "f0ef6b0ae62326f3e7ffdfab6717acfc")],
    meta: ("meta", "7973b15100ade9c7d40fb424638fde48"),
    names: "fine_label_names",
    labels: "fine_labels",
};

impl Files {
    /// The files of a split, the one with the class names first.
    fn of(&self, split: Split) -> impl Iterator<Item = Published> + use<> {
        let (train, valid) = (self.train, self.valid);
        let parts = split.parts().iter().flat_map(move |part| match part {
            Split::Train => train,
            _ => valid,
        });
        std::iter::once(self.meta).chain(parts.copied())
    }

    /// Whether a split has this file.
    pub(super) fn has(&self, split: Split, name: &str) -> bool {
        self.of(split).any(|(file, _)| file == name)
    }
}

/// Opens the parts of a split. Files that are not the published ones are used
/// all the same; a notice names them.
pub(super) fn open(
    name: &str,
    tree: &Tree,
    files: &Files,
    split: Split,
) -> Result<impl ClassificationDataset + use<>, DatasetError> {
    let wanted: Vec<Published> = files.of(split).collect();
    let mut others = Vec::new();
    let mut value = |(file, published): Published| -> Result<(PathBuf, Value), DatasetError> {
        let (path, content) = (tree.path(file), tree.read(file)?);
        if !is_published(&content, published) {
            others.push(file);
        }
        let value = plain_value(&content).map_err(|fault| PickleError {
            path: path.clone(),
            fault,
        })?;
        Ok((path, value))
    };
    let (path, meta) = value(files.meta)?;
    let classes = class_names(&meta, files.names).map_err(|fault| PickleError { path, fault })?;
    let mut blocks = Vec::new();
    for &file in &wanted[1..] {
        let (path, batch) = value(file)?;
        blocks.push(block(&batch, files.labels).map_err(|fault| PickleError { path, fault })?);
    }
    let notices = match others.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "dataset {name}: {} in {} differ from what is published (MD5): they may be damaged; \
             `novic hub get {} --refresh` fetches them again",
            others.join(", "),
            tree.root().display(),
            files.resource
        )],
    };
    let dataset = InMemory::new(name, classes, blocks, 3 * PIXELS, picture);
    let dataset = dataset.map_err(|reason| DatasetError::Layout {
        path: tree.root().to_owned(),
        reason,
    })?;
    Ok(dataset.with_notices(notices))
}

fn is_published(content: &[u8], published: &str) -> bool {
    let digest = Md5::digest(content);
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal == published
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::datasets::archive::ArchivedFiles;

    fn tiny() -> PathBuf {
        let golden = "tests/golden/embedders/datasets/CIFAR/cifar-10-batches-py";
        Path::new(env!("CARGO_MANIFEST_DIR")).join(golden)
    }

    fn samples(dataset: &impl ClassificationDataset) -> Vec<(usize, Vec<u8>)> {
        (0..dataset.len())
            .map(|i| (dataset.label(i), dataset.image(i).unwrap().into_raw()))
            .collect()
    }

    #[test]
    fn the_archive_is_read_as_it_was_downloaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cifar-10-python.tar.gz");
        let packed = flate2::write::GzEncoder::new(
            std::fs::File::create(&path).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(packed);
        tar.append_dir_all("cifar-10-batches-py", tiny()).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let archived = || {
            let wanted = |name: &str| CIFAR10.has(Split::All, name);
            let files = ArchivedFiles::open(&path, "cifar-10-batches-py", wanted)?;
            Ok::<_, DatasetError>(Tree::Archive(Arc::new(files)))
        };
        let opened = |tree: &Tree| open("CIFAR10", tree, &CIFAR10, Split::All).unwrap();
        let of_archive = opened(&archived().unwrap());
        let unpacked = opened(&Tree::Folder(tiny()));
        assert_eq!(of_archive.classes(), unpacked.classes());
        assert!(!of_archive.is_empty());
        assert_eq!(samples(&of_archive), samples(&unpacked));
        let other = open("CIFAR100", &archived().unwrap(), &CIFAR100, Split::Valid);
        assert!(other.is_err());

        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, &content[..content.len() / 2]).unwrap();
        assert!(archived().is_err());
    }

    #[test]
    fn files_that_are_not_the_published_ones_are_named() {
        let dataset = open("CIFAR10", &Tree::Folder(tiny()), &CIFAR10, Split::Valid).unwrap();
        let [notice] = dataset.notices() else {
            panic!("{:?}", dataset.notices());
        };
        for part in [
            "batches.meta, test_batch in",
            "MD5",
            "novic hub get cifar10",
        ] {
            assert!(notice.contains(part), "{notice}");
        }
        assert!(is_published(b"abc", "900150983cd24fb0d6963f7d28e17f72"));
        assert!(!is_published(b"abd", "900150983cd24fb0d6963f7d28e17f72"));
    }
}
