//! `captions.json`, `caption_samples.json`, `caption_errors.json`, and the
//! captions cache of the area `embedding-cache`.

use std::collections::BTreeMap;

use novic::nouns::{
    CaptionCounts, CaptionNumbers, CaptionStatistics, Captions, ChosenCaptions, NounChoice,
    NounsError, TextRules, TextSamples, Vocabulary, check_captions, repair_captions,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{hex, is_ok, json, list, number, strings, text, vocabulary};
use crate::golden;

const FIELDS: [&str; 2] = ["singular", "plural"];

fn counts(case: &Value) -> Result<CaptionCounts, NounsError> {
    // What is negative in the data cannot be said here; 0 is refused as well.
    let count = |key: &str| case[key].as_u64().unwrap_or(0);
    CaptionCounts::new(count("template_multiplier"), count("sample_multiplier"))
}

fn threshold(case: &Value) -> i64 {
    case["vocab_thres"].as_i64().expect("a number")
}

/// Everything up to the choice of captions.
fn prepare(
    content: &str,
    vocabulary: &Vocabulary,
    case: &Value,
    rules: TextRules,
) -> Result<(Captions, ChosenCaptions), NounsError> {
    let counts = counts(case)?;
    let captions = Captions::from_json("captions.json", content.as_bytes(), vocabulary, rules)?;
    let chosen = ChosenCaptions::draw("captions.json", &captions, vocabulary.clone(), counts, 1)?;
    Ok((captions, chosen))
}

/// The choice that the reference made.
fn given_choice(entries: &Value, keys: [&str; 2], vocabulary: &Vocabulary) -> Vec<NounChoice> {
    let choice = |entry: &Value| {
        let target = text(&entry["target_noun"]);
        NounChoice {
            target: vocabulary
                .targets()
                .position(|noun| noun == target)
                .expect("a noun"),
            captions: keys.map(|key| strings(&entry[key])),
        }
    };
    list(entries).iter().map(choice).collect()
}

fn texts(chosen: &ChosenCaptions, vocabulary: &Vocabulary) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut samples = chosen.texts_from(0);
    let (mut text, mut targets) = (String::new(), Vec::new());
    while let Some(count) = samples.next_text(&mut text, &mut targets) {
        assert_eq!((count, targets.len()), (1, 1));
        all.push((text.clone(), vocabulary.noun(targets[0]).target.clone()));
    }
    assert_eq!(all.len() as u64, chosen.num_samples());
    for start in [1, all.len() / 2, all.len()] {
        let mut samples = chosen.texts_from(start as u64);
        let next = samples.next_text(&mut text, &mut targets);
        assert_eq!(next.map(|_| &text), all.get(start).map(|(text, _)| text));
    }
    all
}

fn assert_statistics(statistics: &CaptionStatistics, case: &Value) {
    let name = &case["case"];
    let numbers = |n: CaptionNumbers| json!([n.singular, n.plural, n.sum()]);
    let spread = |map: &BTreeMap<u64, u64>| json!(map.iter().collect::<Vec<_>>());
    let found = [
        ("relevant_nouns", json!(statistics.known_nouns)),
        ("unknown_nouns", json!(statistics.unknown_nouns)),
        ("nouns_without_entry", json!(statistics.without_entry.len())),
        (
            "nouns_lacking_singular",
            json!(statistics.lacking_singular.len()),
        ),
        (
            "nouns_lacking_plural",
            json!(statistics.lacking_plural.len()),
        ),
        ("total", numbers(statistics.total)),
        ("unknown", numbers(statistics.unknown)),
        ("used", numbers(statistics.used)),
        ("unused", numbers(statistics.unused)),
        ("template_reuse", spread(&statistics.template_reuse)),
        ("sample_reuse", spread(&statistics.text_reuse)),
        ("unique_templates", json!(statistics.unique_templates())),
        ("unique_samples", json!(statistics.unique_texts())),
        ("samples", json!(statistics.samples)),
    ];
    let expected = case["stats"].as_object().expect("an object");
    for key in expected.keys() {
        assert!(found.iter().any(|(known, _)| known == key), "{name}: {key}");
    }
    for (key, found) in found {
        // What is not there is 0.
        let expected = expected.get(key).cloned().unwrap_or(json!(0));
        assert_eq!(found, expected, "{name}: {key}");
    }
}

