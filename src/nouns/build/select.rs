//! Which synsets are kinds of things one can see.

use std::collections::HashSet;

use super::error::BuildError;
use super::wordnet::{Offset, Synset, WordNet};

/// Lexicographer files that hold kinds of objects, by number.
pub(super) const FILES: [(u8, &str); 10] = [
    (6, "artifact"),
    (20, "plant"),
    (5, "animal"),
    (18, "person"),
    (13, "food"),
    (8, "body"),
    (27, "substance"),
    (17, "object"),
    (19, "phenomenon"),
    (3, "Tops"),
];

const ROOT: &str = "physical_entity#1";

/// Kinds of things that are not seen as such.
const EXCLUDED: [&str; 14] = [
    "drug#1",
    "cell#2",
    "tissue#1",
    "body_substance#1",
    "nerve#1",
    "blood_vessel#1",
    "muscle#1",
    "microorganism#1",
    "chemical_element#1",
    "compound#2",
    "chemical#1",
    "acid#1",
    "plant_tissue#1",
    "region#3",
];

/// In these files only what is below one of the senses; of `Tops` only the
/// senses themselves.
const RESTRICTED: [(u8, &[&str]); 5] = [
    (8, &["body_part#1"]),
    (19, &["atmospheric_phenomenon#1"]),
    (27, &["material#1", "mineral#1", "solid#1", "fuel#1"]),
    (
        18,
        &[
            "adult#1",
            "juvenile#1",
            "male#2",
            "female#2",
            "worker#1",
            "entertainer#1",
            "artist#1",
            "contestant#1",
            "traveler#1",
            "serviceman#1",
            "ruler#1",
            "religious_person#1",
            "expert#1",
            "peer#1",
        ],
    ),
    (
        TOPS,
        &["person#1", "animal#1", "plant#2", "food#1", "artifact#1"],
    ),
];
const TOPS: u8 = 3;

/// The selected synsets in file order.
pub(super) fn select_synsets(wordnet: &WordNet) -> Result<Vec<&Synset>, BuildError> {
    let senses = |names: &[&str]| -> Result<HashSet<Offset>, BuildError> {
        names.iter().map(|name| wordnet.sense(name)).collect()
    };
    let root = wordnet.sense(ROOT)?;
    let excluded = senses(&EXCLUDED)?;
    let mut restricted = Vec::new();
    for (file, names) in RESTRICTED {
        restricted.push((file, senses(names)?));
    }
    let is_selected = |synset: &Synset| {
        if synset.is_instance || !FILES.iter().any(|(file, _)| *file == synset.file) {
            return false;
        }
        let ancestors = wordnet.ancestors(synset.offset);
        let restriction = restricted.iter().find(|(file, _)| *file == synset.file);
        let is_allowed = match restriction {
            None => true,
            Some((TOPS, senses)) => senses.contains(&synset.offset),
            Some((_, senses)) => !senses.is_disjoint(&ancestors),
        };
        is_allowed && ancestors.contains(&root) && excluded.is_disjoint(&ancestors)
    };
    let synsets = wordnet.synsets.iter();
    Ok(synsets.filter(|synset| is_selected(synset)).collect())
}
