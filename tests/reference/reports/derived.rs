//! `derived.json`: everything that predictions are worth.

use std::collections::{BTreeMap, HashSet};

use novic::reports::predictions::{Annotations, Measures, Metrics, ModelPredictions};
use novic::reports::specificity::{MissingSpecificity, Specificity};
use novic::reports::statistics::{Bootstrap, Interval};
use serde_json::Value;

use super::{AREA, close, inputs};
use crate::golden;

#[test]
fn measures_are_those_of_the_reference() {
    let data = golden::json(AREA, "derived.json");
    let specificity = data["specificity"].as_object().unwrap();
    let specificity = Specificity::of("reference".to_owned(), specificity).unwrap();
    let words: HashSet<String> = serde_json::from_value(data["word_list"].clone()).unwrap();
    let lists = BTreeMap::from([("words".to_owned(), words)]);
    let bootstrap = Bootstrap {
        resamples: usize::try_from(data["bootstrap"]["resamples"].as_u64().unwrap()).unwrap(),
        seed: data["bootstrap"]["seed"].as_u64().unwrap(),
    };
    let rows = data["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap();
        let set = inputs().join(text("set"));
        let annotations = Annotations::read(&set.join(text("annotations"))).unwrap();
        let file = ModelPredictions::read(&set.join("preds").join(text("file")));
        let file = file.unwrap().unwrap();
        let entry = file.under(text("gencfg")).unwrap();
        let measures = Measures {
            annotations: &annotations,
            ambiguous: text("ambiguous").parse().unwrap(),
            specificity: Some(&specificity),
            missing: MissingSpecificity::Error,
            lists: &lists,
            bootstrap: Some(bootstrap),
        };
        let (metrics, _) = Metrics::of(&file, entry, &measures).unwrap();
        let counts = row["counts"].as_object().unwrap();
        let found = metrics.counter.counts().iter();
        let found: BTreeMap<&str, u64> = found
            .map(|(category, count)| {
                let name = category.map(|id| annotations.category_name(id));
                (name.unwrap_or("missing"), *count)
            })
            .collect();
        let expected: BTreeMap<&str, u64> = counts
            .iter()
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| (name.as_str(), count.as_u64().unwrap()))
            .collect();
        assert_eq!(found, expected, "{row}");
        for (key, found) in [
            ("score", metrics.score),
            ("primary", metrics.primary),
            ("correct", metrics.correct),
            ("secondary_as_primary", metrics.secondary_as_primary),
            ("overall", metrics.overall),
            ("in_list", metrics.in_list.get("words").copied()),
            ("lower", metrics.lower),
            ("upper", metrics.upper),
            ("annotated_only", metrics.annotated_only),
        ] {
            check(found, &row[key], key, row);
        }
        for (key, found) in [
            ("total", Some(metrics.total)),
            ("used", Some(metrics.used)),
            ("seen", metrics.seen),
            ("unannotated", Some(metrics.unannotated)),
        ] {
            assert_eq!(found, row[key].as_u64(), "{key}: {row}");
        }
        check_interval(metrics.correct_wilson95, &row["correct_wilson95"], row);
        check_interval(metrics.bootstrap95, &row["bootstrap95"], row);
    }
}

fn check(found: Option<f64>, expected: &Value, key: &str, row: &Value) {
    match (found, expected.as_f64()) {
        (None, None) => {}
        (Some(found), Some(expected)) if close(found, expected) => {}
        (found, _) => panic!("{key}: {found:?}, not {expected}: {row}"),
    }
}

fn check_interval(found: Option<Interval>, expected: &Value, row: &Value) {
    check(found.map(|interval| interval.low), &expected[0], "low", row);
    check(
        found.map(|interval| interval.high),
        &expected[1],
        "high",
        row,
    );
}
