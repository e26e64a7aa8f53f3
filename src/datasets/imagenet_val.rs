//! The validation pictures of ImageNet-1K, sorted from the flat archive in
//! which they are published into one folder per synset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::error::DatasetError;
use super::mat;
use crate::net::{UnpackLimits, unpack};

/// Ground truth of the development kit: a class number per picture.
const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Classes of the development kit: numbers and synsets.
const META: &str = "meta.mat";
/// Classes that pictures have; the others are above them.
const CLASSES: u64 = 1000;

/// Sorts the pictures of an archive (`ILSVRC2012_img_val.tar`) or of a folder
/// with its content into `target`, one folder per synset. `labels` says which
/// class each has: the development kit (archive or folder), or any text with a
/// picture and a synset per line, or with the synsets alone in the order of the
/// pictures. `target` appears when it is complete. Returns the number of
/// pictures.
///
/// # Errors
/// Pictures without class or the other way around, archives that are damaged,
/// files that cannot be read or written.
pub fn sort_imagenet_val(
    pictures: &Path,
    labels: &Path,
    target: &Path,
) -> Result<usize, DatasetError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(read_error(parent))?;
    let room = tempfile::Builder::new()
        .prefix(".sorting-")
        .tempdir_in(parent)
        .map_err(read_error(parent))?;
    let synsets = synsets(labels)?;
    let unpacked = room.path().join("flat");
    let flat = if pictures.is_dir() {
        pictures.to_owned()
    } else {
        std::fs::create_dir(&unpacked).map_err(read_error(&unpacked))?;
        unpack(pictures, &unpacked, UnpackLimits::default())?;
        unpacked.clone()
    };
    let files = files(&flat)?;
    check(pictures, labels, &files, &synsets)?;
    let sorted = room.path().join("val");
    for (number, file) in &files {
        let Some(synset) = synsets.get(number) else {
            continue;
        };
        let folder = sorted.join(synset);
        std::fs::create_dir_all(&folder).map_err(read_error(&folder))?;
        let place = folder.join(file.file_name().unwrap_or_default());
        let moved = if flat == unpacked {
            std::fs::rename(file, &place)
        } else {
            // What the user has stays where it is.
            std::fs::hard_link(file, &place).or_else(|_| std::fs::copy(file, &place).map(|_| ()))
        };
        moved.map_err(read_error(&place))?;
    }
    std::fs::rename(&sorted, target).map_err(read_error(target))?;
    Ok(files.len())
}

fn read_error(path: &Path) -> impl Fn(std::io::Error) -> DatasetError {
    let path = path.to_owned();
    move |source| DatasetError::Read {
        path: path.clone(),
        source,
    }
}

