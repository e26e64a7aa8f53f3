//! What stages that look at pictures share: datasets of the configuration,
//! records and galleries for tables and pages.

use std::path::PathBuf;

use image::RgbImage;

use super::inputs;
use crate::config::schema::{ClsSplit, Config};
use crate::datasets::{
    ClassificationDataset, EmbeddedPack, Split, embedded_packs, expanded, known_place, open,
    open_in,
};
use crate::net::known_resource;
use crate::reports::experiment::{GALLERY_FILE, RECORDS_FILE};
use crate::reports::page::Gallery;
use crate::reports::record::Record;
use crate::runner::{MissingResource, Resource, ResourceQuery, StageContext, StageError};
use crate::store::{ContentHash, Project};

/// Longest side of pictures on the page.
const THUMBNAIL: u32 = 192;

/// Names of the datasets that a configuration asks for.
fn names(config: &Config) -> Vec<String> {
    if config.cls.datasets.is_empty() {
        vec![config.cls.dataset.clone()]
    } else {
        config.cls.datasets.clone()
    }
}

/// The embedded dataset of this name.
fn embedded(name: &str) -> Option<&'static EmbeddedPack> {
    embedded_packs()
        .iter()
        .find(|pack| pack.name.eq_ignore_ascii_case(name))
}

/// Whether a dataset is named by its path.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.starts_with(['.', '~'])
}

/// Folder of the known datasets.
fn root(project: &Project, config: &Config) -> PathBuf {
    match config.cls.root.starts_with('~') {
        true => expanded(&config.cls.root),
        false => inputs::path(project, &config.cls.root),
    }
}

/// Where a dataset lies or would lie.
fn place(project: &Project, config: &Config, name: &str) -> PathBuf {
    if name.starts_with('~') {
        return expanded(name);
    }
    if is_path(name) {
        return inputs::path(project, name);
    }
    let root = root(project, config);
    known_place(name, &root).map_or_else(|| root.join(name), |(place, _)| place)
}

/// The datasets for the plan.
pub(super) fn resources(query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
    let mut resources = Vec::new();
    for name in names(query.config) {
        if let Some(pack) = embedded(&name) {
            let identity = ContentHash::of(pack.identity().as_bytes());
            resources.push(Resource::present("dataset", &name, None, identity));
            continue;
        }
        let place = place(query.project, query.config, &name);
        if place.is_dir() {
            let identity = query.hashes.tree(&place)?;
            resources.push(Resource::present("dataset", &name, Some(place), identity));
            continue;
        }
        if place.is_file() {
            let identity = query.hashes.file(&place)?;
            resources.push(Resource::present("dataset", &name, Some(place), identity));
            continue;
        }
        let id = known_place(&name, &place).and_then(|(_, id)| id);
        let known = id.and_then(known_resource);
        let missing = MissingResource::of(known, "your own copy");
        resources.push(Resource::absent("dataset", &name, Some(place), missing));
    }
    Ok(resources)
}

/// The datasets of a running stage.
pub(super) fn open_all(
    context: &StageContext<'_>,
) -> Result<Vec<Box<dyn ClassificationDataset>>, StageError> {
    let config = context.config();
    let opened: Result<Vec<_>, StageError> = names(config)
        .iter()
        .map(|name| match embedded(name) {
            Some(_) => Ok(open(name)?),
            None if is_path(name) => {
                let place = place(context.project(), config, name);
                Ok(open(&place.display().to_string())?)
            }
            None => {
                let split = match config.cls.split {
                    ClsSplit::Train => Split::Train,
                    ClsSplit::Valid => Split::Valid,
                    ClsSplit::All => Split::All,
                };
                Ok(open_in(name, &root(context.project(), config), split)?)
            }
        })
        .collect();
    let opened = opened?;
    for notice in opened.iter().flat_map(|dataset| dataset.notices()) {
        context.warn(notice);
    }
    Ok(opened)
}

/// Whether this is a dataset of drawings in the program.
pub(super) fn is_embedded(name: &str) -> bool {
    embedded(name).is_some()
}

/// A dataset with the name it was asked for by.
pub(super) type NamedDataset = (String, Box<dyn ClassificationDataset>);

/// The datasets of a running stage.
pub(super) fn open_named(context: &StageContext<'_>) -> Result<Vec<NamedDataset>, StageError> {
    let names = names(context.config()).into_iter();
    Ok(names.zip(open_all(context)?).collect())
}

/// Leaves the measured rows for tables.
pub(super) fn write_records(
    context: &StageContext<'_>,
    records: &[Record],
) -> Result<(), StageError> {
    let text = serde_json::to_string_pretty(records)?;
    Ok(std::fs::write(context.out().join(RECORDS_FILE), text)?)
}

/// Mean of a number over rows; none where a row lacks it.
pub(super) fn mean(records: &[Record], field: &str) -> Option<f64> {
    let numbers: Option<Vec<f64>> = records.iter().map(|row| row.number(field)).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
    Some(numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// Largest of a number over rows.
pub(super) fn best(records: &[Record], field: &str) -> Option<f64> {
    let numbers = records.iter().filter_map(|row| row.number(field));
    numbers.max_by(f64::total_cmp)
}

/// Leaves pictures for the page: `galleries` name the files that `images` are
/// saved as.
pub(super) fn write_galleries(
    context: &StageContext<'_>,
    galleries: &[Gallery],
    images: &[(String, RgbImage)],
) -> Result<(), StageError> {
    let index = context.out().join(GALLERY_FILE);
    if let Some(folder) = index.parent() {
        std::fs::create_dir_all(folder)?;
        for (file, image) in images {
            let small = if image.width().max(image.height()) > THUMBNAIL {
                image::DynamicImage::ImageRgb8(image.clone())
                    .thumbnail(THUMBNAIL, THUMBNAIL)
                    .to_rgb8()
            } else {
                image.clone()
            };
            small.save_with_format(folder.join(file), image::ImageFormat::Png)?;
        }
    }
    Ok(std::fs::write(
        index,
        serde_json::to_string_pretty(galleries)?,
    )?)
}
