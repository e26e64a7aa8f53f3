//! The classification datasets that have names, in the layouts in which they
//! are published (`embedders.md` section 11).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cifar;
use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::folder::{class_folders, labelled_folder};
use super::food101;
use super::idx;
use super::labelled_files::LabelledFiles;
use crate::net::known_resource;

/// How a dataset lies on the disk.
enum Layout {
    /// `<name>/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`.
    Idx(&'static [&'static str]),
    /// Pickles of CIFAR.
    Cifar(&'static cifar::Files),
    /// `images` and `meta` of Food-101.
    Food101,
    /// Class folders of both parts; the training part is missing in some.
    Folders {
        train: Option<&'static str>,
        valid: &'static str,
    },
    /// Exactly 1000 synset folders in the root itself.
    Synsets,
}

struct Known {
    name: &'static str,
    /// Below the root; also what `novic hub get` knows it by, if it does.
    folder: &'static str,
    resource: Option<&'static str>,
    /// Name of the archive as it is published; what is fetched by id has its
    /// name in the address.
    archive: Option<&'static str>,
    layout: Layout,
}

const DIGITS: &[&str] = &[
    "0 - zero",
    "1 - one",
    "2 - two",
    "3 - three",
    "4 - four",
    "5 - five",
    "6 - six",
    "7 - seven",
    "8 - eight",
    "9 - nine",
];
const CLOTHES: &[&str] = &[
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

const KNOWN: &[Known] = &[
    Known {
        name: "MNIST",
        folder: "MNIST/raw",
        resource: None,
        archive: None,
        layout: Layout::Idx(DIGITS),
    },
    Known {
        name: "FashionMNIST",
        folder: "FashionMNIST/raw",
        resource: None,
        archive: None,
        layout: Layout::Idx(CLOTHES),
    },
    Known {
        name: "CIFAR10",
        folder: "CIFAR/cifar-10-batches-py",
        resource: Some("cifar10"),
        archive: None,
        layout: Layout::Cifar(&cifar::CIFAR10),
    },
    Known {
        name: "CIFAR100",
        folder: "CIFAR/cifar-100-python",
        resource: Some("cifar100"),
        archive: None,
        layout: Layout::Cifar(&cifar::CIFAR100),
    },
    Known {
        name: "Food101",
        folder: "Food101/food-101",
        resource: Some("food101"),
        archive: None,
        layout: Layout::Food101,
    },
    Known {
        name: "TinyImageNet",
        folder: "TinyImageNet/tiny-imagenet-200",
        resource: None,
        archive: Some("tiny-imagenet-200.zip"),
        layout: Layout::Folders {
            train: Some("train"),
            valid: "val",
        },
    },
    Known {
        name: "Imagenette",
        folder: "Imagenette/imagenette2-320",
        resource: Some("imagenette"),
        archive: None,
        layout: Layout::Folders {
            train: Some("train"),
            valid: "val",
        },
    },
    Known {
        name: "Imagewoof",
        folder: "Imagewoof/imagewoof2-320",
        resource: None,
        archive: Some("imagewoof2-320.tgz"),
        layout: Layout::Folders {
            train: Some("train"),
            valid: "val",
        },
    },
    Known {
        name: "ImageNet1K",
        folder: "ImageNet1K/ILSVRC-CLS",
        resource: Some("imagenet-val"),
        archive: None,
        layout: Layout::Folders {
            train: Some("train"),
            valid: "val",
        },
    },
    Known {
        name: "ImageNet1KVal",
        folder: "",
        resource: Some("imagenet-val"),
        archive: None,
        layout: Layout::Synsets,
    },
    Known {
        name: "ImageNet-A",
        folder: "ImageNet-A/imagenet-a",
        resource: None,
        archive: Some("imagenet-a.tar"),
        layout: Layout::Folders {
            train: None,
            valid: "",
        },
    },
    Known {
        name: "ImageNet-R",
        folder: "ImageNet-R/imagenet-r",
        resource: None,
        archive: Some("imagenet-r.tar"),
        layout: Layout::Folders {
            train: None,
            valid: "",
        },
    },
];

/// Names of all of them.
pub fn known_names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// Where a dataset lies below a root (case-insensitive name), be it an archive
/// that is read as it was downloaded, and the id of the
/// download that brings it, if there is one.
pub fn known_place(name: &str, root: &Path) -> Option<(PathBuf, Option<&'static str>)> {
    let known = find(name)?;
    let folder = root.join(known.folder);
    let place = match (known.readable_archive(root, &folder), folder.is_dir()) {
        (Some(archive), false) => archive,
        _ => folder,
    };
    Some((place, known.resource))
}

fn find(name: &str) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(name))
}

