//! `states.json`: new states, export, transfer.

use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use novic::annotate::gpt::{Copying, ExportWarning, NewState, OpinionRule, State, StateFormat};
use serde_json::{Value, json};

use super::{cases, folder, number, strings, text};

#[test]
fn states_begin_end_and_mix_as_in_the_original() {
    for case in cases("states.json") {
        match text(&case["action"]) {
            "new_state" => new_state(&case),
            "save_classes" => save_classes(&case),
            "transfer" => transfer(&case),
            other => panic!("what is {other}?"),
        }
    }
}

fn write_picture(path: &Path, picture: RgbImage, format: ImageFormat) {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture)
        .write_to(&mut bytes, format)
        .unwrap();
    fs::write(path, bytes.into_inner()).unwrap();
}

/// A directory with the files of a listing; small copies are those of the data.
fn directory(listing: &[String], root: &Path) -> PathBuf {
    let images = root.join("images");
    let data = folder().join("images");
    fs::create_dir_all(&images).unwrap();
    for name in listing {
        let (from, to) = (data.join(name), images.join(name));
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            for entry in from.read_dir().unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        } else if from.is_file() {
            fs::copy(from, to).unwrap();
        } else {
            fs::write(to, "of no use").unwrap();
        }
    }
    images
}

fn new_state(case: &Value) {
    let tag = text(&case["tag"]);
    let root = tempfile::tempdir().unwrap();
    let images = directory(&strings(&case["listing"]), root.path());
    let options = &case["options"];
    let small = images.join(text(&options["images_small_dir"]));
    let first = small.join("alpha.jpg");
    let flat = |width, height| RgbImage::from_pixel(width, height, Rgb([99; 3]));
    let mut path = root.path().join("state.json");
    let mut images_given = images;
    // The case is told by its name only.
    match tag {
        "state in a sub-directory" => {
            fs::create_dir(root.path().join("sub")).unwrap();
            path = root.path().join("sub/state.json");
        }
        "wrong extension" => path = root.path().join("state.txt"),
        "exists" => fs::write(&path, "{}").unwrap(),
        "no directory given" => images_given = PathBuf::new(),
        "small image missing" => fs::remove_file(&first).unwrap(),
        "small image too small" => write_picture(&first, flat(27, 60), ImageFormat::Jpeg),
        "small image 28" => write_picture(&first, flat(28, 28), ImageFormat::Jpeg),
        "small image too large" => write_picture(&first, flat(513, 60), ImageFormat::Jpeg),
        "small image damaged" => fs::write(&first, "no picture").unwrap(),
        _ => {}
    }
    let [min, max] = [0, 1].map(|at| number(&options["opinions"][at]) as u32);
    let confidence = options["confidence"].as_f64().unwrap();
    let before = fs::read(&path).ok();
    let built = OpinionRule::new(min, max, confidence)
        .map_err(|error| error.to_string())
        .and_then(|rule| {
            let new = NewState {
                path: path.clone(),
                images: images_given,
                small: text(&options["images_small_dir"]).into(),
                batches: text(&options["batch_dir"]).into(),
                model: text(&options["model"]).to_owned(),
                rule,
                copying: Copying::default(),
                make: false,
            };
            new.build().map_err(|error| error.to_string())
        });
    // A state without images is of no use: the product refuses it.
    let is_empty = case["text"]
        .as_str()
        .is_some_and(|text| text.contains("\"count\": 0"));
    if case.get("error").is_some() || is_empty {
        assert!(built.is_err(), "{tag}");
        assert_eq!(fs::read(&path).ok(), before, "{tag}");
        return;
    }
    let state = built.unwrap_or_else(|error| panic!("{tag}: {error}"));
    let written = state.text(StateFormat::One);
    assert_eq!(written, text(&case["text"]), "{tag}");
    // It is read again, and in the newer version as well.
    for format in [StateFormat::One, StateFormat::Two] {
        let (again, found) = State::parse(&state.text(format)).unwrap();
        assert_eq!((again, found), (state.clone(), format), "{tag}");
    }
}