/// A case that works: counts, statistics, and the texts of the choice that the
/// reference made.
fn check(case: &Value, content: &str) {
    let name = &case["case"];
    let vocabulary = vocabulary(threshold(case));
    let (captions, drawn) =
        prepare(content, &vocabulary, case, TextRules::Original).expect("valid");
    assert_eq!(drawn.num_samples(), number(&case["num_samples"]), "{name}");
    let templates = counts(case).expect("valid").templates();
    assert_eq!(
        templates,
        number(&case["template_multiplier_used"]),
        "{name}"
    );
    if let Some(sizes) = case["chosen_counts"].as_array() {
        let found: Vec<Value> = drawn
            .nouns()
            .iter()
            .map(|noun| {
                let target = &vocabulary.noun(noun.target).target;
                json!([target, noun.captions[0].len(), noun.captions[1].len()])
            })
            .collect();
        assert_eq!(&found, sizes, "{name}");
    }
    let Some(_) = case["chosen"].as_array() else {
        // How often each text occurs depends on the choice.
        let mut statistics = CaptionStatistics::new(&captions, &drawn);
        statistics.text_reuse = case["stats"]["sample_reuse"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|pair| (number(&pair[0]), number(&pair[1])))
            .collect();
        assert_statistics(&statistics, case);
        return;
    };
    let nouns = given_choice(&case["chosen"], FIELDS, &vocabulary);
    for (given, drawn) in nouns.iter().zip(drawn.nouns()) {
        let sizes = |choice: &NounChoice| choice.captions.each_ref().map(Vec::len);
        assert_eq!(
            (given.target, sizes(given)),
            (drawn.target, sizes(drawn)),
            "{name}"
        );
    }
    let chosen = ChosenCaptions::of(vocabulary.clone(), counts(case).expect("valid"), nouns);
    assert_statistics(&CaptionStatistics::new(&captions, &chosen), case);
    let texts: Vec<String> = texts(&chosen, &vocabulary)
        .into_iter()
        .map(|(t, _)| t)
        .collect();
    if !case["texts"].is_null() {
        assert_eq!(texts, strings(&case["texts"]), "{name}");
    }
    let hash = Sha256::digest(texts.join("\n").as_bytes());
    assert_eq!(hex(&hash), text(&case["texts_sha256"]), "{name}");
}

#[test]
fn caption_samples() {
    let content = json("captions.json").to_string();
    for case in list(&json("caption_samples.json")) {
        assert!(is_ok(case));
        check(case, &content);
    }
}

/// Whether a caption of the file has braces that are not those of its field:
/// accepted by the original.
fn has_other_braces(captions: &Value) -> bool {
    let of = |entry: &Value, number: &str| {
        let field = format!("{{{number}}}");
        let captions = entry[format!("{number}_captions")].as_array().cloned();
        captions
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .any(|caption| caption.replace(&field, "").contains(['{', '}']))
    };
    let entries = captions.as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .any(|entry| FIELDS.iter().any(|number| of(entry, number)))
}

#[test]
fn captions_with_errors() {
    for case in list(&json("caption_errors.json")) {
        let name = &case["case"];
        let content = match &case["raw"] {
            Value::String(raw) => raw.clone(),
            _ => case["captions_json"].to_string(),
        };
        let valid = case["stage"] == "ok" && !has_other_braces(&case["captions_json"]);
        for rules in [TextRules::Original, TextRules::Mended] {
            let vocabulary = vocabulary(threshold(case));
            match prepare(&content, &vocabulary, case, rules) {
                Ok(_) => assert!(valid, "{name} must fail"),
                Err(error) => assert!(!valid, "{name}: {error}"),
            }
        }
        if valid {
            check(case, &content);
        }
    }
}

#[test]
fn mended_captions_have_single_spaces() {
    let vocabulary = vocabulary(0);
    let noun = vocabulary.noun(0).target.clone();
    let content = json!([{
        "target_noun": noun,
        "singular_captions": ["a  {singular}\tx ", "a {singular} x.", "{singular}"],
        "plural_captions": [],
    }])
    .to_string();
    let read = |rules| {
        Captions::from_json("c.json", content.as_bytes(), &vocabulary, rules).expect("valid")
    };
    let mended = read(TextRules::Mended);
    assert_eq!(
        mended.nouns[0].captions[0],
        ["a {singular} x.", "{singular}."]
    );
    assert_eq!(mended.respaced, 1);
    assert_eq!(read(TextRules::Original).nouns[0].captions[0].len(), 3);
}

