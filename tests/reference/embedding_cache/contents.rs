//! What the kinds of caches in `caches.json` hold, and `class_alignment.json`.

use std::path::PathBuf;

use novic::cache::NounTable;
use novic::images::cache_pictures;
use novic::nouns::{
    CollectionNames, Hypernyms, NounDataset, OnAmbiguity, TemplateFile, TextRules, TextSamples,
    Vocabulary, VocabularyAlignment,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::AREA;
use super::fixtures::GoldenCache;
use crate::golden;

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Caches that have this key, at least one.
fn caches_with(key: &str) -> Vec<GoldenCache> {
    let mut caches = GoldenCache::all();
    caches.retain(|cache| !cache.entry[key].is_null());
    assert!(!caches.is_empty(), "{key}");
    caches
}

#[test]
fn noun_dataset_caches_hold_every_text_as_often_as_it_counts() {
    for cache in caches_with("unique_samples") {
        let vocabulary = cache.entry["vocab"].to_string();
        let vocabulary = Vocabulary::from_json("vocab", vocabulary.as_bytes(), 0).unwrap();
        let templates = cache.entry["prompts"].to_string();
        let templates = TemplateFile::from_json("prompts", templates.as_bytes()).unwrap();
        let names = cache.entry["prompts"]["prompts"]
            .as_object()
            .unwrap()
            .keys();
        let prompts = templates.prompts(&CollectionNames::new(names), TextRules::Original);
        let dataset = NounDataset::new(vocabulary, prompts.unwrap(), Hypernyms::none()).unwrap();
        let names: Vec<&str> = dataset.targets().collect();

        let inputs = golden::tensors(AREA, &format!("inputs/{}.safetensors", cache.name));
        let (embeds, ids) = (inputs.get("embeds"), inputs.get("embed_targets").integers());
        let dim = embeds.shape[1];
        let embeds = embeds.f32s();
        let vectors = golden::tensors(AREA, "inputs/text_embeddings.safetensors");
        let vectors = vectors.get("embeds").f32s();

        let mut texts = dataset.texts_from(0).unwrap();
        let (mut text, mut targets, mut row) = (String::new(), Vec::new(), 0);
        for (index, expected) in cache.entry["unique_samples"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let count = texts.next_text(&mut text, &mut targets).unwrap();
            assert_eq!(text, expected["text"].as_str().unwrap());
            assert_eq!(names[targets[0]], expected["target"].as_str().unwrap());
            assert_eq!(count, expected["freq"].as_u64().unwrap());
            for _ in 0..count {
                assert_eq!(embeds[row * dim..][..dim], vectors[index * dim..][..dim]);
                assert_eq!(ids[row], targets[0] as i64 + 1);
                row += 1;
            }
        }
        assert_eq!(texts.next_text(&mut text, &mut targets), None);
        assert_eq!(row, ids.len());
    }
}

#[test]
fn classification_caches_hold_the_nouns_of_each_class() {
    for cache in caches_with("class_targets") {
        let classes: Vec<Vec<String>> =
            serde_json::from_value(cache.entry["class_targets"].clone()).unwrap();
        let indices: Vec<usize> =
            serde_json::from_value(cache.entry["class_indices"].clone()).unwrap();
        let nouns: std::collections::BTreeSet<String> = classes.iter().flatten().cloned().collect();
        let table = NounTable::new(nouns).unwrap();
        assert_eq!(table.all(), strings(&cache.entry["target_nouns"]));
        let most = classes.iter().map(Vec::len).max().unwrap();
        let expected: Vec<i64> = indices
            .iter()
            .flat_map(|&class| {
                let ids = classes[class]
                    .iter()
                    .map(|noun| i64::from(table.id(noun).unwrap()));
                ids.chain(std::iter::repeat(0)).take(most)
            })
            .collect();
        let inputs = golden::tensors(AREA, &format!("inputs/{}.safetensors", cache.name));
        assert_eq!(inputs.get("embed_targets").integers(), expected);
    }
}

#[test]
fn image_caches_take_these_files() {
    for cache in caches_with("images") {
        let images = &cache.entry["images"];
        let root = TempDir::new().unwrap();
        let arguments = strings(&images["arguments"]);
        let entries = strings(&images["directory_entries"]);
        let paths: Vec<PathBuf> = arguments
            .iter()
            .map(|name| root.path().join(name))
            .collect();
        for (at, path) in paths.iter().enumerate() {
            // What is no file by its name in the selection is the folder.
            if strings(&images["selected_sorted"]).contains(&arguments[at]) {
                std::fs::write(path, b"x").unwrap();
            } else {
                std::fs::create_dir_all(path).unwrap();
                for entry in &entries {
                    std::fs::write(path.join(entry), b"x").unwrap();
                }
            }
        }
        let paths: Vec<&std::path::Path> = paths.iter().map(PathBuf::as_path).collect();
        let mut found: Vec<String> = cache_pictures(&paths)
            .unwrap()
            .iter()
            .map(|path| {
                path.strip_prefix(root.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        found.sort();
        assert_eq!(found, strings(&images["selected_sorted"]));
        assert_eq!(cache.entry["header"]["embed_num"], found.len());
        let empty = TempDir::new().unwrap();
        assert!(cache_pictures(&[empty.path()]).is_err());
    }
}

#[test]
fn class_names_become_nouns() {
    let data = golden::json(AREA, "class_alignment.json");
    let entries: Vec<Value> = data["vocab"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(id, entry)| {
            let ones = |key: &str| vec![1; entry[key].as_array().unwrap().len()];
            json!({
                "id": id,
                "target_noun": entry["target_noun"],
                "pretty_noun": entry["target_noun"],
                "singulars": entry["singulars"],
                "plurals": entry["plurals"],
                "singulars_freq": ones("singulars"),
                "plurals_freq": ones("plurals"),
                "hypernyms": [],
            })
        })
        .collect();
    let vocabulary = Value::from(entries).to_string();
    let vocabulary = Vocabulary::from_json("vocab", vocabulary.as_bytes(), 0).unwrap();
    let cases = data["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let classes = strings(&case["classes"]);
        let aligned = VocabularyAlignment::new(&vocabulary, &classes, OnAmbiguity::TakeFirst);
        let aligned = match aligned {
            Ok(aligned) => aligned,
            Err(error) => {
                assert!(!case["error"].is_null(), "{classes:?}: {error}");
                continue;
            }
        };
        assert!(case["error"].is_null(), "{classes:?} must fail");
        let name = |&noun: &usize| vocabulary.noun(noun).target.clone();
        let lists: Vec<Vec<String>> = aligned
            .classes
            .iter()
            .map(|nouns| nouns.iter().map(name).collect())
            .collect();
        assert_eq!(json!(lists), case["lists"], "{classes:?}");
        let all: std::collections::BTreeSet<String> = lists.into_iter().flatten().collect();
        assert_eq!(json!(all), case["targets"], "{classes:?}");
        // The original takes the first noun of an ambiguous name silently.
        let strict = VocabularyAlignment::new(&vocabulary, &classes, OnAmbiguity::Fail);
        assert_eq!(
            strict.is_err(),
            !aligned.ambiguous.is_empty(),
            "{classes:?}"
        );
    }
}