fn layout(path: &Path, reason: impl Into<String>) -> DatasetError {
    DatasetError::Layout {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Number of the picture that a text names.
fn number_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("ILSVRC2012_val_")?;
    rest.get(..8)?.parse().ok()
}

/// The pictures in a folder by their numbers.
fn files(folder: &Path) -> Result<BTreeMap<u32, PathBuf>, DatasetError> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(read_error(folder))? {
        let path = entry.map_err(read_error(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(number) = number_in(&name) {
            files.insert(number, path);
        }
    }
    Ok(files)
}

fn check(
    pictures: &Path,
    labels: &Path,
    files: &BTreeMap<u32, PathBuf>,
    synsets: &BTreeMap<u32, String>,
) -> Result<(), DatasetError> {
    if files.is_empty() {
        let reason = "has no files ILSVRC2012_val_NNNNNNNN.JPEG";
        return Err(layout(pictures, reason));
    }
    let name = |number: &u32| format!("ILSVRC2012_val_{number:08}.JPEG");
    if let Some(number) = files.keys().find(|number| !synsets.contains_key(number)) {
        return Err(layout(labels, format!("has no class of {}", name(number))));
    }
    if let Some(number) = synsets.keys().find(|number| !files.contains_key(number)) {
        let reason = format!(
            "has {} pictures, {} has classes of {}; {} is missing: fetch it again",
            files.len(),
            labels.display(),
            synsets.len(),
            name(number)
        );
        return Err(layout(pictures, reason));
    }
    Ok(())
}

/// The synset of every picture.
fn synsets(labels: &Path) -> Result<BTreeMap<u32, String>, DatasetError> {
    if labels.is_dir() {
        return from_kit(labels, labels);
    }
    let mut start = [0; 4];
    let is_archive = std::fs::File::open(labels)
        .and_then(|mut file| std::io::Read::read(&mut file, &mut start))
        .map_err(read_error(labels))
        .map(|_| start.starts_with(&[0x1f, 0x8b]) || start.starts_with(b"PK"))?;
    let is_tar = labels.extension().is_some_and(|name| name == "tar");
    if is_archive || is_tar {
        let room = tempfile::tempdir().map_err(read_error(labels))?;
        unpack(labels, room.path(), UnpackLimits::default())?;
        return from_kit(room.path(), labels);
    }
    let text = std::fs::read_to_string(labels).map_err(read_error(labels))?;
    from_text(&text, labels)
}

/// From a development kit that lies below a folder; `labels` is named in
/// errors.
fn from_kit(folder: &Path, labels: &Path) -> Result<BTreeMap<u32, String>, DatasetError> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).map_err(read_error(&folder))? {
            let path = entry.map_err(read_error(&folder))?.path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
                && [TRUTH, META].contains(&name)
            {
                found.insert(name.to_owned(), path);
            }
        }
    }
    let path = |name: &str| {
        found.get(name).ok_or_else(|| {
            let reason = format!("has no {name}; give the development kit ILSVRC2012_devkit_t12");
            layout(labels, reason)
        })
    };
    let (truth, meta) = (path(TRUTH)?, path(META)?);
    let meta = std::fs::read(meta).map_err(read_error(meta))?;
    let classes = mat::numbers_and_texts(&meta, "synsets", "ILSVRC2012_ID", "WNID")
        .ok_or_else(|| layout(labels, format!("has a {META} that cannot be read")))?;
    let classes: BTreeMap<u64, String> = classes
        .into_iter()
        .filter(|(number, _)| (1..=CLASSES).contains(number))
        .collect();
    let text = std::fs::read_to_string(truth).map_err(read_error(truth))?;
    let mut synsets = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines().filter(|line| !line.trim().is_empty())) {
        let class = line.trim().parse().ok();
        let synset = class.and_then(|class: u64| classes.get(&class));
        let synset = synset.ok_or_else(|| DatasetError::BadLine {
            path: labels.to_owned(),
            line: number as usize,
            reason: format!("{line:?} is no class of {META}"),
        })?;
        synsets.insert(number, synset.clone());
    }
    Ok(synsets)
}

