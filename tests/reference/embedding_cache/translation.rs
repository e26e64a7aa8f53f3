//! `translation_errors.json`: which target configurations can be translated.

use novic::cache::Translation;

use super::AREA;
use super::fixtures::{GoldenCache, target_config};
use crate::golden;

#[test]
fn translations_fail_where_the_original_does() {
    let cases = golden::json(AREA, "translation_errors.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    // The cases do not name their cache; it is the one whose configuration
    // equals the translation called identical.
    let identical = cases
        .iter()
        .find(|case| case["case"] == "identical")
        .map(|case| target_config(&case["translation"]).unwrap())
        .unwrap();
    let cache = GoldenCache::all()
        .into_iter()
        .find(|cache| cache.target_config().as_ref() == Some(&identical))
        .unwrap();
    for case in cases {
        let model = target_config(&case["translation"]).unwrap();
        let stage = case["stage"].as_str().unwrap_or("ok");
        let translation = match Translation::new(&identical, &model) {
            Ok(translation) => translation,
            Err(error) => {
                assert_eq!(stage, "set", "{}: {error}", case["case"]);
                continue;
            }
        };
        let file = cache.open(None).unwrap();
        match file.enter(Some(&identical), Some(&translation)) {
            Ok(_) => assert_eq!(stage, "ok", "{}", case["case"]),
            Err(error) => assert_eq!(stage, "enter", "{}: {error}", case["case"]),
        }
    }
}
