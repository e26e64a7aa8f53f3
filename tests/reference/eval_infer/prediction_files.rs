//! `predictions/`: prediction files are read and written again as they were.

use novic::decoder::generate::GenerationConfig;
use novic::evaluate::{GenerationFields, NounSets, PredictionFile, TopKStatistics};
use tempfile::TempDir;

use super::AREA;
use crate::golden;

#[test]
fn files_are_read_and_written_again() {
    let folder = TempDir::new().unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(golden::area(AREA).join("predictions")).unwrap() {
        let path = entry.unwrap().path();
        files += 1;
        let file = PredictionFile::read(&path).unwrap();
        let copy = folder.path().join("copy.json");
        file.write(&copy).unwrap();
        let original = std::fs::read_to_string(&path).unwrap();
        // The only words in these files that are not JSON.
        let expected = original.replace("-Infinity", "null");
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), expected);
        assert_eq!(PredictionFile::read(&copy).unwrap(), file);
    }
    assert!(files > 0);
}

#[test]
fn percentages_and_types_follow_from_the_texts() {
    for entry in std::fs::read_dir(golden::area(AREA).join("predictions")).unwrap() {
        let file = PredictionFile::read(&entry.unwrap().path()).unwrap();
        for (name, entry) in &file.predictions {
            let config: GenerationConfig = name.parse().unwrap();
            assert_eq!(GenerationFields::from(&config), entry.gen_cfg);
            let sets = NounSets {
                vocabulary: file.vocab_targets.iter().cloned().collect(),
                guide: file.guide_targets.iter().cloned().collect(),
                classes: Vec::new(),
            };
            let mut statistics = TopKStatistics::new(sets, entry.gen_cfg.topk);
            for (texts, kinds) in entry.pred.iter().zip(&entry.result) {
                let texts: Vec<&str> = texts.iter().map(|text| text.as_deref().unwrap()).collect();
                assert_eq!(&statistics.add(&texts, None).unwrap(), kinds, "{name}");
            }
            let percentages = statistics.percentages();
            assert_eq!(percentages.guide, entry.valid_guide, "{name}");
            assert_eq!(percentages.vocabulary, entry.valid_vocab, "{name}");
            assert_eq!(percentages.valid, entry.valid, "{name}");
            assert_eq!(percentages.invalid, entry.invalid, "{name}");
        }
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let entry = std::fs::read_dir(golden::area(AREA).join("predictions"))
        .unwrap()
        .next();
    let text = std::fs::read_to_string(entry.unwrap().unwrap().path()).unwrap();
    let path = folder.path().join("damaged.json");
    for damaged in [
        text.replacen("\"version\": 1", "\"version\": 2", 1),
        text.replacen("\"samples\": [", "\"samples\": [\"one more\", ", 1),
        text.replacen("\"topk\": ", "\"topk\": 9", 1),
        text.replacen("\"result\": [[", "\"result\": [[9, ", 1),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(damaged, text);
        std::fs::write(&path, damaged).unwrap();
        let error = PredictionFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged.json"), "{error}");
    }
}