/// Opens a dataset below a root; `None` if the name is not known.
pub(super) fn open(
    name: &str,
    root: &Path,
    split: Split,
) -> Option<Result<Box<dyn ClassificationDataset>, DatasetError>> {
    find(name).map(|known| known.open(root, split))
}

impl Known {
    /// The archive as it was downloaded, if it lies in the root or beside where
    /// the dataset belongs.
    fn archive(&self, root: &Path, folder: &Path) -> Option<PathBuf> {
        let name = match self.resource {
            Some(id) => known_resource(id)?.address.rsplit('/').next()?,
            None => self.archive?,
        };
        [Some(root), folder.parent()]
            .into_iter()
            .flatten()
            .map(|place| place.join(name))
            .find(|path| path.is_file())
    }

    /// The same, if it can be read without unpacking it.
    fn readable_archive(&self, root: &Path, folder: &Path) -> Option<PathBuf> {
        match self.layout {
            Layout::Cifar(_) => self.archive(root, folder),
            _ => None,
        }
    }

    fn open(
        &self,
        root: &Path,
        split: Split,
    ) -> Result<Box<dyn ClassificationDataset>, DatasetError> {
        let folder = root.join(self.folder);
        if !folder.is_dir() {
            if let (Layout::Cifar(files), Some(archive)) =
                (&self.layout, self.readable_archive(root, &folder))
            {
                let place = cifar::Place::Archive(archive);
                return Ok(Box::new(cifar::open(self.name, place, files, split)?));
            }
            return Err(DatasetError::NotThere {
                name: self.name,
                resource: self.resource,
                archive: self.archive(root, &folder),
                path: folder,
            });
        }
        match &self.layout {
            Layout::Idx(classes) => Ok(Box::new(idx::open(self.name, &folder, classes, split)?)),
            Layout::Cifar(files) => {
                let place = cifar::Place::Folder(folder);
                Ok(Box::new(cifar::open(self.name, place, files, split)?))
            }
            Layout::Food101 => Ok(Box::new(food101::open(self.name, &folder, split)?)),
            Layout::Folders { train, valid } => {
                if let (true, Some(files)) = (
                    split == Split::Valid || split == Split::All,
                    annotated(self.name, &folder.join(valid))?,
                ) {
                    return Ok(Box::new(match (split, train) {
                        (Split::All, Some(train)) => {
                            let train = joined(self.name, self.resource, &[folder.join(train)])?;
                            join(files, train, &folder)?
                        }
                        _ => files,
                    }));
                }
                let mut parts = Vec::new();
                for part in split.parts() {
                    let name = match part {
                        Split::Train => *train,
                        _ => Some(*valid),
                    };
                    let name = name.ok_or(DatasetError::NoSplit {
                        name: self.name,
                        split: split.name(),
                    })?;
                    parts.push(folder.join(name));
                }
                Ok(Box::new(joined(self.name, self.resource, &parts)?))
            }
            Layout::Synsets if split != Split::Valid => Err(DatasetError::NoSplit {
                name: self.name,
                split: split.name(),
            }),
            Layout::Synsets => {
                check_synsets(&folder)?;
                let files = labelled_folder(self.name, &folder)?;
                if files.len() < 1000 {
                    return Err(DatasetError::Layout {
                        path: folder,
                        reason: "has fewer than 1000 pictures".to_owned(),
                    });
                }
                Ok(Box::new(files))
            }
        }
    }
}

/// The validation part of TinyImageNet as it is published: all pictures in one
/// folder and a list of their classes. In the order that they would have in
/// class folders; `None` for other layouts.
fn annotated(name: &'static str, part: &Path) -> Result<Option<LabelledFiles>, DatasetError> {
    let (list, pictures) = (part.join("val_annotations.txt"), part.join("images"));
    if !list.is_file() || !pictures.is_dir() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&list).map_err(|source| DatasetError::Read {
        path: list.clone(),
        source,
    })?;
    let mut samples = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut cells = line.split('\t');
        let (Some(file), Some(class)) = (cells.next(), cells.next()) else {
            return Err(DatasetError::BadLine {
                path: list,
                line: number,
                reason: "expected picture, tab, class".to_owned(),
            });
        };
        samples.insert((class.to_owned(), pictures.join(file)));
    }
    let mut classes: Vec<String> = Vec::new();
    let mut labelled = Vec::with_capacity(samples.len());
    for (class, path) in samples {
        if classes.last() != Some(&class) {
            classes.push(class);
        }
        labelled.push((path, classes.len() - 1));
    }
    Ok(Some(LabelledFiles::new(name.to_owned(), classes, labelled)))
}

