//! Small pictures that are in memory as they came out of their files.

use std::sync::Arc;

use image::RgbImage;

use super::dataset::ClassificationDataset;
use super::error::DatasetError;

/// Pictures of one size.
pub(super) struct Block {
    /// `[N, …]`, as many bytes per picture.
    pub bytes: Arc<[u8]>,
    /// Bytes before the first picture.
    pub offset: usize,
    /// Class of each.
    pub labels: Vec<usize>,
}

/// Pictures in blocks, decoded when they are asked for.
pub struct InMemory {
    name: String,
    classes: Vec<String>,
    accepted: Vec<Vec<String>>,
    blocks: Vec<Block>,
    /// Bytes of a picture.
    size: usize,
    decode: fn(&[u8]) -> Option<RgbImage>,
    notices: Vec<String>,
}

impl InMemory {
    /// Checks that labels have names and blocks their bytes.
    pub(super) fn new(
        name: &str,
        classes: Vec<String>,
        blocks: Vec<Block>,
        size: usize,
        decode: fn(&[u8]) -> Option<RgbImage>,
    ) -> Result<Self, String> {
        for block in &blocks {
            if let Some(label) = block.labels.iter().find(|label| **label >= classes.len()) {
                return Err(format!(
                    "has a label {label}, but only {} classes",
                    classes.len()
                ));
            }
            if block.labels.len() * size + block.offset > block.bytes.len() {
                return Err("has fewer pictures than labels".to_owned());
            }
        }
        Ok(Self {
            name: name.to_owned(),
            accepted: classes.iter().map(|class| vec![class.clone()]).collect(),
            classes,
            blocks,
            size,
            decode,
            notices: Vec::new(),
        })
    }

    /// The same with remarks on its files.
    pub(super) fn with_notices(mut self, notices: Vec<String>) -> Self {
        self.notices = notices;
        self
    }

    fn find(&self, mut i: usize) -> Option<(&Block, usize)> {
        for block in &self.blocks {
            if i < block.labels.len() {
                return Some((block, i));
            }
            i -= block.labels.len();
        }
        None
    }
}

impl ClassificationDataset for InMemory {
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
        self.blocks.iter().map(|block| block.labels.len()).sum()
    }

    fn label(&self, i: usize) -> usize {
        match self.find(i) {
            Some((block, place)) => block.labels[place],
            None => panic!("dataset {} has no picture {i}", self.name),
        }
    }

    fn image(&self, i: usize) -> Result<RgbImage, DatasetError> {
        let picture = self.find(i).and_then(|(block, place)| {
            let start = block.offset + place * self.size;
            (self.decode)(block.bytes.get(start..start + self.size)?)
        });
        picture.ok_or_else(|| DatasetError::BadPack {
            pack: self.name.clone(),
            reason: format!("picture {i} cannot be read"),
        })
    }

    fn image_name(&self, i: usize) -> String {
        format!("{} {i}", self.name)
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }
}
