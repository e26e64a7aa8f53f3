//! `statistics.json`: generator, summaries, intervals, comparison.

use novic::reports::statistics::{Bootstrap, SplitMix64, Summary, quantile, wilson95};
use serde_json::Value;

use super::{AREA, close};
use crate::golden;

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn check(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(close(found, expected), "{what}: {found}, not {expected}");
}

fn check_interval(found: Option<(f64, f64)>, expected: &Value, what: &str) {
    match found {
        None => assert!(expected.is_null(), "{what}: {expected} expected"),
        Some((low, high)) => {
            check(low, &expected[0], what);
            check(high, &expected[1], what);
        }
    }
}

fn bootstrap(case: &Value) -> Bootstrap {
    Bootstrap {
        resamples: usize::try_from(case["resamples"].as_u64().unwrap()).unwrap(),
        seed: case["seed"].as_u64().unwrap(),
    }
}

/// The data do not say from which seed numbers below a limit are drawn, only
/// that it is the same for all limits: a small seed has to give them all.
fn check_below(lists: &Value) {
    let lists: Vec<(u64, Vec<u64>)> = serde_json::from_value(lists.clone()).unwrap();
    assert!(lists.iter().map(|(limit, _)| limit).max() >= Some(&1000));
    let gives_all = |seed: &u64| {
        lists.iter().all(|(limit, expected)| {
            let mut random = SplitMix64::new(*seed);
            expected
                .iter()
                .all(|number| random.below(*limit) == *number)
        })
    };
    assert!((0..100_000).any(|seed| gives_all(&seed)));
}

#[test]
fn numbers_are_those_of_the_reference() {
    let data = golden::json(AREA, "statistics.json");
    let generator = &data["splitmix64"];
    let seed = generator["seed"].as_u64().unwrap();
    let mut random = SplitMix64::new(seed);
    for number in generator["first"].as_array().unwrap() {
        assert_eq!(random.next_u64().to_string(), number.as_str().unwrap());
    }
    check_below(&generator["below"]);
    for case in data["summary"].as_array().unwrap() {
        let values = numbers(&case["values"]);
        let summary = Summary::of(&values).unwrap();
        let what = case.to_string();
        check(summary.mean, &case["mean"], &what);
        check(summary.median, &case["median"], &what);
        match summary.std {
            None => assert!(case["std"].is_null(), "{what}"),
            Some(std) => check(std, &case["std"], &what),
        }
        let t95 = summary.t95.map(|interval| (interval.low, interval.high));
        check_interval(t95, &case["t95"], &what);
    }
    for case in data["wilson95"].as_array().unwrap() {
        let interval = wilson95(case[0].as_u64().unwrap(), case[1].as_u64().unwrap());
        let interval = interval.map(|interval| (interval.low, interval.high));
        check_interval(interval, &case[2], &case.to_string());
    }
    for case in data["quantile"].as_array().unwrap() {
        let mut values = numbers(&case[0]);
        values.sort_by(f64::total_cmp);
        let found = quantile(&values, case[1].as_f64().unwrap());
        check(found, &case[2], &case.to_string());
    }
    for case in data["bootstrap"].as_array().unwrap() {
        let points = numbers(&case["points"]);
        let interval = bootstrap(case).interval(&points);
        let interval = interval.map(|interval| (interval.low, interval.high));
        check_interval(interval, &case["ci95"], "bootstrap");
        let mean = Summary::of(&points).unwrap().mean;
        check(mean, &case["mean"], "bootstrap");
    }
    for case in data["paired"].as_array().unwrap() {
        let (left, right) = (numbers(&case["a"]), numbers(&case["b"]));
        let found = bootstrap(case).paired(&left, &right).unwrap();
        check(found.mean, &case["diff"], "difference");
        let interval = (found.interval.low, found.interval.high);
        check_interval(Some(interval), &case["ci"], "difference");
        check(found.p, &case["p"], "probability");
    }
}