fn save_classes(case: &Value) {
    let tag = text(&case["tag"]);
    let parsed = State::parse(&case["state"].to_string());
    if case.get("error").is_some() {
        // Refused, unless the only trouble is a pair without opinions, which is
        // left out.
        let Ok((state, _)) = parsed else { return };
        let exported = state.export(false);
        let mut without = 0;
        for (image, record) in state.meta.images.iter().zip(&state.records) {
            for (noun, opinions) in &record.opinions {
                if opinions.is_empty() {
                    without += 1;
                    assert_eq!(exported.file.category_of(image, noun), None, "{tag}");
                    assert!(
                        exported.open.contains(&(image.clone(), noun.clone())),
                        "{tag}"
                    );
                }
            }
        }
        assert!(without > 0, "{tag}");
        return;
    }
    let (state, _) = parsed.unwrap_or_else(|error| panic!("{tag}: {error}"));
    let exported = state.export(false);
    assert_eq!(exported.file.text(), text(&case["text"]), "{tag}");
    let kinds = exported.warnings.iter().map(|warning| match warning {
        ExportWarning::Pending => "pending",
        ExportWarning::UnexpectedNumber(_) => "unexpected",
        ExportWarning::UndecidedTooEarly(_) => "CLOSE",
    });
    let kinds: Vec<&str> = kinds.collect();
    let expected = strings(&case["warnings"]);
    assert_eq!(kinds.len(), expected.len(), "{tag}: {kinds:?}");
    for (kind, expected) in kinds.iter().zip(&expected) {
        let known = match *kind {
            "unexpected" => "have an u",
            other => other,
        };
        assert!(
            expected.contains(known),
            "{tag}: {kind} instead of {expected}"
        );
    }
}

/// Makes every image of a directory and its small copies brighter.
fn brighten(images: &Path, by: u8) {
    for entry in images.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            brighten(&path, by);
        } else if let Ok(picture) = image::ImageReader::open(&path)
            .unwrap()
            .with_guessed_format()
            .unwrap()
            .decode()
        {
            let mut picture = picture.into_rgb8();
            for value in picture.iter_mut() {
                *value = value.saturating_add(by);
            }
            write_picture(&path, picture, ImageFormat::Png);
        }
    }
}

fn transfer(case: &Value) {
    let tag = text(&case["tag"]);
    let (mut target, _) = State::parse(&case["target"].to_string()).unwrap();
    let (source, _) = State::parse(&case["source"].to_string()).unwrap();
    assert_eq!(
        target.differences(&source).len(),
        number(&case["meta_warnings"]),
        "{tag}"
    );
    let root = tempfile::tempdir().unwrap();
    let listing: Vec<String> = folder()
        .join("images")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let images = directory(&listing, root.path());
    // The case is told by its name only: the images of the source differ.
    let words: Vec<&str> = tag.split(' ').collect();
    match words.as_slice() {
        ["different", "size"] => {
            let name = &source.meta.images[0];
            write_picture(&images.join(name), RgbImage::new(200, 40), ImageFormat::Png);
        }
        ["slightly", "brighter"] => brighten(&images, 1),
        ["brighter", "by", number, ..] => brighten(&images, number.parse().unwrap()),
        _ => {}
    }
    let before = target.clone();
    let taken = target.transfer(&folder(), (&source, root.path()));
    if case.get("error").is_some() || text(&case["product"]) == "reject" {
        assert!(taken.is_err(), "{tag}");
        assert_eq!(target, before, "{tag}");
        return;
    }
    taken.unwrap_or_else(|error| panic!("{tag}: {error}"));
    let images = target.meta.images.iter().zip(&target.records);
    let found: serde_json::Map<_, _> = images
        .map(|(image, record)| (image.clone(), json!(record.opinions)))
        .collect();
    assert_eq!(Value::Object(found), case["annotations"], "{tag}");
    assert_eq!(
        (target.usage, target.pending),
        (before.usage, before.pending),
        "{tag}"
    );
}
