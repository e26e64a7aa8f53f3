//! Writes the embedder's folder.

use super::failure::{Outcome, at, content};
use super::image_tower::{self, EMBED_DIM, IMAGE_SIZE, ImageTower};
use super::layout::{self, Towers};
use super::params::Params;
use super::text_tower::{self, TextTower};
use super::{augment, bpe};
use serde_json::json;
use std::path::Path;

/// Collects the trained towers of the work folder into `folder`.
pub fn export(work: &Path, image_name: &str, folder: &Path) -> Outcome<()> {
    let (mut image, mut text) = (Params::default(), Params::default());
    ImageTower::new(&mut image);
    image.constant("logit_scale", 1, 0.0);
    TextTower::new(&mut text);
    let moments = work.join(format!("{image_name}-moments.bin"));
    let bytes = std::fs::metadata(&moments).map_err(at(&moments))?.len() as usize;
    let towers = Towers {
        image: Params::load(
            &work.join(format!("{image_name}-average.bin")),
            image.values.len(),
        )?,
        moments: Params::load(&moments, bytes / 4)?,
        text: Params::load(&work.join("text-average.bin"), text.values.len())?,
    };
    layout::write(
        &folder.join("open_clip_model.safetensors"),
        &towers,
        &image,
        &text,
    )?;
    let normal = [augment::PIXEL_MEAN; 3];
    let config = json!({
        "model_cfg": {
            "embed_dim": EMBED_DIM,
            "quick_gelu": true,
            "vision_cfg": {
                "image_size": IMAGE_SIZE,
                "layers": image_tower::LAYERS,
                "width": image_tower::WIDTH,
                "patch_size": null,
            },
            "text_cfg": {
                "context_length": bpe::CONTEXT,
                "vocab_size": bpe::VOCABULARY,
                "width": text_tower::WIDTH,
                "heads": text_tower::HEADS,
                "layers": text_tower::LAYERS,
                "mlp_ratio": text_tower::MLP_RATIO as f64,
            },
        },
        "preprocess_cfg": {
            "size": IMAGE_SIZE,
            "mode": "RGB",
            "mean": normal,
            "std": normal,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
            "fill_color": 0,
        },
    });
    let path = folder.join("open_clip_config.json");
    let pretty = serde_json::to_string_pretty(&config).map_err(|e| content(&path, e))?;
    std::fs::write(&path, pretty + "\n").map_err(at(&path))?;
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(work.join(file), folder.join(file)).map_err(at(&work.join(file)))?;
    }
    Ok(())
}

/// Takes the towers out of an embedder's folder into the work folder, as state
/// `name` from which trainings can begin: what a half-precision file keeps.
pub fn import(folder: &Path, work: &Path, name: &str) -> Outcome<()> {
    let (mut image, mut text) = (Params::default(), Params::default());
    ImageTower::new(&mut image);
    image.constant("logit_scale", 1, (20f32).ln());
    TextTower::new(&mut text);
    let towers = layout::read(&folder.join("open_clip_model.safetensors"), &image, &text)?;
    let file = |part: &str| work.join(format!("{name}-{part}.bin"));
    Params::save(&towers.image, &file("average"))?;
    Params::save(&towers.moments, &file("moments"))?;
    Params::save(&towers.text, &file("text"))
}

/// Gives the text tower of state `name` in the work folder, imported from
/// `folder`, the tokens of the work folder's tokenizer: each begins as the mean
/// of those that spelt it before.
pub fn retokenize(folder: &Path, work: &Path, name: &str) -> Outcome<()> {
    let mut text = Params::default();
    let tower = TextTower::new(&mut text);
    let path = work.join(format!("{name}-text.bin"));
    let old = Params::load(&path, text.values.len())?;
    let mut values = old.clone();
    let pieces = bpe::pieces(&bpe::read(work)?, &bpe::read(folder)?)?;
    let width = text_tower::WIDTH;
    let rows = tower.tokens().of(&old);
    let new = tower.tokens().of_mut(&mut values);
    for (row, pieces) in new.chunks_exact_mut(width).zip(pieces) {
        row.fill(0.0);
        for &piece in &pieces {
            let from = &rows[piece as usize * width..(piece as usize + 1) * width];
            row.iter_mut()
                .zip(from)
                .for_each(|(r, f)| *r += f / pieces.len() as f32);
        }
    }
    Params::save(&values, &path)
}
