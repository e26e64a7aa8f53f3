//! `json_layout.json`, `load.json`, `predictions.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use novic::annotate::{
    AnnotationFile, Category, Predictions, add_samples, annotation_path, load_annotations, pool,
    prediction_files,
};
use novic::evaluate::json_text;
use serde_json::{Value, json};

use super::{cases, folder, number, strings, text};

#[test]
fn files_have_the_layout_of_the_original() {
    for case in cases("json_layout.json") {
        let value = &case["value"];
        let mut sorted = value.clone();
        sorted.sort_all_objects();
        assert_eq!(json_text(value), text(&case["text"]));
        assert_eq!(json_text(value), text(&case["text_human_tool"]));
        assert_eq!(json_text(&sorted), text(&case["text_sorted"]));
        // What is an annotation file is one with the same text.
        if let Ok(file) = AnnotationFile::parse(&value.to_string()) {
            assert_eq!(file.text(), text(&case["text"]));
        }
    }
}

/// Nouns of every category as sets: the reference has no order.
fn classes(file: &AnnotationFile) -> Value {
    let entry = |entry: &novic::annotate::ImageAnnotations| {
        let list = |(name, nouns): &(String, Vec<String>)| {
            let nouns: BTreeSet<&String> = nouns.iter().collect();
            (name.clone(), json!(nouns))
        };
        let categories: serde_json::Map<_, _> = entry.categories.iter().map(list).collect();
        (entry.image.clone(), Value::Object(categories))
    };
    Value::Object(file.images().iter().map(entry).collect())
}

#[test]
fn annotations_are_loaded_and_entries_added() {
    for case in cases("load.json") {
        let name = text(&case["tag"]);
        let project = tempfile::tempdir().unwrap();
        let image_dir = case["image_dir"]
            .as_str()
            .map(|dir| project.path().join(dir));
        fs::create_dir_all(project.path().join("images")).unwrap();
        let place = project.path().join("images/_class_annotations.json");
        let before = match &case["file"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            value => Some(json_text(value)),
        };
        if let Some(before) = &before {
            fs::write(&place, before).unwrap();
        }
        let path = annotation_path(
            text(&case["ann_json"]),
            image_dir.as_deref(),
            project.path(),
        );
        let updates = match &case["update_samples"] {
            Value::Null => Vec::new(),
            samples => strings(samples),
        };
        let loaded = path
            .as_deref()
            .filter(|_| !updates.is_empty())
            .map_or(Ok(0), |path| add_samples(path, &updates))
            .and_then(|_| load_annotations(path.as_deref()));
        let after = fs::read_to_string(&place).ok();
        if case.get("error").is_some() {
            assert!(loaded.is_err(), "{name}");
            assert_eq!(after, before, "{name}");
            continue;
        }
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        // Without any known category the product enters the five.
        if case["file"] == json!({}) && !updates.is_empty() {
            for sample in &updates {
                let entry = loaded.image(sample).expect(name);
                let names: BTreeSet<&str> = entry
                    .categories
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                assert_eq!(names, Category::ALL.map(Category::name).into(), "{name}");
                assert!(entry.is_empty());
            }
            continue;
        }
        match text(&case["file_after"]) {
            "unchanged" => assert_eq!(after, before, "{name}"),
            expected => assert_eq!(after.as_deref(), Some(expected), "{name}"),
        }
        let mut expected = case["classes"].clone();
        for nouns in expected
            .as_object_mut()
            .unwrap()
            .values_mut()
            .flat_map(|entry| entry.as_object_mut().unwrap().values_mut())
        {
            *nouns = json!(BTreeSet::from_iter(strings(nouns)));
        }
        assert_eq!(classes(&loaded), expected, "{name}");
        let sorted: BTreeSet<String> = loaded.categories().into_iter().collect();
        let expected: BTreeSet<String> = strings(&case["categories"]).into_iter().collect();
        assert_eq!(sorted, expected, "{name}");
        // Whatever may be read is written again as it was.
        assert_eq!(
            Some(loaded.text()),
            after.or(Some("{}".to_owned())),
            "{name}"
        );
    }
}

