//! Zero-shot accuracy of the written embedder on the packed drawings.

use super::failure::{Outcome, at, content};
use super::image_tower::{EMBED_DIM, IMAGE_SIZE, ImageTower};
use super::layers::dot;
use super::params::Params;
use super::prompts::class_templates;
use super::text_tower::TextTower;
use super::{bpe, drawings, layout, raster, train_image, train_text};
use std::path::Path;

/// Number of largest confusions printed.
const SHOWN: usize = 12;

/// Scores the embedder in `folder` on every pack below it, with the class
/// prompts of ImageNet.
pub fn score(folder: &Path, prompts: &Path) -> Outcome<()> {
    let (mut image, mut text) = (Params::default(), Params::default());
    let image_tower = ImageTower::new(&mut image);
    let text_tower = TextTower::new(&mut text);
    let towers = layout::read(&folder.join("open_clip_model.safetensors"), &image, &text)?;
    let tokenizer = bpe::read(folder)?;
    let templates = class_templates(prompts)?;
    let list = drawings::read(folder)?;
    let nouns: Vec<String> = list.classes.iter().map(|c| c.name.clone()).collect();
    let texts = train_text::embed_nouns(&text_tower, &towers.text, &tokenizer, &templates, &nouns)?;
    for pack in &list.styles {
        let path = folder.join(&pack.archive);
        let archive = std::fs::read(&path).map_err(at(&path))?;
        let mut pictures = Vec::new();
        let mut labels = Vec::new();
        for packed in &pack.pictures {
            let png = archive.get(packed.offset..packed.offset + packed.length);
            let (rgb, side) = png
                .and_then(raster::decode)
                .ok_or_else(|| content(&path, format!("{} is not a picture", packed.file)))?;
            pictures.push(raster::shrink(&rgb, side, IMAGE_SIZE));
            labels.push(packed.class);
        }
        let features = train_image::embed(&image_tower, &towers.image, &towers.moments, &pictures);
        let (top1, top5) = train_image::accuracy(&features, &labels, &texts);
        println!(
            "{}: {} drawings of {} classes: top-1 {top1:.2} %, top-5 {top5:.2} %",
            pack.style,
            labels.len(),
            nouns.len()
        );
        let pairs = features.chunks_exact(EMBED_DIM).zip(&labels);
        let angle: f32 = pairs
            .clone()
            .map(|(f, &l)| {
                dot(f, &texts[l * EMBED_DIM..(l + 1) * EMBED_DIM])
                    .acos()
                    .to_degrees()
            })
            .sum();
        println!(
            "  mean angle between a drawing and its text: {:.1} degrees",
            angle / labels.len() as f32
        );
        for (f, &label) in pairs.step_by(97).take(SHOWN) {
            let similar = |c: usize| dot(f, &texts[c * EMBED_DIM..(c + 1) * EMBED_DIM]);
            let best = (0..nouns.len())
                .max_by(|&a, &b| similar(a).total_cmp(&similar(b)))
                .unwrap_or(0);
            println!("  {} → {}", nouns[label], nouns[best]);
        }
    }
    Ok(())
}
