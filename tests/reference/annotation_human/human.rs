//! `human.json`: keys, what they show, and the files they leave; `resize.json`:
//! sizes of pictures; what `predictions.json` has for people.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use novic::annotate::human::{
    Command, Desk, Filter, ImageSet, Lookups, NounOrder, Order, Session, SessionOptions,
    SetOptions, Step, command_of_key, display_size,
};
use novic::annotate::{AnnotationFile, Predictions, pool};
use serde_json::Value;

use super::AREA;
use crate::golden;

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The pictures of the reference in a folder of their own.
fn pictures(folder: &Path) {
    let from = golden::area(AREA).join("images");
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn prediction_paths(case: &Value) -> Vec<PathBuf> {
    let folder = golden::area(AREA).join("predictions");
    texts(&case["files"])
        .iter()
        .map(|name| folder.join(name))
        .collect()
}

/// A key of the reference as browsers name it.
fn browser_key(key: &str) -> &str {
    match key {
        "enter" | "lf" => "Enter",
        "esc" => "Escape",
        key => key,
    }
}

/// The original's addresses, of which one has another default now.
fn lookups() -> Lookups {
    Lookups {
        wordnet: "http://wordnetweb.princeton.edu/perl/webwn?s={noun}".to_owned(),
        ..Lookups::default()
    }
}

/// What a sequence of keys has come to.
#[derive(Default)]
struct Run {
    shown: Vec<(String, String)>,
    saved_after: Vec<usize>,
    opened: Vec<String>,
    text: Option<String>,
}

fn run(case: &Value, folder: &Path) -> Result<Run, String> {
    let annotations = folder.join("_class_annotations.json");
    match &case["before"] {
        Value::Null => {}
        Value::String(text) => std::fs::write(&annotations, text).unwrap(),
        value => std::fs::write(&annotations, value.to_string()).unwrap(),
    }
    for name in texts(&case["undecodable"]) {
        std::fs::write(folder.join(name), "no picture").unwrap();
    }
    // Files are taken by name; these names keep the order of the reference.
    let predictions = folder.join("predictions");
    std::fs::create_dir(&predictions).unwrap();
    for (number, path) in prediction_paths(case).iter().enumerate() {
        std::fs::copy(path, predictions.join(format!("{number:03}.json"))).unwrap();
    }
    let options = SetOptions {
        name: "set".to_owned(),
        images: folder.to_owned(),
        predictions: vec![predictions],
        k: case["k"].as_u64().unwrap() as usize,
        ..SetOptions::default()
    };
    let set = ImageSet::open(&options, Order::File, NounOrder::Name, 1);
    let set = set.map_err(|error| error.to_string())?;
    let session = Session::open(vec![set], SessionOptions::default());
    let mut session = session.map_err(|error| error.to_string())?;
    let mut problems = HashMap::new();
    let mut desk = Desk::at_first(Filter::default(), &session, &mut problems);
    let mut run = Run::default();
    let show = |desk: &Desk, run: &mut Run| {
        let here = desk.at.clone().map(|place| (place.image, place.noun));
        if let Some(here) = here.filter(|here| run.shown.last() != Some(here)) {
            run.shown.push(here);
        }
    };
    show(&desk, &mut run);
    let on_disk = || std::fs::read_to_string(&annotations).ok();
    for key in texts(&case["keys"]) {
        if desk.at.is_none() {
            break;
        }
        let Some(command) = command_of_key(browser_key(&key)) else {
            continue;
        };
        if let (Some(place), Some(template)) = (&desk.at, template(command)) {
            run.opened.push(Lookups::address(&template, &place.noun));
        }
        match desk.step(&mut session, &mut problems, command) {
            Ok(Step::Saved) => {
                assert!(!session.has_unsaved());
                run.saved_after.push(run.shown.len());
            }
            Ok(Step::End) => break,
            // There is nothing to undo any more: everything stays.
            Ok(_) | Err(_) => {}
        }
        show(&desk, &mut run);
    }
    session.save();
    run.saved_after.push(run.shown.len());
    run.text = on_disk();
    let file = session.file(0).unwrap().text();
    assert_eq!(run.text.clone().unwrap_or_else(|| "{}".to_owned()), file);
    Ok(run)
}

fn template(command: Command) -> Option<String> {
    let lookups = lookups();
    match command {
        Command::Definition => Some(lookups.definition),
        Command::Images => Some(lookups.images),
        Command::Wordnet => Some(lookups.wordnet),
        _ => None,
    }
}

/// The text of the reference without images that have no label and had none
/// before.
fn without_empty(text: &str, before: &Value) -> Option<String> {
    let mut file: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    file.retain(|image, entry| {
        let lists = entry.as_object().unwrap().values();
        let is_empty = lists
            .clone()
            .all(|list| list.as_array().unwrap().is_empty());
        !is_empty || before.get(image).is_some()
    });
    if file.is_empty() {
        return None;
    }
    let text = Value::Object(file).to_string();
    Some(AnnotationFile::parse(&text).unwrap().text())
}

/// Labels of a file, in no order.
fn labels(text: Option<&str>) -> BTreeMap<(String, String), String> {
    let file = text.map(|text| AnnotationFile::parse(text).unwrap());
    let file = file.unwrap_or_default();
    let mut labels = BTreeMap::new();
    for image in file.images() {
        for (noun, category) in image.nouns() {
            labels.insert((image.image.clone(), noun.to_owned()), category.to_owned());
        }
    }
    labels
}

#[test]
fn keys_show_and_write_what_they_should() {
    let (mut same, mut other) = (0, 0);
    for case in golden::json(AREA, "human.json").as_array().unwrap() {
        let tag = case["tag"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        pictures(folder.path());
        let result = run(case, folder.path());
        let product = case["product"].as_str().unwrap();
        if product == "refuses" {
            let error = result.err().unwrap_or_else(|| panic!("{tag}: not refused"));
            assert!(error.contains("_class_annotations.json"), "{tag}: {error}");
            let text = std::fs::read_to_string(folder.path().join("_class_annotations.json"));
            assert_eq!(text.unwrap(), case["before"].as_str().unwrap(), "{tag}");
            other += 1;
            continue;
        }
        let run = result.unwrap_or_else(|error| panic!("{tag}: {error}"));
        let opened = texts(&case["opened"]);
        assert_eq!(run.opened, opened, "{tag}");
        let shown: Vec<(String, String)> = case["shown"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let pair = texts(pair);
                (pair[0].clone(), pair[1].clone())
            })
            .collect();
        if product == "same" {
            assert_eq!(run.shown, shown, "{tag}");
            let saved: Vec<usize> = case["saved_after_items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|count| count.as_u64().unwrap() as usize)
                .collect();
            assert_eq!(run.saved_after, saved, "{tag}");
            let expected = without_empty(case["after_text"].as_str().unwrap(), &case["before"]);
            assert_eq!(run.text, expected, "{tag}");
            same += 1;
            continue;
        }
        other += 1;
        // The product does better; nothing that the reference has is lost.
        assert!(run.shown.starts_with(&shown[..1]), "{tag}");
        let (found, expected) = (
            labels(run.text.as_deref()),
            labels(case["after_text"].as_str()),
        );
        if product != "undo goes back" {
            for (pair, category) in expected {
                assert_eq!(found.get(&pair), Some(&category), "{tag}: {pair:?}");
            }
        }
        assert_eq!(found, simulated(case, &run.shown[0]), "{tag}");
    }
    assert!(same > 0 && other > 0);
}

/// The labels that the keys should leave: undo goes back to the pair, letters
/// count in any case, digits label, and files may lack categories.
fn simulated(case: &Value, first: &(String, String)) -> BTreeMap<(String, String), String> {
    let files = Predictions::read_all(&prediction_paths(case)).unwrap();
    let k = case["k"].as_u64().unwrap() as usize;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for image in pool(&files, k, &[]).unwrap() {
        let mut nouns: Vec<String> = image.nouns.into_iter().map(|noun| noun.noun).collect();
        nouns.sort();
        pairs.extend(nouns.into_iter().map(|noun| (image.image.clone(), noun)));
    }
    let before = case["before"]
        .is_object()
        .then(|| case["before"].to_string());
    let mut found = labels(before.as_deref());
    let mut at = pairs.iter().position(|pair| pair == first).unwrap();
    let mut done: Vec<usize> = Vec::new();
    let next = |from: usize, found: &BTreeMap<(String, String), String>| {
        (from..pairs.len()).find(|&place| !found.contains_key(&pairs[place]))
    };
    for key in texts(&case["keys"]) {
        let category = match key.to_lowercase().as_str() {
            "q" | "1" => "correct_primary",
            "w" | "2" => "correct_secondary",
            "o" | "3" => "close_primary",
            "p" | "4" => "close_secondary",
            "i" | "5" => "incorrect",
            "u" => {
                if let Some(last) = done.pop() {
                    found.remove(&pairs[last]);
                    at = last;
                }
                continue;
            }
            "enter" | "lf" => {
                let image = &pairs[at].0;
                let behind = (at..pairs.len()).find(|&place| pairs[place].0 != *image);
                match behind.and_then(|place| next(place, &found)) {
                    Some(place) => at = place,
                    None => break,
                }
                continue;
            }
            "esc" => break,
            _ => continue,
        };
        found.insert(pairs[at].clone(), category.to_owned());
        done.push(at);
        match next(at + 1, &found) {
            Some(place) => at = place,
            None => break,
        }
    }
    found
}

#[test]
fn pictures_have_the_size_of_the_original() {
    let cases = golden::json(AREA, "resize.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 1);
    for case in &cases[1..] {
        let numbers: Vec<u32> = case
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_u64().unwrap() as u32)
            .collect();
        assert_eq!(
            display_size(numbers[0], numbers[1]),
            (numbers[2], numbers[3]),
            "{case}"
        );
    }
}

#[test]
fn predictions_are_pooled_for_people() {
    let (mut pooled, mut open) = (0, 0);
    for case in golden::json(AREA, "predictions.json").as_array().unwrap() {
        if case["tool"] != "human" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        pictures(folder.path());
        let options = SetOptions {
            name: "set".to_owned(),
            images: folder.path().to_owned(),
            k: case["k"].as_u64().unwrap() as usize,
            gen_cfg: texts(&case["gen_cfg"]),
            ..SetOptions::default()
        };
        // Files are sorted by path; the reference takes them as they are named.
        let files = Predictions::read_all(&prediction_paths(case)).unwrap();
        let images = pool(&files, options.k, &options.gen_cfg);
        if case["annotations"].is_object() {
            let path = folder.path().join("_class_annotations.json");
            std::fs::write(&path, case["annotations"].to_string()).unwrap();
            let options = SetOptions {
                predictions: prediction_paths(case),
                ..options
            };
            let set = ImageSet::open(&options, Order::File, NounOrder::Name, 1).unwrap();
            let session = Session::open(vec![set], SessionOptions::default()).unwrap();
            let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for item in &session.set(0).unwrap().items {
                for pair in &item.pairs {
                    if session.category_of(0, &item.image, &pair.noun).is_none() {
                        found
                            .entry(item.image.clone())
                            .or_default()
                            .push(pair.noun.clone());
                    }
                }
            }
            let expected: BTreeMap<String, Vec<String>> = case["open"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(image, nouns)| (image.clone(), texts(nouns)))
                .collect();
            assert_eq!(found, expected, "{case}");
            open += 1;
            continue;
        }
        let expected = case["nouns"].as_object().unwrap();
        let has_some = |file: &Predictions| {
            let wanted = &options.gen_cfg;
            wanted.is_empty() || file.configs.iter().any(|(name, _)| wanted.contains(name))
        };
        if files.iter().any(|file| !has_some(file)) {
            // A file without any of them is an error that names what it has.
            let error = images.unwrap_err().to_string();
            let named = files.iter().filter(|file| !has_some(file)).all(|file| {
                let names = file.configs.iter().any(|(name, _)| error.contains(name));
                names || files.len() > 1
            });
            assert!(named, "{error}");
            pooled += 1;
            continue;
        }
        let images = images.unwrap();
        let order: Vec<&str> = images.iter().map(|image| image.image.as_str()).collect();
        assert_eq!(order, texts(&case["image_order"]), "{case}");
        for image in &images {
            let mut nouns: Vec<&str> = image.nouns.iter().map(|noun| noun.noun.as_str()).collect();
            nouns.sort_unstable();
            assert_eq!(nouns, texts(&expected[&image.image]), "{case}");
        }
        pooled += 1;
    }
    assert!(pooled > 0 && open > 0);
}
