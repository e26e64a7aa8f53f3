//! The schema: flat names, fields, types, structural marks, readers, defaults.

use std::collections::BTreeSet;

use novic::config::hydra;
use novic::config::schema::{self, Action, Config, Key, Kind, key_by_flat_name};
use serde_json::Value;

use crate::golden;

#[test]
fn defaults_have_their_values_and_yaml_types() {
    let expected = golden::json("training", "config_defaults.json");
    let expected = expected.as_object().expect("an object");
    let flat = Config::default().flat();
    for (name, default) in expected {
        let value = flat
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(value, &default["value"], "{name}");
        assert_eq!(yaml_type(value), default["type"], "{name}");
    }
    let names: Vec<_> = expected.keys().collect();
    assert_eq!(
        flat.keys().collect::<Vec<_>>(),
        names,
        "the same keys in the same order"
    );
}

#[test]
fn the_map_agrees_with_the_schema() {
    let map = golden::json("training", "config_map.json");
    let map = map.as_object().expect("an object");
    let mut previous = BTreeSet::new();
    for (name, entry) in map {
        let key = key_by_flat_name(name).unwrap_or_else(|| panic!("{name} has no field"));
        assert_eq!(key.path, entry["field"], "{name}");
        assert_eq!(Value::from(key.structural), entry["structural"], "{name}");
        check_type(key, entry["type"].as_str().expect("a text"));
        let read_by = entry["read_by"].as_str().expect("a text");
        let codes = reader_codes(read_by, &previous);
        let actual: BTreeSet<_> = key.readers.iter().map(|action| action.code()).collect();
        assert_eq!(
            actual,
            codes.iter().map(String::as_str).collect(),
            "{name}: {read_by}"
        );
        previous = codes;
    }
    let flat = schema::keys().iter().filter_map(|key| key.flat);
    assert_eq!(
        flat.collect::<BTreeSet<_>>(),
        map.keys().map(String::as_str).collect()
    );
}

