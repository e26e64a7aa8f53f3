//! The collection of pictures the image tower is made from.

use super::augment::Square;
use super::clipart::Clip;
use super::failure::{Failure, Outcome, at, content, read_json, write_json};
use super::icons::{self, Drawing, FileNames};
use super::names::{Names, squash};
use super::{clipart, raster, threads, wordnet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Side of the stored pictures in pixels.
pub const SIDE: usize = 80;
/// Bytes of one stored picture.
pub const BYTES: usize = SIDE * SIDE * 4;

/// What is known of a picture besides its pixels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Picture {
    /// Icon set, or `openclipart`.
    pub style: String,
    /// File name in its set.
    pub file: String,
    /// Class id: code points, or `name:…`.
    pub key: String,
    /// Gendered form of its class.
    pub gendered: bool,
    /// Names, the class name first.
    pub names: Vec<String>,
}

/// All pictures: descriptions and pixels in the same order.
pub struct Collection {
    pub pictures: Vec<Picture>,
    pixels: Vec<u8>,
    small: Vec<u8>,
}

impl Collection {
    /// Pixels of picture `i`, premultiplied RGBA.
    pub fn pixels(&self, i: usize) -> &[u8] {
        &self.pixels[i * BYTES..(i + 1) * BYTES]
    }

    /// Picture `i` at half the stored size, which suits the views the tower
    /// sees.
    pub fn square(&self, i: usize) -> Square<'_> {
        Square {
            pixels: &self.small[i * BYTES / 4..(i + 1) * BYTES / 4],
            side: SIDE / 2,
        }
    }

    /// Reads `pictures.json` and `pictures.bin` from a work folder.
    pub fn read(folder: &Path) -> Outcome<Self> {
        let pictures: Vec<Picture> = read_json(&folder.join("pictures.json"))?;
        let path = folder.join("pictures.bin");
        let pixels = std::fs::read(&path).map_err(at(&path))?;
        if pixels.len() != pictures.len() * BYTES {
            return Err(content(
                &path,
                "does not match pictures.json, collect the pictures again",
            ));
        }
        let small = pixels.chunks_exact(BYTES).flat_map(halve).collect();
        Ok(Self {
            pictures,
            pixels,
            small,
        })
    }
}

/// Averages 2 × 2 pixels.
fn halve(picture: &[u8]) -> Vec<u8> {
    const ROW: usize = SIDE * 4;
    let half = SIDE / 2;
    let mut out = Vec::with_capacity(BYTES / 4);
    for y in 0..half {
        for x in 0..half {
            let at = 2 * y * ROW + 8 * x;
            out.extend((0..4).map(|c| {
                let four = [at, at + 4, at + ROW, at + ROW + 4].map(|i| u16::from(picture[i + c]));
                ((four.iter().sum::<u16>() + 2) / 4) as u8
            }));
        }
    }
    out
}

/// Collects and renders the art of all training sets into the work folder.
pub fn collect(modules: &Path, clipart_root: &Path, folder: &Path) -> Outcome<()> {
    let names = Names::read(modules)?;
    let files = FileNames::read(modules)?;
    let mut drawings: Vec<Drawing> = Vec::new();
    for set in icons::TRAINING_SETS {
        drawings.extend(icons::read(modules, set, &files, &names)?);
    }
    let nouns: HashSet<String> = wordnet::read(modules)?
        .into_iter()
        .filter(|n| n.common)
        .map(|n| n.text)
        .collect();
    let clips = clipart::read(clipart_root, &nouns)?;
    let rendered = threads::map(drawings.len() + clips.len(), |i| match drawings.get(i) {
        Some(drawing) => raster::svg(&drawing.svg, SIDE as u32),
        None => raster::png(&clips[i - drawings.len()].path, SIDE),
    });
    let described = drawings
        .iter()
        .map(describe)
        .chain(clips.iter().map(|c| describe_clip(c, &names)));
    let mut pictures = Vec::new();
    let mut pixels = Vec::new();
    for (picture, square) in described.zip(rendered) {
        if let Some(square) = square {
            pictures.push(picture);
            pixels.extend(square);
        }
    }
    if pictures.is_empty() {
        return Err(Failure::Usage(format!(
            "no pictures below {}",
            modules.display()
        )));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for picture in &pictures {
        *counts.entry(&picture.style).or_default() += 1;
    }
    let classes: HashSet<&str> = pictures.iter().map(|p| p.key.as_str()).collect();
    println!(
        "{} pictures of {} classes: {counts:?}",
        pictures.len(),
        classes.len()
    );
    let path = folder.join("pictures.bin");
    std::fs::write(&path, pixels).map_err(at(&path))?;
    write_json(&folder.join("pictures.json"), &pictures)
}

fn describe(drawing: &Drawing) -> Picture {
    Picture {
        style: drawing.style.clone(),
        file: drawing.file.clone(),
        key: drawing.key.clone(),
        gendered: drawing.gendered,
        names: drawing.names.clone(),
    }
}

/// Clip art joins an emoji of exactly its name, else it is a class by itself.
fn describe_clip(clip: &Clip, names: &Names) -> Picture {
    let found = names
        .find(&clip.name)
        .and_then(|key| Some((key, names.of(key)?)));
    let (key, known) = match found {
        Some((key, known)) => (key.to_string(), known.to_vec()),
        None => (
            format!("name:{}", squash(&clip.name)),
            vec![clip.name.clone()],
        ),
    };
    let file = clip
        .path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default()
        .to_string();
    Picture {
        style: "openclipart".into(),
        file,
        key,
        gendered: false,
        names: known,
    }
}
