//! `units.json`: the texts that tables are made of.

use jiff::Zoned;
use jiff::tz::TimeZone;
use novic::evaluate::grid;
use novic::reports::number_text::{percent, percent_text};
use novic::reports::predictions::{
    Ambiguous, Annotations, Counter, Findings, Rounding, Score, Scorer, details_text,
    tell_unknown_categories,
};
use novic::reports::printed::Printed;
use novic::reports::row_sort::RowSort;
use novic::reports::time_filter::{before, iso, stamp};
use serde_json::{Value, json};

use super::{AREA, assert_events, close, events};
use crate::golden;

fn section(name: &str) -> Value {
    golden::json(AREA, "units.json")[name].clone()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap_or_default().to_owned())
        .collect()
}

fn width(value: &Value) -> Option<usize> {
    value.as_u64().map(|width| usize::try_from(width).unwrap())
}

#[test]
fn percentages() {
    let cases = section("percent");
    for case in cases.as_array().unwrap() {
        let found = match &case[0] {
            Value::String(word) => match word.as_str() {
                "nan" => percent(f64::NAN),
                "inf" => percent(f64::INFINITY),
                "-inf" => percent(f64::NEG_INFINITY),
                other => percent_text(other),
            },
            number => percent(number.as_f64().unwrap()),
        };
        assert_eq!(found, case[1].as_str().unwrap(), "{case}");
    }
}

#[test]
fn scores() {
    let cases = section("score");
    for case in cases.as_array().unwrap() {
        let points = case[0].as_f64().unwrap();
        let score = Score {
            tenths: (points * 10.0).round() as u64,
            points,
            total: case[1].as_u64().unwrap(),
        };
        let text = score.text(width(&case[2]), Rounding::Original);
        assert_eq!(text, case[3].as_str().unwrap(), "{case}");
        let text = score.percent_text(Rounding::Original);
        assert_eq!(text, case[4].as_str().unwrap(), "{case}");
    }
}

#[test]
fn counters() {
    let cases = section("counter");
    for case in cases.as_array().unwrap() {
        let counts = case[0].as_array().unwrap();
        let count = |pair: &Value| pair[1].as_u64().unwrap();
        let of = |name: &str| counts.iter().find(|pair| pair[0] == name).map_or(0, count);
        let total = counts.iter().map(count).sum();
        let named = [
            "correct_primary",
            "correct_secondary",
            "close_primary",
            "close_secondary",
            "incorrect",
        ];
        let found = details_text(named.map(of), total, width(&case[1]));
        assert_eq!(found, case[2].as_str().unwrap(), "{case}");
    }
}

#[test]
fn scoring() {
    let cases = section("scorer");
    for (at, case) in cases.as_array().unwrap().iter().enumerate() {
        let annotations = Annotations::of(case["annotations"].as_object().unwrap()).unwrap();
        let predictions = case["predictions"].as_object().unwrap();
        let rows: Vec<(&str, Vec<String>)> = predictions
            .iter()
            .map(|(sample, nouns)| (sample.as_str(), texts(nouns)))
            .collect();
        let rows = || {
            rows.iter()
                .map(|(sample, nouns)| (*sample, nouns.iter().map(String::as_str)))
        };
        let topk = width(&case["topk"]).unwrap();
        let mut scorer = Scorer::new(&annotations, Ambiguous::First);
        let top1 = scorer.topk(rows(), 1);
        let counters = scorer.topk(rows(), topk);
        check_counter(&top1[0], &case["top1"]["counts"], &annotations, at);
        let score = top1[0].score(&annotations).points;
        assert!(
            close(score, case["top1"]["score"].as_f64().unwrap()),
            "{at}"
        );
        let expected = case["topk_counts"].as_array().unwrap();
        assert_eq!(counters.len(), expected.len(), "{at}");
        for (counter, expected) in counters.iter().zip(expected) {
            check_counter(counter, expected, &annotations, at);
        }
        let expected = case["topk_scores"].as_array().unwrap();
        for (counter, expected) in counters.iter().zip(expected) {
            let points = counter.score(&annotations).points;
            assert!(close(points, expected.as_f64().unwrap()), "{at}");
        }
        check_messages(&annotations, &scorer.into_findings(), case, at);
    }
}

