//! MNIST and its like: grey pictures and labels in IDX files, gzipped or not.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::RgbImage;

use super::dataset::{ClassificationDataset, Split};
use super::error::DatasetError;
use super::in_memory::{Block, InMemory};

/// Sides of a picture.
const SIDE: usize = 28;
/// Largest file after decompression.
const MAX_BYTES: u64 = 1 << 30;
/// Bytes before the pictures: type, count, height, width.
const IMAGES_HEADER: usize = 16;
/// Bytes before the labels.
const LABELS_HEADER: usize = 8;

/// Opens the parts of a split; all four files must be there.
pub(super) fn open(
    name: &str,
    folder: &Path,
    classes: &[&str],
    split: Split,
) -> Result<impl ClassificationDataset + use<>, DatasetError> {
    let mut blocks = Vec::new();
    for part in [Split::Valid, Split::Train] {
        let prefix = match part {
            Split::Train => "train",
            _ => "t10k",
        };
        let images = file(folder, &format!("{prefix}-images-idx3-ubyte"))?;
        let labels = file(folder, &format!("{prefix}-labels-idx1-ubyte"))?;
        if split.parts().contains(&part) {
            blocks.push(block(&images, &labels)?);
        }
    }
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    InMemory::new(name, classes, blocks, SIDE * SIDE, picture).map_err(|reason| {
        DatasetError::Layout {
            path: folder.to_owned(),
            reason,
        }
    })
}

/// A file or its gzipped form.
fn file(folder: &Path, name: &str) -> Result<PathBuf, DatasetError> {
    let plain = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    match (plain.is_file(), packed.is_file()) {
        (true, _) => Ok(plain),
        (false, true) => Ok(packed),
        (false, false) => Err(DatasetError::Layout {
            path: folder.to_owned(),
            reason: format!("lacks {name} (or {name}.gz)"),
        }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let read_error = |source| DatasetError::Read {
        path: path.to_owned(),
        source,
    };
    let mut content = Vec::new();
    let file = File::open(path).map_err(read_error)?;
    if path.extension().is_some_and(|name| name == "gz") {
        GzDecoder::new(file)
            .take(MAX_BYTES)
            .read_to_end(&mut content)
    } else {
        file.take(MAX_BYTES).read_to_end(&mut content)
    }
    .map_err(read_error)?;
    Ok(content)
}

fn block(images: &Path, labels: &Path) -> Result<Block, DatasetError> {
    let wrong = |path: &Path, reason: &str| DatasetError::Layout {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let pixels = read(images)?;
    let classes = read(labels)?;
    let number = |content: &[u8], at: usize| {
        let bytes = content.get(at..at + 4)?;
        Some(u32::from_be_bytes(*bytes.first_chunk()?) as usize)
    };
    let count = number(&pixels, 4).filter(|_| number(&pixels, 0) == Some(0x803));
    let count = count.ok_or_else(|| wrong(images, "is not an IDX file of pictures"))?;
    if number(&classes, 0) != Some(0x801) || number(&classes, 4) != Some(count) {
        return Err(wrong(
            labels,
            "is not an IDX file with a label for each picture",
        ));
    }
    if (number(&pixels, 8), number(&pixels, 12)) != (Some(SIDE), Some(SIDE)) {
        return Err(wrong(images, "has pictures of another size than 28×28"));
    }
    let enough = count
        .checked_mul(SIDE * SIDE)
        .is_some_and(|bytes| pixels.len() >= IMAGES_HEADER + bytes);
    if !enough || classes.len() < LABELS_HEADER + count {
        return Err(wrong(images, "is shorter than it says"));
    }
    let labels = &classes[LABELS_HEADER..LABELS_HEADER + count];
    Ok(Block {
        bytes: pixels.into(),
        offset: IMAGES_HEADER,
        labels: labels.iter().map(|&label| usize::from(label)).collect(),
    })
}

fn picture(grey: &[u8]) -> Option<RgbImage> {
    let pixels = grey.iter().flat_map(|&level| [level; 3]).collect();
    RgbImage::from_raw(SIDE as u32, SIDE as u32, pixels)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(path: &Path, content: &[u8]) {
        std::fs::write(path, content).unwrap();
    }

    fn files(folder: &Path, prefix: &str, labels: &[u8]) {
        let count = (labels.len() as u32).to_be_bytes();
        let side = (SIDE as u32).to_be_bytes();
        let mut images = [[0, 0, 8, 3], count, side, side].concat();
        images.extend(labels.iter().flat_map(|&label| [label * 20; SIDE * SIDE]));
        write(&folder.join(format!("{prefix}-images-idx3-ubyte")), &images);
        let labels = [&[0, 0, 8, 1], &count[..], labels].concat();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&labels).unwrap();
        let path = folder.join(format!("{prefix}-labels-idx1-ubyte.gz"));
        write(&path, &packed.finish().unwrap());
    }

    #[test]
    fn packed_and_plain_files_are_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), "train", &[1, 2, 3]);
        let classes = ["a", "b", "c", "d"];
        let all = || open("digits", folder.path(), &classes, Split::All);
        assert!(all().is_err());
        files(folder.path(), "t10k", &[3]);
        let dataset = all().unwrap();
        let labels: Vec<usize> = (0..dataset.len()).map(|i| dataset.label(i)).collect();
        assert_eq!(labels, [3, 1, 2, 3]);
        assert_eq!(dataset.image(1).unwrap().get_pixel(5, 5).0, [20; 3]);
        files(folder.path(), "t10k", &[9]);
        assert!(all().is_err());
        write(&folder.path().join("t10k-images-idx3-ubyte"), b"short");
        assert!(all().is_err());
    }
}