#[test]
fn overrides_are_read_as_the_original_reads_them() {
    let cases = golden::json("training", "overrides.json");
    let flat = Config::default().flat();
    for case in cases["single"].as_array().expect("a list") {
        let strings = case["overrides"].as_array().expect("a list");
        let texts: Vec<_> = strings.iter().filter_map(Value::as_str).collect();
        let result = hydra::changes(&texts, |key| flat.contains_key(key));
        let changes = match (&case["error"], result) {
            (Value::Null, Ok(changes)) => changes,
            (Value::Null, Err(error)) => panic!("{texts:?}: {error}"),
            (_, Ok(changes)) => panic!("{texts:?} must be an error, not {changes:?}"),
            (_, Err(_)) => continue,
        };
        let removed = case["removed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        assert_eq!(changes.removed, removed.collect::<Vec<_>>(), "{texts:?}");
        // Values that are the default change nothing.
        let changed: serde_json::Map<_, _> = changes
            .set
            .iter()
            .filter(|(key, value)| flat.get(key) != Some(&value.to_json()))
            .map(|(key, value)| {
                let entry =
                    serde_json::json!({"type": value.type_name(), "value": value.to_json()});
                (key.clone(), entry)
            })
            .collect();
        assert_eq!(Value::Object(changed), case["changed"], "{texts:?}");
    }
}

#[test]
fn sweeps_have_the_points_of_the_original() {
    let cases = golden::json("training", "overrides.json");
    for case in cases["sweeps"].as_array().expect("a list") {
        let strings = case["overrides"].as_array().expect("a list");
        let texts: Vec<_> = strings.iter().filter_map(Value::as_str).collect();
        let points = hydra::points(&texts).unwrap_or_else(|error| panic!("{texts:?}: {error}"));
        assert_eq!(serde_json::json!(points), case["runs"], "{texts:?}");
    }
}

fn yaml_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// The type as the table writes it: `bool?`, `int ≥ 1`, `list float`, names.
fn check_type(key: &Key, text: &str) {
    let path = key.path;
    let (base, rest) = text.split_once(' ').unwrap_or((text, ""));
    assert_eq!(key.nullable, base.ends_with('?'), "{path}: {text}");
    let kind = key.kind;
    match (base.trim_end_matches('?'), rest) {
        ("bool", "") => assert_eq!(kind, Kind::Bool, "{path}"),
        ("int", bound) => {
            assert_eq!(kind, Kind::Int, "{path}");
            check_bound(key, bound);
        }
        ("float", bound) => {
            assert_eq!(kind, Kind::Float, "{path}");
            check_bound(key, bound);
        }
        ("str", "") => assert_eq!(kind, Kind::Text, "{path}"),
        ("str", "(comma list)") => assert_eq!(kind, Kind::CommaText, "{path}"),
        ("path", "") => assert_eq!(kind, Kind::Path, "{path}"),
        ("fraction", "") => assert_eq!(kind, Kind::Fraction, "{path}"),
        ("list", "") => assert!(matches!(kind, Kind::List(_)), "{path}"),
        ("list", "int") => assert_eq!(kind, Kind::List(&Kind::Int), "{path}"),
        ("list", "float") => assert_eq!(kind, Kind::List(&Kind::Float), "{path}"),
        ("list", "or str") => assert!(matches!(kind, Kind::ListOrText(_)), "{path}"),
        ("enum", "") => {
            assert!(
                matches!(kind, Kind::Choice { .. }) || key.form.is_some(),
                "{path}"
            );
        }
        _ => {
            let names: BTreeSet<_> = text
                .split(", ")
                .map(|name| if name == "empty" { "" } else { name })
                .collect();
            let actual: BTreeSet<_> = match kind {
                Kind::Choice { names, .. } => names.iter().copied().collect(),
                Kind::ChoiceOrInt { names } => names.iter().copied().chain(["int"]).collect(),
                _ => panic!("{path}: {text} is no type of {kind:?}"),
            };
            assert_eq!(actual, names, "{path}");
        }
    }
}

fn check_bound(key: &Key, text: &str) {
    let range = key.range;
    let number = |text: &str| text.trim().parse::<f64>().expect("a number");
    if let Some(min) = text.strip_prefix('≥') {
        assert_eq!(
            (range.min, range.above_min),
            (number(min), false),
            "{}",
            key.path
        );
    } else if let Some(min) = text.strip_prefix('>') {
        assert_eq!(
            (range.min, range.above_min),
            (number(min), true),
            "{}",
            key.path
        );
    } else if let Some((min, max)) = text.split_once('–') {
        assert_eq!(
            (range.min, range.max),
            (number(min), number(max)),
            "{}",
            key.path
        );
    } else {
        assert_eq!(text, key.unit, "{}", key.path);
    }
}

/// Codes of the actions in a text such as `trn evl; evd if the list is empty`,
/// with the abbreviations of the table.
fn reader_codes(text: &str, previous: &BTreeSet<String>) -> BTreeSet<String> {
    const EMBEDDER_NOT: [&str; 2] = ["fpr", "fwb"];
    const DECODER: &str = "trn evl evc evd inf";
    const TARGET: &str = "tdl tec cnd cvn cnm cap ccl mrg trn evl evc";
    const SAVERS: &str = "cvn cnm cap ccl cim mrg";
    const NOUNS: &str = "cnd cvn cnm cap ccl evc evd wik ezs fix tdl trn evl inf";
    let every: BTreeSet<String> = Action::ALL
        .iter()
        .map(|action| action.code().to_owned())
        .collect();
    let mut codes = BTreeSet::new();
    let mut add = |list: &str| codes.extend(list.split(' ').map(str::to_owned));
    // What is always so for an action is no reading of the key.
    let text = text
        .split("always clip")
        .next()
        .unwrap_or(text)
        .replace("(ezs:", "");
    let (text, except) = text.split_once("except").unwrap_or((&text, ""));
    for word in text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        match word {
            "start" => add(&every.iter().cloned().collect::<Vec<_>>().join(" ")),
            "E" => {
                let all = every
                    .iter()
                    .filter(|code| !EMBEDDER_NOT.contains(&code.as_str()));
                add(&all.cloned().collect::<Vec<_>>().join(" "));
            }
            "D" => add(DECODER),
            "C" => add(TARGET),
            "N" => add(NOUNS),
            "savers" => add(SAVERS),
            "same" => add(&previous.iter().cloned().collect::<Vec<_>>().join(" ")),
            code if every.contains(code) => add(code),
            _ => {}
        }
    }
    for code in except.split_whitespace().take(1) {
        codes.remove(code);
    }
    codes
}
