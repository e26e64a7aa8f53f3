//! Packs of drawings: an archive of PNG files and a list that says where each
//! lies in it, of which class it is, and which names count as correct.
//!
//! The packs inside the binary are the drawings that nothing was trained on.

use std::borrow::Cow;
use std::path::Path;

use image::RgbImage;
use serde::Deserialize;

use super::dataset::ClassificationDataset;
use super::error::DatasetError;
use crate::images::{DecodeOptions, decode_bytes};

#[derive(Deserialize)]
struct List {
    classes: Vec<Class>,
    styles: Vec<Style>,
}

#[derive(Deserialize)]
struct Class {
    name: String,
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Style {
    style: String,
    pictures: Vec<Picture>,
}

#[derive(Deserialize)]
struct Picture {
    file: String,
    class: usize,
    offset: usize,
    length: usize,
}

/// Drawings of one style.
pub struct DrawingPack {
    name: String,
    classes: Vec<String>,
    accepted: Vec<Vec<String>>,
    pictures: Vec<Picture>,
    archive: Cow<'static, [u8]>,
}

impl DrawingPack {
    /// The drawings of `style` of a list; `archive` is the file the list
    /// points into.
    pub fn new(
        style: &str,
        list: &[u8],
        archive: Cow<'static, [u8]>,
    ) -> Result<Self, DatasetError> {
        let bad = |reason: String| DatasetError::BadPack {
            pack: style.to_owned(),
            reason,
        };
        let list: List =
            serde_json::from_slice(list).map_err(|error| bad(format!("its list: {error}")))?;
        let pictures = list
            .styles
            .into_iter()
            .find(|candidate| candidate.style == style)
            .ok_or_else(|| bad("its list does not know this style".to_owned()))?
            .pictures;
        for picture in &pictures {
            let end = picture.offset.checked_add(picture.length);
            if picture.class >= list.classes.len() || end.is_none_or(|end| end > archive.len()) {
                return Err(bad(format!("{} is not in the archive", picture.file)));
            }
        }
        let mut pack = Self {
            name: style.to_owned(),
            classes: Vec::with_capacity(list.classes.len()),
            accepted: Vec::with_capacity(list.classes.len()),
            pictures,
            archive,
        };
        for class in list.classes {
            let mut names = vec![class.name.clone()];
            names.extend(class.names.into_iter().filter(|name| *name != class.name));
            pack.accepted.push(names);
            pack.classes.push(class.name);
        }
        Ok(pack)
    }
}

impl ClassificationDataset for DrawingPack {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn accepted_names(&self, class: usize) -> &[String] {
        &self.accepted[class]
    }

    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn label(&self, i: usize) -> usize {
        self.pictures[i].class
    }

    fn image(&self, i: usize) -> Result<RgbImage, DatasetError> {
        let picture = &self.pictures[i];
        let bytes = &self.archive[picture.offset..picture.offset + picture.length];
        let name = Path::new(&self.name).join(&picture.file);
        Ok(decode_bytes(bytes, &name, &DecodeOptions::default())?)
    }

    fn image_name(&self, i: usize) -> String {
        format!("{}/{}", self.name, self.pictures[i].file)
    }
}

/// A pack inside the binary.
pub struct EmbeddedPack {
    /// Name of the dataset.
    pub name: &'static str,
    list: &'static [u8],
    archive: &'static [u8],
}

impl EmbeddedPack {
    /// BLAKE3 of its list and its pictures.
    pub fn identity(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.list).update(self.archive);
        hasher.finalize()
    }

    /// Opens the pack.
    pub fn open(&self) -> Result<DrawingPack, DatasetError> {
        DrawingPack::new(self.name, self.list, Cow::Borrowed(self.archive))
    }
}

static LIST: &[u8] = include_bytes!("../../extras/embedder/drawings.json");
static PACKS: [EmbeddedPack; 2] = [
    EmbeddedPack {
        name: "fluent-emoji",
        list: LIST,
        archive: include_bytes!("../../extras/embedder/fluent-emoji.zip"),
    },
    EmbeddedPack {
        name: "fluent-emoji-flat",
        list: LIST,
        archive: include_bytes!("../../extras/embedder/fluent-emoji-flat.zip"),
    },
];

/// All packs inside the binary.
pub fn embedded_packs() -> &'static [EmbeddedPack] {
    &PACKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_packs_hold_a_decodable_drawing_of_every_class() {
        for pack in embedded_packs() {
            let pack = pack.open().unwrap();
            let mut seen = vec![false; pack.classes().len()];
            for i in 0..pack.len() {
                pack.image(i).unwrap();
                seen[pack.label(i)] = true;
            }
            assert!(seen.iter().all(|seen| *seen) && seen.len() >= 1000);
            for (class, name) in pack.classes().iter().enumerate() {
                assert_eq!(&pack.accepted_names(class)[0], name);
            }
        }
    }

    #[test]
    fn lists_that_point_outside_the_archive_are_errors() {
        let open = |list: &str| DrawingPack::new("flat", list.as_bytes(), Cow::Borrowed(b"0123"));
        let list = |style: &str, class: usize, offset: usize| {
            format!(
                r#"{{"classes": [{{"id": "1", "name": "fox", "names": ["red fox", "fox"]}}],
                    "styles": [{{"style": "{style}", "archive": "flat.zip", "pictures":
                    [{{"file": "1.png", "class": {class}, "offset": {offset}, "length": 2}}]}}]}}"#
            )
        };
        let pack = open(&list("flat", 0, 2)).unwrap();
        assert_eq!(pack.accepted_names(0), ["fox", "red fox"]);
        assert!(pack.image(0).is_err());
        for bad in [
            list("flat", 1, 0),
            list("flat", 0, 3),
            list("flat", 0, usize::MAX),
            list("x", 0, 0),
            "[]".into(),
        ] {
            assert!(
                matches!(open(&bad), Err(DatasetError::BadPack { .. })),
                "{bad}"
            );
        }
    }
}
