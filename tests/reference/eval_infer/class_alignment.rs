//! `class_alignment.json`: the nouns of a model that name classes.

use std::collections::{BTreeMap, BTreeSet};

use novic::nouns::{TargetAlignment, VariantMap, Vocabulary};

use super::AREA;
use crate::golden;

/// The nouns that a warning lists behind its colon.
fn listed(warning: &str) -> BTreeSet<String> {
    let (_, list) = warning.split_once(": ").unwrap();
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn classes_have_the_nouns_of_the_original() {
    let data = golden::json(AREA, "class_alignment.json");
    let dictionary = golden::area(AREA).join("dictionary.json");
    let vocabulary = Vocabulary::load(&dictionary, 0).unwrap();
    let variants = VariantMap::new(vocabulary.dictionary());
    let ids: BTreeMap<String, Vec<u64>> = serde_json::from_value(data["noun_ids"].clone()).unwrap();
    let own: BTreeMap<String, Vec<u64>> = variants
        .iter()
        .map(|(spelling, ids)| (spelling.to_owned(), ids.collect()))
        .collect();
    assert_eq!(own, ids);
    let cases = data["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let note = &case["note"];
        let strings =
            |key: &str| -> Vec<String> { serde_json::from_value(case[key].clone()).unwrap() };
        let alignment = TargetAlignment::new(&variants, &strings("targets"), &strings("classes"));
        if !case["error"].is_null() {
            assert!(alignment.class_targets.is_empty(), "{note}");
            continue;
        }
        let lists: Vec<Vec<String>> = serde_json::from_value(case["lists"].clone()).unwrap();
        assert_eq!(alignment.classes, lists, "{note}");
        assert_eq!(alignment.class_targets, strings("guide"), "{note}");
        let repeated: BTreeSet<String> = alignment.repeated_targets.iter().cloned().collect();
        let unknown: BTreeSet<String> = alignment.unknown_targets.iter().cloned().collect();
        let mut expected = [
            ("failed to map to a vocab ID", "targets", unknown),
            (
                "failed to map to a vocab ID",
                "cls classes",
                alignment.unknown_parts.clone(),
            ),
            (
                "failed to map to an available target noun",
                "cls classes",
                alignment.parts_without_target.clone(),
            ),
            ("duplicate", "targets", repeated),
        ]
        .into_iter()
        .filter(|(_, _, nouns)| !nouns.is_empty())
        .collect::<Vec<_>>();
        for warning in strings("warnings") {
            let place = expected.iter().position(|(what, who, nouns)| {
                let says = warning.contains(what) && warning.contains(who);
                says && *nouns == listed(&warning)
            });
            let place = place.unwrap_or_else(|| panic!("{note}: {warning}: {expected:?}"));
            expected.remove(place);
        }
        assert!(expected.is_empty(), "{note}: {expected:?}");
    }
}