/// The data are sorted by category, not in the order of occurrence.
fn check_counter(counter: &Counter, expected: &Value, annotations: &Annotations, at: usize) {
    let name = |id| annotations.category_name(id).to_owned();
    let mut found: Vec<(Option<String>, u64)> = counter
        .counts()
        .iter()
        .map(|(category, count)| (category.map(name), *count))
        .collect();
    found.sort();
    assert_eq!(&json!(found), expected, "{at}");
}

fn check_messages(annotations: &Annotations, findings: &Findings, case: &Value, at: usize) {
    let mut printed = Printed::default();
    tell_unknown_categories(annotations, &mut printed);
    findings.tell(annotations, true, &mut printed);
    let expected = case["events"].as_array().unwrap();
    assert_events(&format!("scorer {at}"), &events(&printed), expected);
}

#[test]
fn ages() {
    let data = section("duration");
    let now: jiff::Timestamp = data["now"].as_str().unwrap().parse().unwrap();
    let now = now.to_zoned(TimeZone::UTC);
    check_times(&data, |text| before(&now, text).ok());
}

#[test]
fn stamps() {
    let data = section("stamp");
    let zone = TimeZone::get(data["timezone"].as_str().unwrap()).unwrap();
    check_times(&data, |text| stamp(text, &zone).ok());
}

/// `None`: an error; `Some(None)`: no limit.
fn check_times(data: &Value, find: impl Fn(&str) -> Option<Option<Zoned>>) {
    for case in data["cases"].as_array().unwrap() {
        let found = find(case[0].as_str().unwrap());
        match &case[1] {
            Value::Null => assert_eq!(found, Some(None), "{case}"),
            Value::String(time) => assert_eq!(&iso(&found.unwrap().unwrap()), time, "{case}"),
            _ => assert_eq!(found, None, "{case}"),
        }
    }
}

#[test]
fn sorting() {
    let data = section("sort");
    let heads = texts(&data["headers"]);
    let input: Vec<Vec<String>> = data["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(texts)
        .collect();
    for case in data["cases"].as_array().unwrap() {
        let keys: Option<Vec<i64>> = serde_json::from_value(case["default_order"].clone()).unwrap();
        let mut rows: Vec<(i64, Vec<String>)> = input
            .iter()
            .enumerate()
            .map(|(at, row)| (keys.as_ref().map_or(0, |keys| keys[at]), row.clone()))
            .collect();
        rows.sort();
        let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
        let mut printed = Printed::default();
        let sort = match RowSort::parse(case["spec"].as_str().unwrap_or_default()) {
            Ok(sort) => sort,
            Err(error) => {
                assert!(!case["exception"].is_null(), "{case}: {error}");
                continue;
            }
        };
        if let Some(sort) = sort {
            let column = sort.find(&heads).unwrap_or_else(|_| {
                printed.warn(sort.original_warning());
                0
            });
            sort.sort(&mut rows, column);
        }
        let expected: Vec<Vec<String>> =
            case["rows"].as_array().unwrap().iter().map(texts).collect();
        assert_eq!(rows, expected, "{case}");
        let expected = case["events"].as_array().unwrap();
        assert_events(&case["spec"].to_string(), &events(&printed), expected);
    }
}

#[test]
fn grids() {
    let cases = section("text_table");
    for case in cases.as_array().unwrap() {
        let rows: Vec<Vec<String>> = case["rows"].as_array().unwrap().iter().map(texts).collect();
        let found = grid(&texts(&case["headers"]), &rows);
        assert_eq!(found, case["text"].as_str().unwrap());
    }
}
