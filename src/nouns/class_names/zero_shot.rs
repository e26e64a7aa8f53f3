//! Zero-shot prompts per classification dataset (`nouns-captions.md` 6.4).

use super::lists::parse;
use crate::nouns::NounsError;

static PROMPTS: &[u8] = include_bytes!("../../../extras/data/cls_prompts_clip.json");

/// The datasets that can be loaded, and whose prompts they use.
const PROMPTS_OF: [(&str, &str); 12] = [
    ("mnist", "mnist"),
    ("fashionmnist", "cifar10"),
    ("cifar10", "cifar10"),
    ("cifar100", "cifar100"),
    ("food101", "food101"),
    ("tinyimagenet", "cifar100"),
    ("imagenette", "imagenet1k"),
    ("imagewoof", "imagenet1k"),
    ("imagenet1k", "imagenet1k"),
    ("imagenet1kval", "imagenet1k"),
    ("imagenet-a", "imagenet1k"),
    ("imagenet-r", "imagenet1k"),
];

/// The prompt templates of `dataset` (any case), with `{noun}` in the place of
/// the class name. Articles are part of the templates.
pub fn zero_shot_prompts(dataset: &str) -> Result<Vec<String>, NounsError> {
    let name = dataset.to_lowercase();
    let key = PROMPTS_OF.iter().find(|(known, _)| *known == name);
    let mut all = parse("the shipped zero-shot prompts", PROMPTS)?;
    let templates = key.and_then(|(_, key)| all.remove(*key));
    let templates = templates.ok_or_else(|| NounsError::NoZeroShotPrompts {
        dataset: dataset.to_owned(),
        available: PROMPTS_OF.map(|(known, _)| known.to_owned()).to_vec(),
    })?;
    Ok(templates
        .iter()
        .map(|t| t.replace("{c}", "{noun}"))
        .collect())
}
