//! From a plot's keys to its figure.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use super::data::{empty, figure, selected};
use super::figure::{Figure, Layer, PlotError, Thumbnail, Tile};
use super::gallery;
use super::spec::{PICTURE_FOLDERS, PlotKind, PlotSpec};
use crate::images::{DecodeOptions, Interpolation, decode_file, resize};
use crate::reports::experiment::GALLERY_FILE;
use crate::reports::field::Field;
use crate::reports::page::{Gallery, Guess};
use crate::reports::record::Record;
use crate::reports::sources::{Loader, SourceError};
use crate::reports::wanted::Wanted;

/// Why there is no figure.
#[derive(Debug, Error)]
pub enum MakeError {
    /// Its records cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It cannot be made of them.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Longest side of pictures in a gallery.
const SIDE: u32 = 384;
/// Predictions below a picture that one model saw.
const GUESSES: usize = 3;

/// The figure of a plot, from what has been run.
///
/// # Errors
/// Records that cannot be read, or of which no such figure can be made.
pub fn make(spec: &PlotSpec, loader: &Loader<'_>) -> Result<Figure, MakeError> {
    let wanted = Wanted::by_plot(spec);
    if spec.kind != PlotKind::Gallery {
        let records = loader.sources(&spec.sources, &wanted)?;
        return Ok(figure(spec, &records)?);
    }
    let (layers, runs) = if spec.is_gallery_of_stages() {
        of_outputs(spec, loader)?
    } else {
        let records = loader.sources(&spec.sources, &wanted)?;
        of_samples(spec, loader, &selected(spec, &records))
    };
    let mut figure = empty(spec, runs);
    figure.layers = layers;
    figure.size.1 = gallery::height(&figure);
    Ok(figure)
}

type Pictures = (Vec<Layer>, Vec<String>);

/// The pictures that the stages of an experiment left.
fn of_outputs(spec: &PlotSpec, loader: &Loader<'_>) -> Result<Pictures, PlotError> {
    let (mut layers, mut runs) = (Vec::new(), Vec::new());
    for entry in loader.outputs {
        let path = entry.dir().join(GALLERY_FILE);
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let galleries: Vec<Gallery> = serde_json::from_str(&text).map_err(|error| PlotError {
            plot: spec.name.clone(),
            reason: format!("failed to read {}: {error}", path.display()),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for gallery in galleries {
            let tile = |picture: &crate::reports::page::Picture| Tile {
                name: picture.file.clone(),
                picture: thumbnail(&folder.join(&picture.file)),
                label: picture.label.clone(),
                guesses: picture.guesses.clone(),
            };
            layers.push(Layer::Pictures {
                title: Some(gallery.title),
                tiles: gallery
                    .pictures
                    .par_iter()
                    .take(spec.top)
                    .map(tile)
                    .collect(),
            });
            runs.push(entry.manifest().description.run.clone());
        }
    }
    runs.sort_unstable();
    runs.dedup();
    Ok((layers, runs))
}

/// The pictures of samples, with what one model or several wrote under them.
fn of_samples(spec: &PlotSpec, loader: &Loader<'_>, records: &[&Record]) -> Pictures {
    let mut samples: Vec<(&str, Vec<&Record>)> = Vec::new();
    for &record in records {
        let Some(name) = record.text("sample") else {
            continue;
        };
        let place = samples.iter().position(|(known, _)| *known == name);
        let place = match place {
            Some(place) => place,
            None if samples.len() == spec.top => continue,
            None => {
                samples.push((name, Vec::new()));
                samples.len() - 1
            }
        };
        let model = |record: &Record| {
            let text = |field| record.text(field).map(str::to_owned);
            ["model.spec", "file", "gencfg"].map(text)
        };
        // Of several sets of annotations the first counts.
        let all = &mut samples[place].1;
        if !all.iter().any(|other| model(other) == model(record)) {
            all.push(record);
        }
    }
    let places = [loader.project.working_dir(), loader.dir];
    let tile = |(name, records): &(&str, Vec<&Record>)| Tile {
        name: (*name).to_owned(),
        picture: records
            .first()
            .and_then(|record| thumbnail(&picture_path(spec, places, record, name)?)),
        label: Some(
            name.rsplit_once('.')
                .map_or(*name, |(stem, _)| stem)
                .replace('_', " "),
        ),
        guesses: match records.as_slice() {
            [one] => (1..=GUESSES)
                .filter_map(|rank| guess(spec, one, rank))
                .collect(),
            several => several
                .iter()
                .filter_map(|one| guess(spec, one, 1))
                .collect(),
        },
    };
    let tiles: Vec<Tile> = samples.par_iter().map(tile).collect();
    let runs = super::data::runs_of(records);
    (vec![Layer::Pictures { title: None, tiles }], runs)
}

fn guess(spec: &PlotSpec, record: &Record, rank: usize) -> Option<Guess> {
    let noun = record.text(&format!("noun@{rank}"))?;
    let label = spec.label.as_ref().map(|label| {
        let value = |name: &str| Field::new(name).of(record).cloned();
        format!("{}: ", label.fill(value, "-"))
    });
    let kind = record
        .text(&format!("category@{rank}"))
        .or_else(|| record.text(&format!("class@{rank}")));
    Some(Guess {
        noun: format!("{}{noun}", label.unwrap_or_default()),
        probability: match record.number(&format!("prob@{rank}")) {
            // Scores of most files are logarithms.
            Some(score) if score < 0.0 => score.exp(),
            Some(score) => score,
            None => f64::NAN,
        },
        kind: kind.unwrap_or_default().to_owned(),
    })
}

/// Where a sample lies: in the folder of `images`, else where the inference
/// found it.
fn picture_path(
    spec: &PlotSpec,
    places: [&Path; 2],
    record: &Record,
    name: &str,
) -> Option<PathBuf> {
    if let Some(images) = &spec.images {
        let found = places.map(|dir| dir.join(images).join(name));
        return found.into_iter().find(|path| path.is_file());
    }
    let own = |key: &str| record.text(key).filter(|text| !text.is_empty());
    let folder = PICTURE_FOLDERS.into_iter().find_map(own)?;
    let folder = folder.strip_prefix("$SOURCE/").unwrap_or(folder);
    Some(places[0].join(folder).join(name))
}

/// A picture, small; none if it cannot be read.
fn thumbnail(path: &Path) -> Option<Thumbnail> {
    let options = DecodeOptions {
        exif_rotate: true,
        on_white: true,
        ..DecodeOptions::default()
    };
    let mut image = decode_file(path, &options).ok()?;
    let longest = image.width().max(image.height());
    if longest > SIDE {
        let side = |length: u32| (u64::from(length) * u64::from(SIDE) / u64::from(longest)).max(1);
        let side = |length: u32| u32::try_from(side(length)).unwrap_or(SIDE);
        let (width, height) = (side(image.width()), side(image.height()));
        image = resize(&image, width, height, Interpolation::Bicubic);
    }
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).ok()?;
    Some(Thumbnail {
        width: image.width(),
        height: image.height(),
        png: png.into_inner(),
    })
}
