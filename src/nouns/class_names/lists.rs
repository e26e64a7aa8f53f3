//! Lists of class names per dataset (`nouns-captions.md` 6.1).

use std::collections::HashMap;
use std::path::Path;

use crate::nouns::NounsError;
use crate::nouns::files::read_limited;

/// Which names of the classes are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClassNameVariant {
    /// One name per class, as in CLIP evaluations.
    #[default]
    Clip,
    /// Comma-separated synonyms that count as correct.
    Multi,
    /// Wider synonyms, from a file that the user has.
    Guide,
}

const CLIP: &[u8] = include_bytes!("../../../extras/data/cls_class_names_clip.json");
const MULTI: &[u8] = include_bytes!("../../../extras/data/cls_class_names_multi.json");
const GUIDE_FILE: &str = "cls_class_names_guide.json";
const SIZE_LIMIT: u64 = 64 << 20;

impl ClassNameVariant {
    /// The name in configurations and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Multi => "multi",
            Self::Guide => "guide",
        }
    }
}

/// Names of the classes of `dataset` (any case) in class order, or `None` if
/// the list does not have this dataset.
///
/// `data_dir` is where users put lists that do not ship.
pub fn class_names(
    variant: ClassNameVariant,
    dataset: &str,
    data_dir: Option<&Path>,
) -> Result<Option<Vec<String>>, NounsError> {
    let key = dataset.to_lowercase();
    let key = if key.starts_with("imagenet1k") {
        "imagenet1k"
    } else {
        &key
    };
    let mut lists = match variant {
        ClassNameVariant::Clip => parse("the shipped clip class names", CLIP)?,
        ClassNameVariant::Multi => parse("the shipped multi class names", MULTI)?,
        ClassNameVariant::Guide => {
            let path = data_dir.map(|dir| dir.join(GUIDE_FILE));
            let Some(path) = path.filter(|path| path.is_file()) else {
                return Err(NounsError::NoClassNameFile {
                    variant: variant.name(),
                    file_name: GUIDE_FILE,
                    directory: data_dir.map(Path::to_owned),
                });
            };
            parse(
                &path.display().to_string(),
                &read_limited(&path, SIZE_LIMIT)?,
            )?
        }
    };
    Ok(lists.remove(key))
}

/// `{name: [text, …]}`.
pub(super) fn parse(file: &str, json: &[u8]) -> Result<HashMap<String, Vec<String>>, NounsError> {
    serde_json::from_slice(json).map_err(|error| NounsError::NotAClassNameFile {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}
