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
    /// Synonyms and kinds that people would accept, from WordNet.
    Wordnet,
}

static CLIP: &[u8] = include_bytes!("../../../extras/data/cls_class_names_clip.json");
static MULTI: &[u8] = include_bytes!("../../../extras/data/cls_class_names_multi.json");
static WORDNET: &[u8] = include_bytes!("../../../extras/data/cls_class_names_wordnet.json");
const GUIDE_FILE: &str = "cls_class_names_guide.json";
const SIZE_LIMIT: u64 = 64 << 20;

impl ClassNameVariant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Clip, Self::Multi, Self::Guide, Self::Wordnet];

    /// The variant of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, NounsError> {
        let known = Self::ALL.into_iter().find(|variant| variant.name() == name);
        known.ok_or_else(|| NounsError::UnknownClassNames {
            name: name.to_owned(),
            available: Self::ALL.map(|variant| variant.name().to_owned()).to_vec(),
        })
    }

    /// The name in configurations and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Multi => "multi",
            Self::Guide => "guide",
            Self::Wordnet => "wordnet",
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
        ClassNameVariant::Wordnet => parse("the shipped wordnet class names", WORDNET)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nouns::{EMBEDDED, OnAmbiguity, Vocabulary, VocabularyAlignment};

    /// `nouns-captions.md` section 9: these lists map completely above FT2.
    #[test]
    fn every_class_of_the_wider_lists_has_a_noun() {
        let vocabulary = Vocabulary::load(Path::new(EMBEDDED), 2).expect("embedded");
        for (variant, dataset, classes) in [
            (ClassNameVariant::Multi, "imagenet1k", 1000),
            (ClassNameVariant::Multi, "tinyimagenet", 200),
            (ClassNameVariant::Wordnet, "ImageNet1KVal", 1000),
            (ClassNameVariant::Wordnet, "TinyImageNet", 200),
            (ClassNameVariant::Wordnet, "Imagenette", 10),
            (ClassNameVariant::Wordnet, "Imagewoof", 10),
            (ClassNameVariant::Wordnet, "MNIST", 10),
            (ClassNameVariant::Wordnet, "FashionMNIST", 10),
            (ClassNameVariant::Wordnet, "CIFAR10", 10),
            (ClassNameVariant::Wordnet, "CIFAR100", 100),
            (ClassNameVariant::Wordnet, "Food101", 101),
        ] {
            let names = class_names(variant, dataset, None)
                .expect("shipped")
                .expect("a list");
            assert_eq!(names.len(), classes, "{dataset}");
            VocabularyAlignment::new(&vocabulary, &names, OnAmbiguity::TakeFirst)
                .unwrap_or_else(|error| panic!("{dataset}: {error}"));
            // No name counts for two classes of the wider lists, except those
            // that the lists they are made from share.
            let narrow = class_names(ClassNameVariant::Multi, dataset, None).expect("shipped");
            let shared = narrow.map_or(0, |names| repeated(&names));
            assert!(repeated(&names) <= shared, "{dataset}");
        }
    }

    fn repeated(classes: &[String]) -> usize {
        let mut seen = std::collections::HashSet::new();
        let names = classes.iter().flat_map(|class| class.split(", "));
        names
            .filter(|name| !seen.insert(name.to_lowercase()))
            .count()
    }

    #[test]
    fn lists_are_found_by_name() {
        for variant in ClassNameVariant::ALL {
            assert_eq!(
                ClassNameVariant::named(variant.name()).expect("known"),
                variant
            );
        }
        let error = ClassNameVariant::named("glide")
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("guide"), "{error}");
    }
}
