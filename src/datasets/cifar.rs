//! CIFAR-10 and CIFAR-100 as published for Python: pickles with 32×32 pictures
//! as three planes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use md5::{Digest, Md5};

use super::archive;
use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::in_memory::{Block, InMemory};
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

/// Where the files are.
pub(super) enum Place {
    /// Unpacked.
    Folder(PathBuf),
    /// In the archive as it was downloaded.
    Archive(PathBuf),
}

/// Opens the parts of a split. Files that are not the published ones are used
/// all the same; a notice names them.
pub(super) fn open(
    name: &str,
    place: Place,
    files: &Files,
    split: Split,
) -> Result<impl ClassificationDataset + use<>, DatasetError> {
    let parts = split.parts().iter().flat_map(|part| match part {
        Split::Train => files.train,
        _ => files.valid,
    });
    let wanted: Vec<Published> = [files.meta].iter().chain(parts).copied().collect();
    let mut source = Source::of(place, &wanted)?;
    let mut others = Vec::new();
    let mut value = |(file, published): Published| -> Result<(PathBuf, Value), DatasetError> {
        let (path, content) = source.take(file)?;
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
            source.path().display(),
            files.resource
        )],
    };
    let dataset = InMemory::new(name, classes, blocks, 3 * PIXELS, picture);
    let dataset = dataset.map_err(|reason| DatasetError::Layout {
        path: source.path().to_owned(),
        reason,
    })?;
    Ok(dataset.with_notices(notices))
}

/// The files that are wanted, wherever they are.
enum Source {
    Folder(PathBuf),
    Archive(PathBuf, BTreeMap<String, Vec<u8>>),
}

impl Source {
    fn of(place: Place, wanted: &[Published]) -> Result<Self, DatasetError> {
        Ok(match place {
            Place::Folder(folder) => Self::Folder(folder),
            Place::Archive(path) => {
                let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
                let files = archive::files(&path, &names)?;
                Self::Archive(path, files)
            }
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path, _) => path,
        }
    }

    /// Path and content of a file that is wanted; once.
    fn take(&mut self, name: &str) -> Result<(PathBuf, Vec<u8>), DatasetError> {
        let path = self.path().join(name);
        let content = match self {
            Self::Folder(_) => std::fs::read(&path),
            Self::Archive(_, files) => files
                .remove(name)
                .ok_or_else(|| std::io::ErrorKind::NotFound.into()),
        };
        match content {
            Ok(content) => Ok((path, content)),
            Err(source) => Err(DatasetError::Read { path, source }),
        }
    }
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
    use super::*;

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
        let opened = |place| open("CIFAR10", place, &CIFAR10, Split::All).unwrap();
        let unpacked = opened(Place::Folder(tiny()));
        let archived = opened(Place::Archive(path.clone()));
        assert_eq!(archived.classes(), unpacked.classes());
        assert!(!archived.is_empty());
        assert_eq!(samples(&archived), samples(&unpacked));

        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, &content[..content.len() / 2]).unwrap();
        let damaged = open(
            "CIFAR10",
            Place::Archive(path.clone()),
            &CIFAR10,
            Split::All,
        );
        assert!(damaged.is_err());
        let other = open("CIFAR100", Place::Archive(path), &CIFAR100, Split::Valid);
        assert!(other.is_err());
    }

    #[test]
    fn files_that_are_not_the_published_ones_are_named() {
        let dataset = open("CIFAR10", Place::Folder(tiny()), &CIFAR10, Split::Valid).unwrap();
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
