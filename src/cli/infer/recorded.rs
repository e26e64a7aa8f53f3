//! What a prediction file says of how it was made.

use std::path::Path;

use serde_json::{Map, Value};

use super::InferArgs;
use crate::config::schema::{Action, Config};
use crate::decoder::generate::GenerationConfig;
use crate::infer::NovicModel;

/// The flat configuration of a stage of kind `infer` that does what the command
/// line says (`eval-infer.md` section 8.1); what it does not say is the
/// default. A single folder is the directory of all pictures, which tables name
/// the pictures by; otherwise patterns and folders stay as they were named.
pub(super) fn infer_cfg(
    args: &InferArgs,
    generations: &[GenerationConfig],
    model: &NovicModel,
) -> Map<String, Value> {
    let mut config = Config::default();
    config.run.action = Action::Infer;
    config.run.device = args.device.clone();
    config.embedder.spec = model.decoder().trained().embedder_spec.clone();
    config.checkpoint.load = model.path().display().to_string();
    let names = generations.iter().map(ToString::to_string);
    match generations {
        [one] => config.generate.config = one.to_string(),
        _ => config.generate.configs = names.collect(),
    }
    let infer = &mut config.infer;
    infer.texts = args.texts.clone();
    let named = [&args.pictures[..], &args.images[..]].concat();
    match &named[..] {
        [folder] if Path::new(folder).is_dir() => infer.all_images_dir = folder.clone(),
        _ => infer.images = named,
    }
    let folder = args.image_dir.as_ref();
    infer.image_dir = folder.map_or_else(String::new, |dir| dir.display().to_string());
    // Lists that are given in files are in the prediction file as a whole.
    infer.guide_targets = args.guide_targets.clone();
    infer.guide_dataset = args.guide.first().cloned().unwrap_or_default();
    infer.guide_canonical = args.guide_canonical;
    infer.predictions_json = true;
    config.flat()
}