/// From lines that name a picture and a synset, whatever else they hold, or a
/// synset alone.
fn from_text(text: &str, labels: &Path) -> Result<BTreeMap<u32, String>, DatasetError> {
    let pattern =
        Regex::new(r"\bn[0-9]{8}\b").map_err(|error| layout(labels, error.to_string()))?;
    let synset = |line: &str| pattern.find(line).map(|found| found.as_str().to_owned());
    let names_pictures = text.lines().any(|line| number_in(line).is_some());
    let mut synsets = BTreeMap::new();
    for (line_number, line) in (1..).zip(text.lines()) {
        let bad = |reason: &str| DatasetError::BadLine {
            path: labels.to_owned(),
            line: line_number,
            reason: reason.to_owned(),
        };
        let (number, synset) = match (number_in(line), synset(line)) {
            (Some(number), Some(synset)) => (number, synset),
            (Some(_), None) => return Err(bad("no synset (n and 8 digits) is named")),
            // Lines that make folders, and the like.
            (None, _) if names_pictures => continue,
            (None, Some(synset)) => (synsets.len() as u32 + 1, synset),
            (None, None) => continue,
        };
        if synsets
            .insert(number, synset.clone())
            .is_some_and(|before| before != synset)
        {
            return Err(bad("the picture has another class in a line before"));
        }
    }
    match synsets.is_empty() {
        true => Err(layout(labels, "names no pictures with their synsets")),
        false => Ok(synsets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIT: &[u8] = include_bytes!("../../tests/imagenet_devkit_of_three.tar.gz");

    fn tar_of(folder: &Path, count: u32) -> PathBuf {
        let path = folder.join("ILSVRC2012_img_val.tar");
        let mut builder = tar::Builder::new(std::fs::File::create(&path).unwrap());
        for number in 1..=count {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            let name = format!("ILSVRC2012_val_{number:08}.JPEG");
            let content = [number as u8];
            builder
                .append_data(&mut header, name, &content[..])
                .unwrap();
        }
        builder.finish().unwrap();
        path
    }

    fn content(folder: &Path, synset: &str, number: u32) -> u8 {
        std::fs::read(folder.join(format!("{synset}/ILSVRC2012_val_{number:08}.JPEG"))).unwrap()[0]
    }

    #[test]
    fn pictures_are_sorted_by_kits_and_lists() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = tar_of(folder.path(), 4);
        let kit = folder.path().join("kit.tar.gz");
        std::fs::write(&kit, KIT).unwrap();
        let lists = [
            "ILSVRC2012_val_00000001.JPEG n01440764\nILSVRC2012_val_00000002.JPEG n02123045\n\
             ILSVRC2012_val_00000003.JPEG n01440764\nILSVRC2012_val_00000004.JPEG n07930864\n",
            "ImageId,PredictionString\nILSVRC2012_val_00000004,n07930864 1 2 3 4 n07930864 5 6 7 8\n\
             ILSVRC2012_val_00000002,n02123045 1 2 3 4\nILSVRC2012_val_00000001,n01440764 1 2\n\
             ILSVRC2012_val_00000003,n01440764 1 2\n",
            "mkdir -p n01440764\nmv ILSVRC2012_val_00000001.JPEG n01440764/\n\
             mv ILSVRC2012_val_00000002.JPEG n02123045/\nmv ILSVRC2012_val_00000003.JPEG n01440764/\n\
             mv ILSVRC2012_val_00000004.JPEG n07930864/\n",
            "n01440764\nn02123045\nn01440764\nn07930864\n",
        ];
        let mut labels = vec![kit];
        for (number, list) in lists.iter().enumerate() {
            let path = folder.path().join(format!("{number}.txt"));
            std::fs::write(&path, list).unwrap();
            labels.push(path);
        }
        for (number, labels) in labels.iter().enumerate() {
            let target = folder.path().join(format!("sorted{number}/val"));
            assert_eq!(sort_imagenet_val(&pictures, labels, &target).unwrap(), 4);
            assert_eq!(content(&target, "n01440764", 1), 1);
            assert_eq!(content(&target, "n02123045", 2), 2);
            assert_eq!(content(&target, "n01440764", 3), 3);
            assert_eq!(content(&target, "n07930864", 4), 4);
            let beside = std::fs::read_dir(target.parent().unwrap()).unwrap();
            assert_eq!(beside.count(), 1, "nothing but the folder stays");
        }
        // A folder of pictures stays as it is.
        let flat = folder.path().join("flat");
        std::fs::create_dir(&flat).unwrap();
        unpack(&pictures, &flat, UnpackLimits::default()).unwrap();
        let target = folder.path().join("again/val");
        assert_eq!(sort_imagenet_val(&flat, &labels[0], &target).unwrap(), 4);
        assert_eq!(std::fs::read_dir(&flat).unwrap().count(), 4);
    }

    #[test]
    fn what_does_not_fit_is_named_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = tar_of(folder.path(), 2);
        let labels = folder.path().join("labels.txt");
        for (list, words) in [
            ("n01440764\n", "no class of ILSVRC2012_val_00000002.JPEG"),
            (
                "n01440764\nn01440764\nn01440764\n",
                "ILSVRC2012_val_00000003.JPEG is missing",
            ),
            ("ILSVRC2012_val_00000001.JPEG tench\n", "line 1"),
            (
                "ILSVRC2012_val_00000001 n01440764\nILSVRC2012_val_00000001 n02123045\n",
                "line 2",
            ),
            ("tench\n", "names no pictures"),
        ] {
            std::fs::write(&labels, list).unwrap();
            let target = folder.path().join("out/val");
            let error = sort_imagenet_val(&pictures, &labels, &target).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            let left = std::fs::read_dir(folder.path().join("out")).unwrap();
            assert_eq!(left.count(), 0);
        }
    }
}