/// Nouns by image, sorted.
fn nouns(value: &Value) -> BTreeMap<String, Vec<String>> {
    let entries = value.as_object().unwrap().iter();
    entries
        .map(|(image, nouns)| (image.clone(), strings(nouns)))
        .collect()
}

fn file_names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(name).collect()
}

/// The configurations that a file has, straight from its text.
fn configs(path: &Path) -> BTreeSet<String> {
    let value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    value["predictions"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn predictions_are_pooled() {
    let folder = folder();
    for case in cases("predictions.json") {
        let by_people = text(&case["tool"]) == "human";
        if by_people {
            pooled_for_people(&folder, &case);
        } else {
            pooled_for_a_model(&folder, &case);
        }
    }
}

fn pooled_for_people(folder: &Path, case: &Value) {
    let paths: Vec<PathBuf> = strings(&case["files"])
        .iter()
        .map(|name| folder.join("predictions").join(name))
        .collect();
    let wanted = match &case["gen_cfg"] {
        Value::Null => Vec::new(),
        names => strings(names),
    };
    let files = Predictions::read_all(&paths).unwrap();
    let pooled = pool(&files, number(&case["k"]), &wanted);
    // A file that has none of the configurations is an error that names those
    // it has.
    let lacking = paths
        .iter()
        .find(|path| !wanted.is_empty() && configs(path).iter().all(|name| !wanted.contains(name)));
    if let Some(path) = lacking {
        let error = pooled.unwrap_err().to_string();
        assert!(
            configs(path).iter().all(|name| error.contains(name)),
            "{error}"
        );
        return;
    }
    let pooled = pooled.unwrap();
    let found: BTreeMap<String, Vec<String>> = pooled
        .iter()
        .map(|image| {
            let nouns: BTreeSet<String> = image.nouns.iter().map(|n| n.noun.clone()).collect();
            (image.image.clone(), nouns.into_iter().collect())
        })
        .collect();
    if let Some(annotations) = case.get("annotations") {
        let file = AnnotationFile::parse(&annotations.to_string()).unwrap();
        let open: BTreeMap<String, Vec<String>> = found
            .into_iter()
            .map(|(image, mut nouns)| {
                nouns.retain(|noun| file.category_of(&image, noun).is_none());
                (image, nouns)
            })
            .filter(|(_, nouns)| !nouns.is_empty())
            .collect();
        assert_eq!(open, nouns(&case["open"]));
        return;
    }
    assert_eq!(found, nouns(&case["nouns"]));
    let order: Vec<_> = pooled.iter().map(|image| image.image.clone()).collect();
    assert_eq!(order, strings(&case["image_order"]));
}

fn pooled_for_a_model(folder: &Path, case: &Value) {
    let paths: Vec<PathBuf> = strings(&case["paths"])
        .iter()
        .map(|path| match path.as_str() {
            "" => PathBuf::new(),
            path => folder.join(path),
        })
        .collect();
    let topk = number(&case["topk"]);
    let all = novic::annotate::image_names(&folder.join("images")).unwrap();
    // Some cases are about a state of fewer images.
    let few = case.get("note").is_some();
    let images = if few { &all[..3] } else { &all[..] };
    let pooled = prediction_files(&paths).and_then(|files| {
        let predictions = Predictions::read_all(&files)?;
        let pooled = novic::annotate::gpt::predicted_nouns(&predictions, topk, images)?;
        Ok((files, pooled))
    });
    if case.get("error").is_some() {
        assert!(pooled.is_err(), "{case}");
        return;
    }
    let (files, pooled) = pooled.unwrap();
    assert_eq!(file_names(&files), strings(&case["files"]));
    let found: BTreeMap<String, Vec<String>> = images.iter().cloned().zip(pooled).collect();
    assert_eq!(found, nouns(&case["nouns"]));
}
