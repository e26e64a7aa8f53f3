//! The built-in dictionary: compressed in the program, unpacked when asked
//! for (`nouns-captions.md` section 9).

use super::NounsError;

/// Made by `novic nouns build`; notices and licences lie beside it.
static COMPRESSED: &[u8] = include_bytes!("../../extras/dictionary/nouns.json.zst");
/// BLAKE3 of the unpacked JSON, so that keys need not unpack it.
const IDENTITY: &str = include_str!("../../extras/dictionary/nouns.json.b3");
/// No dictionary we ship unpacks to more bytes than this.
const SIZE_LIMIT: usize = 64 << 20;

/// The JSON text.
pub(super) fn json() -> Result<Vec<u8>, NounsError> {
    zstd::bulk::decompress(COMPRESSED, SIZE_LIMIT).map_err(|error| damaged(&error.to_string()))
}

/// BLAKE3 of the JSON text.
pub(super) fn identity() -> Result<blake3::Hash, NounsError> {
    let hex = IDENTITY.split_whitespace().next().unwrap_or_default();
    blake3::Hash::from_hex(hex).map_err(|error| damaged(&error.to_string()))
}

fn damaged(reason: &str) -> NounsError {
    NounsError::EmbeddedDictionary {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::nouns::class_names::{
        ClassNameVariant, OnAmbiguity, VocabularyAlignment, class_names,
    };
    use crate::nouns::dictionary::{Dictionary, EMBEDDED};

    fn dictionary() -> Arc<Dictionary> {
        Arc::new(Dictionary::load(Path::new(EMBEDDED)).expect("it loads"))
    }

    #[test]
    fn loads_without_warnings_and_knows_its_hash() {
        assert_eq!(dictionary().warnings(), []);
        let json = json().expect("it unpacks");
        assert_eq!(identity().expect("a hash"), blake3::hash(&json));
    }

    /// Sizes of the measured table of `nouns-captions.md` section 9.
    #[test]
    fn sizes_are_those_of_the_specification() {
        let dictionary = dictionary();
        for (threshold, expected) in [(0, 42_746), (2, 14_226), (6, 6_084), (9, 3_653)] {
            let vocabulary = dictionary.clone().vocabulary(threshold).expect("nouns");
            let difference = vocabulary.len().abs_diff(expected);
            assert!(
                difference * 20 <= expected,
                "FT{threshold}: {}",
                vocabulary.len()
            );
        }
    }

    #[test]
    fn every_class_of_the_shipped_synonyms_is_a_noun_above_2() {
        let vocabulary = dictionary().vocabulary(2).expect("nouns");
        for dataset in [
            "imagenet1k",
            "tinyimagenet",
            "imagenette",
            "imagewoof",
            "mnist",
            "fashionmnist",
        ] {
            let classes = class_names(ClassNameVariant::Multi, dataset, None).expect("a list");
            let classes = classes.expect("the dataset");
            VocabularyAlignment::new(&vocabulary, &classes, OnAmbiguity::TakeFirst)
                .unwrap_or_else(|error| panic!("{dataset}: {error}"));
        }
    }
}
