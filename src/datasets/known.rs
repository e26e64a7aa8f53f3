//! The classification datasets that have names, in the layouts in which they
//! are published (`embedders.md` section 11).

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::ArchivedFiles;
use super::cifar;
use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::folder::{class_folders, labelled_folder};
use super::food101;
use super::idx;
use super::labelled_files::LabelledFiles;
use super::tree::Tree;
use crate::net::{Form, known_resource};

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

    /// The same, if it can be read as it is.
    fn readable_archive(&self, root: &Path, folder: &Path) -> Option<PathBuf> {
        let resource = self.resource.and_then(known_resource);
        let to_be_sorted = resource.is_some_and(|r| matches!(r.form, Form::ByHand(_)));
        match self.layout {
            Layout::Cifar(_) | Layout::Food101 | Layout::Folders { .. } if !to_be_sorted => {
                self.archive(root, folder)
            }
            _ => None,
        }
    }

    /// What has to be read for a split of the dataset in an archive.
    fn archived(&self, archive: &Path, split: Split) -> Result<Tree, DatasetError> {
        let top = self.folder.rsplit('/').next().unwrap_or_default();
        let open = |wanted: &dyn Fn(&str) -> bool| -> Result<Tree, DatasetError> {
            Ok(Tree::Archive(Arc::new(ArchivedFiles::open(
                archive, top, wanted,
            )?)))
        };
        match &self.layout {
            Layout::Cifar(files) => open(&|name| files.has(split, name)),
            Layout::Food101 => {
                let lists = open(&|name| food101::is_list(split, name))?;
                let (_, pictures) = food101::pictures(&lists, split)?;
                let pictures: HashSet<&str> = pictures.iter().map(|(name, _)| &**name).collect();
                open(&|name| food101::is_list(split, name) || pictures.contains(name))
            }
            Layout::Folders { train, valid } => {
                let parts = self.parts(*train, valid, split)?;
                open(&|name| {
                    let mut parts = parts.iter();
                    parts.any(|part| Path::new(name).starts_with(part))
                })
            }
            Layout::Idx(_) | Layout::Synsets => open(&|_| true),
        }
    }

    /// Folders of the parts of a split.
    fn parts(
        &self,
        train: Option<&'static str>,
        valid: &'static str,
        split: Split,
    ) -> Result<Vec<&'static str>, DatasetError> {
        let parts = split.parts().iter().map(|part| match part {
            Split::Train => train,
            _ => Some(valid),
        });
        parts
            .map(|part| {
                part.ok_or(DatasetError::NoSplit {
                    name: self.name,
                    split: split.name(),
                })
            })
            .collect()
    }

    fn open(
        &self,
        root: &Path,
        split: Split,
    ) -> Result<Box<dyn ClassificationDataset>, DatasetError> {
        let folder = root.join(self.folder);
        let tree = match self.readable_archive(root, &folder) {
            _ if folder.is_dir() => Tree::Folder(folder.clone()),
            Some(archive) => self.archived(&archive, split)?,
            None => {
                return Err(DatasetError::NotThere {
                    name: self.name,
                    resource: self.resource,
                    archive: self.archive(root, &folder),
                    path: folder,
                });
            }
        };
        match &self.layout {
            Layout::Idx(classes) => Ok(Box::new(idx::open(self.name, &folder, classes, split)?)),
            Layout::Cifar(files) => Ok(Box::new(cifar::open(self.name, &tree, files, split)?)),
            Layout::Food101 => {
                let (classes, pictures) = food101::pictures(&tree, split)?;
                let files = tree.labelled(self.name, classes, pictures);
                Ok(Box::new(files.with_notices(self.notices(&tree, &folder))))
            }
            Layout::Folders { train, valid } => {
                let mut whole: Option<LabelledFiles> = None;
                for part in self.parts(*train, valid, split)? {
                    let files = match (part == *valid).then(|| annotated(self.name, &tree, part)) {
                        Some(Some(files)) => files?,
                        _ => self.part(&tree, part)?,
                    };
                    whole = Some(match whole {
                        None => files,
                        Some(whole) => join(whole, files, &tree.path(part))?,
                    });
                }
                let whole = whole.ok_or(DatasetError::NoSplit {
                    name: self.name,
                    split: split.name(),
                })?;
                Ok(Box::new(whole.with_notices(self.notices(&tree, &folder))))
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

    /// The pictures of one part in class folders.
    fn part(&self, tree: &Tree, part: &str) -> Result<LabelledFiles, DatasetError> {
        if !tree.has_folder(part) {
            return Err(DatasetError::NotThere {
                name: self.name,
                path: tree.path(part),
                resource: self.resource,
                archive: None,
            });
        }
        tree.class_folders(self.name, part)
    }

    /// What there is to say of reading out of an archive.
    fn notices(&self, tree: &Tree, folder: &Path) -> Vec<String> {
        let Tree::Archive(files) = tree else {
            return Vec::new();
        };
        if !files.is_unpacked() {
            return Vec::new();
        }
        let archive = files.archive().display();
        let once = match self.resource {
            Some(id) => format!("`novic hub get {id} --from {archive}` unpacks it once"),
            None => format!(
                "unpack it in {} to do that once",
                folder.parent().unwrap_or(folder).display()
            ),
        };
        vec![format!(
            "dataset {} is read out of {archive}, which takes its time whenever it is opened: {once}",
            self.name
        )]
    }
}

/// The validation part of TinyImageNet as it is published: all pictures in one
/// folder and a list of their classes. In the order that they would have in
/// class folders; `None` for other layouts.
fn annotated(
    name: &'static str,
    tree: &Tree,
    part: &str,
) -> Option<Result<LabelledFiles, DatasetError>> {
    let list = format!("{part}/val_annotations.txt");
    let pictures = format!("{part}/images");
    (tree.has_file(&list) && tree.has_folder(&pictures))
        .then(|| annotated_by(name, tree, &list, &pictures))
}

fn annotated_by(
    name: &'static str,
    tree: &Tree,
    list: &str,
    pictures: &str,
) -> Result<LabelledFiles, DatasetError> {
    let text = tree.read_text(list)?;
    let mut samples = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut cells = line.split('\t');
        let (Some(file), Some(class)) = (cells.next(), cells.next()) else {
            return Err(DatasetError::BadLine {
                path: tree.path(list),
                line: number,
                reason: "expected picture, tab, class".to_owned(),
            });
        };
        samples.insert((class.to_owned(), format!("{pictures}/{file}")));
    }
    let mut classes: Vec<String> = Vec::new();
    let mut labelled = Vec::with_capacity(samples.len());
    for (class, file) in samples {
        if classes.last() != Some(&class) {
            classes.push(class);
        }
        labelled.push((file, classes.len() - 1));
    }
    Ok(tree.labelled(name, classes, labelled))
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

    /// The files below a folder as an archive, a zip or a tar by its name.
    fn pack(folder: &Path, top: &str, archive: &Path) {
        let file = std::fs::File::create(archive).unwrap();
        let name = archive.to_str().unwrap();
        if name.ends_with(".zip") {
            let mut zip = zip::ZipWriter::new(file);
            let mut pending = vec![folder.to_owned()];
            while let Some(path) = pending.pop() {
                if path.is_dir() {
                    let inside = std::fs::read_dir(path).unwrap();
                    pending.extend(inside.map(|entry| entry.unwrap().path()));
                    continue;
                }
                let below = path.strip_prefix(folder).unwrap().display();
                let options = zip::write::SimpleFileOptions::default();
                zip.start_file(format!("{top}/{below}"), options).unwrap();
                std::io::copy(&mut std::fs::File::open(path).unwrap(), &mut zip).unwrap();
            }
            zip.finish().unwrap();
        } else if name.ends_with("gz") {
            let packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            let mut tar = tar::Builder::new(packed);
            tar.append_dir_all(top, folder).unwrap();
            tar.into_inner().unwrap().finish().unwrap();
        } else {
            let mut tar = tar::Builder::new(file);
            tar.append_dir_all(top, folder).unwrap();
            tar.finish().unwrap();
        }
    }

    #[test]
    fn archives_are_read_as_they_were_downloaded() {
        let folders: &[&str] = &[
            "train/n02/b/1.png",
            "train/n02/a.png",
            "train/n01/3.PNG",
            "val/n01/5.png",
            "val/n02/c d.png",
            "val/n02/notes.txt",
        ];
        let tiny = &[
            "train/n01/images/1.png",
            "val/images/2.png",
            "val/images/3.png",
        ];
        let single = &["n01/1.png", "n02/2.png", "README.txt"];
        let food = &[
            "images/apple_pie/1.jpg",
            "images/waffles/2.jpg",
            "images/waffles/3.jpg",
        ];
        for (name, archive, files) in [
            ("Imagenette", "imagenette2-320.tgz", folders),
            ("Imagewoof", "Imagewoof/imagewoof2-320.tgz", folders),
            ("TinyImageNet", "tiny-imagenet-200.zip", tiny),
            ("ImageNet-A", "imagenet-a.tar", single),
            ("ImageNet-R", "ImageNet-R/imagenet-r.tar", single),
            ("Food101", "food-101.tar.gz", food),
        ] {
            let root = tempfile::tempdir().unwrap();
            let known = find(name).unwrap();
            let folder = root.path().join(known.folder);
            for (grey, file) in (0..).zip(files) {
                let path = folder.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                match file.ends_with("txt") {
                    true => std::fs::write(path, "x").unwrap(),
                    false => image::RgbImage::from_pixel(2, 2, image::Rgb([40 * grey; 3]))
                        .save(path)
                        .unwrap(),
                }
            }
            if name == "TinyImageNet" {
                let list = "3.png\tn01\t0\t0\t1\t1\n2.png\tn01\t0\t0\t1\t1\n";
                std::fs::write(folder.join("val/val_annotations.txt"), list).unwrap();
            }
            if name == "Food101" {
                std::fs::create_dir_all(folder.join("meta")).unwrap();
                let lists = [
                    ("train", r#"{"waffles": ["waffles/3"], "apple_pie": []}"#),
                    (
                        "test",
                        r#"{"waffles": ["waffles/2"], "apple_pie": ["apple_pie/1"]}"#,
                    ),
                ];
                for (part, list) in lists {
                    std::fs::write(folder.join(format!("meta/{part}.json")), list).unwrap();
                }
            }
            let seen = |split| {
                let dataset = open(name, root.path(), split).unwrap()?;
                let samples: Vec<_> = (0..dataset.len())
                    .map(|i| (dataset.label(i), dataset.image(i).unwrap().into_raw()))
                    .collect();
                let notices = dataset.notices().to_vec();
                let named = dataset.image_path(0).is_some();
                Ok::<_, DatasetError>((dataset.classes().to_vec(), samples, notices, named))
            };
            let splits = match single.as_slice() == files {
                true => &[Split::Valid][..],
                false => &[Split::Valid, Split::Train, Split::All],
            };
            let unpacked: Vec<_> = splits.iter().map(|&split| seen(split).unwrap()).collect();
            let archive = root.path().join(archive);
            let top = known.folder.rsplit('/').next().unwrap();
            pack(&folder, top, &archive);
            assert_eq!(known_place(name, root.path()).unwrap().0, folder);
            std::fs::remove_dir_all(&folder).unwrap();
            assert_eq!(known_place(name, root.path()).unwrap().0, archive);
            for (&split, unpacked) in splits.iter().zip(&unpacked) {
                let packed = seen(split).unwrap();
                assert_eq!((&packed.0, &packed.1), (&unpacked.0, &unpacked.1), "{name}");
                assert!(!packed.1.is_empty() && !packed.3 && unpacked.3, "{name}");
                let plain = archive.extension().unwrap() == "tar";
                assert_eq!(packed.2.is_empty(), plain, "{:?}", packed.2);
            }
            if splits.len() == 1 {
                let error = seen(Split::Train).unwrap_err();
                assert!(matches!(error, DatasetError::NoSplit { .. }), "{error}");
            }
            std::fs::write(&archive, b"no archive").unwrap();
            let error = seen(Split::Valid).unwrap_err().to_string();
            assert!(error.contains(archive.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn advice_says_what_is_done_with_an_archive_that_has_to_be_sorted() {
        let root = tempfile::tempdir().unwrap();
        let error = |name: &str| {
            let opened = open(name, root.path(), Split::Valid).unwrap();
            opened.err().unwrap().to_string()
        };
        assert!(error("Imagewoof").contains("put your copy there"));
        assert!(error("ImageNet1K").contains("novic hub get imagenet-val"));
        let archive = root.path().join("ILSVRC2012_img_val.tar");
        std::fs::write(&archive, b"").unwrap();
        let wanted = format!("--from {}", archive.display());
        assert!(
            error("ImageNet1K").contains(&wanted),
            "{}",
            error("ImageNet1K")
        );
    }
}