#[test]
fn the_choice_depends_on_the_seed_only() {
    let content = json("captions.json").to_string();
    let vocabulary = vocabulary(0);
    let rules = TextRules::Mended;
    let captions = Captions::from_json("c.json", content.as_bytes(), &vocabulary, rules);
    let captions = captions.expect("valid");
    let draw = |seed| {
        let counts = CaptionCounts::new(2, 3).expect("valid");
        let chosen = ChosenCaptions::draw("c.json", &captions, vocabulary.clone(), counts, seed);
        chosen.expect("valid").nouns().to_vec()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    for (choice, noun) in draw(1).iter().zip(&captions.nouns) {
        for (chosen, all) in choice.captions.iter().zip(&noun.captions) {
            assert!(chosen.iter().all(|caption| all.contains(caption)));
        }
    }
}

#[test]
fn captions_of_the_cache() {
    let caches = golden::json("embedding-cache", "caches.json");
    let entries: Vec<&Value> = caches
        .as_object()
        .expect("an object")
        .values()
        .filter(|cache| !cache["captions_json"].is_null())
        .collect();
    assert!(!entries.is_empty());
    for cache in entries {
        let content = cache["vocab"].to_string();
        let vocabulary = Vocabulary::from_json("vocab", content.as_bytes(), 0).expect("valid");
        let content = cache["captions_json"].to_string();
        let (_, drawn) = prepare(&content, &vocabulary, cache, TextRules::Mended).expect("valid");
        let keys = ["singular_prompts", "plural_prompts"];
        let nouns = given_choice(&cache["chosen_templates"], keys, &vocabulary);
        let chosen = ChosenCaptions::of(vocabulary.clone(), counts(cache).expect("valid"), nouns);
        let texts = texts(&chosen, &vocabulary);
        assert_eq!(drawn.num_samples(), texts.len() as u64);
        assert_eq!(number(&cache["header"]["embed_num"]), texts.len() as u64);
        let expected = strings(&cache["texts_in_write_order"]);
        assert_eq!(
            texts.into_iter().map(|(t, _)| t).collect::<Vec<_>>(),
            expected
        );
    }
}

/// The rules that an entry breaks, as the original names them.
fn broken_rules(entry: &Value) -> Vec<String> {
    let findings = check_captions("check.json", entry).expect("an entry");
    let original = findings.iter().filter(|finding| finding.rule.is_original());
    let mut rules: Vec<String> = original.map(|finding| finding.rule.name()).collect();
    rules.sort();
    rules
}

#[test]
fn caption_checks() {
    for case in list(&json("caption_check.json")) {
        let (entry, mut expected) = (&case["item"], strings(&case["findings"]));
        expected.sort();
        assert_eq!(broken_rules(entry), expected, "{}", entry["target_noun"]);

        let mut mended = entry.clone();
        repair_captions("check.json", &mut mended).expect("an entry");
        let mut left = broken_rules(&mended);
        // There are fewer, and the same text may be in both lists.
        left.retain(|rule| !rule.starts_with("too_few") && rule != "duplicate_combined");
        assert_eq!(left, [""; 0], "{}", entry["target_noun"]);
    }
}

#[test]
fn caption_checks_beyond_those_of_the_original() {
    let check = |caption: &str| {
        let entry = json!({
            "target_noun": "apple",
            "singulars": ["apple"],
            "plurals": ["apples"],
            "singulars_freq": [1],
            "plurals_freq": [1],
            "singular_captions": [caption],
            "plural_captions": [],
        });
        let findings = check_captions("check.json", &entry).expect("an entry");
        findings
            .iter()
            .map(|finding| finding.rule.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(check("An {singular} on a table"), [""; 0]);
    assert_eq!(check("Here is a {singular}"), ["wrong_article"]);
    assert_eq!(check("An {singular} is an Apple"), ["literal_noun"]);
    assert_eq!(check("An {singular} in a pineapple tree"), [""; 0]);
}
