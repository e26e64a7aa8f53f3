//! Classification data sets in their published layouts, class names, prompts.

use novic::datasets::{Split, open_in};
use novic::nouns::{
    ClassNameVariant, class_names, clean_class_name, names_of_classes, zero_shot_prompts,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AREA, list, path, text, texts};
use crate::golden;

fn sha(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with the guide list, which users bring themselves.
fn data_dir() -> tempfile::TempDir {
    let lists = golden::json(AREA, "data/class_names.json");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cls_class_names_guide.json");
    std::fs::write(file, lists["guide"].to_string()).unwrap();
    folder
}

#[test]
fn names_samples_and_errors() {
    let cases = golden::json(AREA, "datasets.json");
    let data = data_dir();
    let root = path("datasets");
    let mut checked = 0;
    for case in list(&cases) {
        let (name, split) = (text(&case["name"]), text(&case["split"]));
        let variant = case["variant"]
            .as_str()
            .map(|name| ClassNameVariant::named(name).unwrap());
        let clean = case["clean"].as_bool().unwrap();
        let label = format!("{name} {split} {variant:?} {clean}");
        let opened = Split::named(split)
            .ok_or_else(|| "no such split".to_owned())
            .and_then(|split| open_in(name, &root, split).map_err(|error| error.to_string()));
        let result = opened.and_then(|dataset| {
            names_of_classes(
                dataset.name(),
                dataset.classes(),
                variant,
                clean,
                Some(data.path()),
            )
            .map(|names| (dataset, names))
            .map_err(|error| error.to_string())
        });
        if !case["error"].is_null() {
            assert!(result.is_err(), "{label} opens");
            continue;
        }
        let (dataset, names) = result.unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(case["cls_name"], dataset.name(), "{label}");
        assert_eq!(case["num_classes"], names.len(), "{label}");
        let first = texts(&case["classes"]);
        assert_eq!(names[..first.len()], first, "{label}");
        assert_eq!(
            case["classes_sha"],
            sha(names.join("\n").as_bytes()),
            "{label}"
        );
        let Some(samples) = case["samples"].as_array() else {
            continue;
        };
        assert_eq!(dataset.len(), samples.len(), "{label}");
        for (index, sample) in samples.iter().enumerate() {
            assert_eq!(sample["label"], dataset.label(index), "{label} {index}");
            let relative = dataset
                .image_path(index)
                .map(|file| file.strip_prefix(&root).unwrap().display().to_string());
            // Not all data sets of the original know their paths.
            if let Some(path) = sample["path"].as_str() {
                assert_eq!(Some(path), relative.as_deref(), "{label} {index}");
            }
            let picture = dataset.image(index).unwrap();
            // JPEG decoders differ.
            let lower = relative.unwrap_or_default().to_lowercase();
            if !lower.ends_with(".jpg") && !lower.ends_with(".jpeg") {
                assert_eq!(sample["rgb_sha"], sha(picture.as_raw()), "{label} {index}");
            }
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn shipped_lists_are_the_published_ones() {
    let lists = golden::json(AREA, "data/class_names.json");
    for variant in [ClassNameVariant::Clip, ClassNameVariant::Multi] {
        let wanted = lists[variant.name()].as_object().expect("a list");
        for (dataset, names) in wanted {
            let found = class_names(variant, dataset, None).unwrap();
            assert_eq!(found.as_deref(), Some(&strings(names)[..]), "{dataset}");
        }
    }
    let prompts = golden::json(AREA, "data/prompts.json");
    for (dataset, wanted) in prompts.as_object().expect("prompts") {
        // Those of data sets that cannot be loaded are not used.
        let Ok(found) = zero_shot_prompts(dataset) else {
            continue;
        };
        let wanted = strings(wanted);
        let wanted: Vec<String> = wanted.iter().map(|t| t.replace("{c}", "{noun}")).collect();
        assert_eq!(found, wanted, "{dataset}");
    }
}

fn strings(value: &Value) -> Vec<String> {
    texts(value).into_iter().map(str::to_owned).collect()
}

#[test]
fn class_names_are_cleaned() {
    let cases = golden::json(AREA, "class_name_cleaning.json");
    let cases = cases.as_object().expect("cases");
    assert!(!cases.is_empty());
    for (dataset, case) in cases {
        let names = class_names(ClassNameVariant::Clip, dataset, None)
            .unwrap()
            .expect("a list");
        let cleaned: Vec<String> = names.iter().map(|name| clean_class_name(name)).collect();
        let changed: Vec<(&str, &str)> = names
            .iter()
            .zip(&cleaned)
            .filter(|(name, cleaned)| name != cleaned)
            .map(|(name, cleaned)| (name.as_str(), cleaned.as_str()))
            .collect();
        let wanted: Vec<(&str, &str)> = list(&case["changed"])
            .iter()
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect();
        assert_eq!(changed, wanted, "{dataset}");
        assert_eq!(case["count"], cleaned.len(), "{dataset}");
        assert_eq!(
            case["sha256"],
            sha(cleaned.join("\n").as_bytes()),
            "{dataset}"
        );
    }
}

#[test]
fn prompts_of_every_dataset() {
    let cases = golden::json(AREA, "prompts.json");
    let cases = cases.as_object().expect("cases");
    assert!(!cases.is_empty());
    for (dataset, case) in cases {
        // The original has none for this data set; it uses those of the same
        // pictures here.
        let case = if case.is_object() {
            case
        } else {
            &cases["ImageNet1K"]
        };
        let prompts = zero_shot_prompts(dataset).unwrap();
        assert_eq!(case["count"], prompts.len(), "{dataset}");
        assert_eq!(
            case["first"].as_str(),
            prompts.first().map(String::as_str),
            "{dataset}"
        );
        assert_eq!(
            case["last"].as_str(),
            prompts.last().map(String::as_str),
            "{dataset}"
        );
        assert_eq!(
            case["sha256"],
            sha(prompts.join("\n").as_bytes()),
            "{dataset}"
        );
    }
}