fn join(
    mut whole: LabelledFiles,
    files: LabelledFiles,
    path: &Path,
) -> Result<LabelledFiles, DatasetError> {
    whole.append(files).map_err(|reason| DatasetError::Layout {
        path: path.to_owned(),
        reason,
    })?;
    Ok(whole)
}

/// The pictures of several class folders one after the other.
fn joined(
    name: &'static str,
    resource: Option<&'static str>,
    parts: &[PathBuf],
) -> Result<LabelledFiles, DatasetError> {
    let mut whole: Option<LabelledFiles> = None;
    for part in parts {
        if !part.is_dir() {
            return Err(DatasetError::NotThere {
                name,
                path: part.clone(),
                resource,
                archive: None,
            });
        }
        let files = labelled_folder(name, part)?;
        whole = Some(match whole {
            None => files,
            Some(whole) => join(whole, files, part)?,
        });
    }
    whole.ok_or(DatasetError::NoSplit { name, split: "" })
}

fn check_synsets(root: &Path) -> Result<(), DatasetError> {
    let (folders, others) = class_folders(root)?;
    let is_synset = |name: &str| {
        name.strip_prefix('n')
            .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    if others == 0 && folders.len() == 1000 && folders.iter().all(|name| is_synset(name)) {
        return Ok(());
    }
    Err(DatasetError::Layout {
        path: root.to_owned(),
        reason: "is not a folder of exactly 1000 synset folders (n01440764 …) and nothing else"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_validation_part_of_tiny_imagenet_is_read_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("TinyImageNet/tiny-imagenet-200");
        let picture = image::RgbImage::new(2, 2);
        for file in [
            "train/n02/images/n02_0.png",
            "train/n01/images/n01_0.png",
            "val/images/val_0.png",
            "val/images/val_1.png",
            "val/images/val_2.png",
        ] {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            picture.save(path).unwrap();
        }
        let list = "val_0.png\tn02\t0\t32\t44\t62\nval_2.png\tn01\t0\t0\t1\t1\n\
                    val_1.png\tn02\t0\t0\t1\t1\n";
        std::fs::write(folder.join("val/val_annotations.txt"), list).unwrap();
        let seen = |split| {
            let dataset = open("tinyimagenet", root.path(), split).unwrap().unwrap();
            assert_eq!(dataset.classes(), ["n01", "n02"]);
            (0..dataset.len())
                .map(|i| {
                    let path = dataset.image_path(i).unwrap();
                    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                    (name, dataset.label(i))
                })
                .collect::<Vec<_>>()
        };
        let own = |name: &str, label| (name.to_owned(), label);
        let valid = [own("val_2", 0), own("val_0", 1), own("val_1", 1)];
        assert_eq!(seen(Split::Valid), valid);
        let train = [own("n01_0", 0), own("n02_0", 1)];
        assert_eq!(seen(Split::Train), train);
        assert_eq!(seen(Split::All), [&valid[..], &train].concat());
    }

    #[test]
    fn archives_are_read_in_place_or_advice_says_where_they_are_unpacked() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(root.path().join(name), b"no archive").unwrap();
        let error = |name: &str| {
            let opened = open(name, root.path(), Split::Valid).unwrap();
            opened.err().unwrap().to_string()
        };
        for (name, archive, folder) in [
            ("TinyImageNet", "tiny-imagenet-200.zip", "TinyImageNet"),
            ("Imagewoof", "imagewoof2-320.tgz", "Imagewoof"),
            ("ImageNet-A", "imagenet-a.tar", "ImageNet-A"),
            ("ImageNet-R", "imagenet-r.tar", "ImageNet-R"),
        ] {
            assert!(
                error(name).contains("put your copy there"),
                "{}",
                error(name)
            );
            put(archive);
            let place = root.path().join(folder).display().to_string();
            let wanted = format!("{archive} is here: unpack it in {place}");
            assert!(error(name).contains(&wanted), "{}", error(name));
        }
        let folder = root.path().join("CIFAR/cifar-100-python");
        let place = |name| known_place(name, root.path()).unwrap().0;
        assert_eq!(place("CIFAR100"), folder);
        put("cifar-100-python.tar.gz");
        assert_eq!(
            place("CIFAR100"),
            root.path().join("cifar-100-python.tar.gz")
        );
        assert!(
            error("CIFAR100").contains("damaged"),
            "{}",
            error("CIFAR100")
        );
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(place("CIFAR100"), folder);
    }
}
