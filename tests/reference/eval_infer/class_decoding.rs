//! `eval_cls_decoding.json`: datasets × models × generation configurations.

use std::collections::{HashMap, HashSet};

use novic::decoder::generate::select;
use novic::evaluate::{
    DatasetScores, DecodingScore, ModelScores, PredictionTable, TrackedTable, overall_table,
};
use novic::infer::{NounDecoder, Predictions, ranked};
use novic::nouns::{TargetAlignment, VariantMap, Vocabulary, clean_class_name};
use serde_json::{Map, Value};

use super::AREA;
use super::generation_configs::read;
use super::stand_in::{StandIn, decoder, generate, model_of, number, row};
use crate::golden;

/// Class names of a dataset in a variant, as commands use them.
pub fn class_names(dataset: &str, variant: &str) -> Vec<String> {
    let samples = golden::json(AREA, "samples.json");
    let names = &samples["datasets"][dataset]["class_names"][variant];
    let names: Vec<String> = serde_json::from_value(names.clone()).unwrap();
    match variant {
        "clip" => names.iter().map(|name| clean_class_name(name)).collect(),
        _ => names,
    }
}

/// Rows of the pictures of a dataset by their paths.
pub fn rows(dataset: &str) -> HashMap<String, (usize, usize)> {
    let samples = golden::json(AREA, "samples.json");
    let samples = samples["datasets"][dataset]["samples"].as_array().unwrap();
    samples
        .iter()
        .map(|sample| {
            let path = sample["path"].as_str().unwrap().to_owned();
            (path, (row(&sample["row"]), row(&sample["label"])))
        })
        .collect()
}

struct Run {
    decoder: NounDecoder,
    lists: Vec<Vec<String>>,
    labels: Vec<usize>,
    samples: Vec<String>,
    predictions: Vec<Predictions>,
}

fn run(case: &Value, run: &Value, variants: &VariantMap) -> Run {
    let model = run["model"].as_str().unwrap();
    let name = model_of(model);
    let title: Vec<&str> = run["dataset"].as_str().unwrap().split(' ').collect();
    let (dataset, variant) = (title[0], title[2]);
    let decoder = decoder(&name);
    let alignment = TargetAlignment::new(
        variants,
        decoder.vocabulary().nouns(),
        &class_names(dataset, variant),
    );
    let guide = decoder.guide(&alignment.class_targets).unwrap();
    let accepted: Vec<HashSet<String>> = alignment
        .classes
        .iter()
        .map(|nouns| nouns.iter().cloned().collect())
        .collect();
    let rows = rows(dataset);
    let samples: Vec<String> = serde_json::from_value(run["samples"].clone()).unwrap();
    let labels: Vec<usize> = run["labels"].as_array().unwrap().iter().map(row).collect();
    let places: Vec<usize> = samples.iter().map(|sample| rows[sample].0).collect();
    for (sample, label) in samples.iter().zip(&labels) {
        assert_eq!(rows[sample].1, *label);
    }
    let embeds = StandIn::of(&name).rows(&places);
    let guided = case["config"]["eval_guided"].as_bool().unwrap_or(false);
    let configs = select(&read(&generate(&case["config"])).unwrap(), guided).unwrap();
    let predictions = configs
        .into_iter()
        .map(|config| {
            let task = decoder.task(config, &guide).unwrap();
            let mut predictions = Predictions::new(config, accepted.len());
            for (nouns, &label) in task.labels(&embeds).unwrap().into_iter().zip(&labels) {
                predictions
                    .add(nouns, Some((label, &accepted[label])))
                    .unwrap();
            }
            predictions
        })
        .collect();
    Run {
        lists: alignment.classes,
        decoder,
        labels,
        samples,
        predictions,
    }
}

/// Predictions, counters and ratios of a configuration.
fn compare(predictions: &Predictions, task: &Value, what: &str) {
    let statistics = predictions.statistics();
    for (sample, row) in predictions.rows().iter().enumerate() {
        let preds = task["pred"][sample].as_array().unwrap();
        assert!(row.len() <= preds.len(), "{what}");
        for (rank, noun) in row.iter().enumerate() {
            assert_eq!(noun.noun, preds[rank].as_str().unwrap(), "{what}");
            let score = number(&task["score"][sample][rank]);
            assert!(
                (noun.score - score).abs() <= 1e-4,
                "{what}: {} {score}",
                noun.score
            );
            let kind = task["result"][sample][rank].as_u64().unwrap();
            assert_eq!(u64::from(noun.kind.number()), kind, "{what}");
        }
        // What is absent here are texts of score −∞ there.
        for rank in row.len()..preds.len() {
            let score = &task["score"][sample][rank];
            assert!(score.is_null() || !number(score).is_finite(), "{what}");
        }
    }
    let counts: Vec<[u64; 4]> = serde_json::from_value(task["topk_counts"].clone()).unwrap();
    let complete = predictions
        .rows()
        .iter()
        .all(|row| row.len() == predictions.config().topk);
    for (own, expected) in statistics.counts().iter().zip(&counts) {
        assert_eq!(own[..3], expected[..3], "{what}");
        assert!(!complete || own[3] == expected[3], "{what}");
    }
    for (rank, ratios) in statistics.ratios().iter().enumerate() {
        assert_eq!(
            f64::from(ratios.correct),
            number(&task["topk"][rank]),
            "{what}"
        );
        assert_eq!(
            f64::from(ratios.guide),
            number(&task["topk_guide"][rank]),
            "{what}"
        );
        assert_eq!(
            f64::from(ratios.vocabulary),
            number(&task["topk_vocab"][rank]),
            "{what}"
        );
        if complete {
            assert_eq!(
                f64::from(ratios.valid),
                number(&task["topk_valid"][rank]),
                "{what}"
            );
            let invalid = number(&task["topk_invalid"][rank]);
            assert_eq!(f64::from(ratios.invalid), invalid, "{what}");
        }
    }
}

/// Equal but for the last digits of numbers.
pub fn assert_like(own: &Value, expected: &Value, what: &str) {
    match (own, expected) {
        (Value::Number(own), Value::Number(expected)) => {
            let (own, expected) = (own.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (own - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{what}: {own} {expected}"
            );
        }
        (Value::Array(own), Value::Array(expected)) => {
            assert_eq!(own.len(), expected.len(), "{what}");
            for (own, expected) in own.iter().zip(expected) {
                assert_like(own, expected, what);
            }
        }
        (Value::Object(own), Value::Object(expected)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(own), keys(expected), "{what}");
            for (key, own) in own {
                assert_like(own, &expected[key], &format!("{what}: {key}"));
            }
        }
        _ => assert_eq!(own, expected, "{what}"),
    }
}

/// Lines of a table as cells without the blanks around them; rules are left
/// out. Shares of invalid predictions, which the original prints as ratios
/// with a percent sign, are ratios of one.
fn cells(text: &str, are_ratios: bool) -> Vec<Vec<String>> {
    let invalid = |cell: &str| -> String {
        let Some((correct, invalid)) = cell.split_once(" ~ ") else {
            return cell.to_owned();
        };
        let digits: String = invalid
            .trim_start_matches("\u{1b}[91m")
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let share: f64 = digits.parse().unwrap();
        let share = if are_ratios { share } else { share / 100.0 };
        let worst = invalid.starts_with('\u{1b}');
        format!("{correct} ~ {share:.3} {worst}")
    };
    text.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| invalid(cell.trim())).collect()
        })
        .collect()
}

#[test]
fn predictions_metrics_and_tables_are_those_of_the_original() {
    let cases = golden::json(AREA, "eval_cls_decoding.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    let dictionary = golden::area(AREA).join("dictionary.json");
    let vocabulary = Vocabulary::load(&dictionary, 0).unwrap();
    let variants = VariantMap::new(vocabulary.dictionary());
    let mut compared = 0;
    for case in cases {
        let what = format!("case {} ({})", case["id"], case["note"]);
        let Some(runs) = case["runs"].as_array() else {
            // No model, and a limit that the original cannot keep.
            assert!(!case["error"].is_null(), "{what}");
            continue;
        };
        let mut tables: Vec<TrackedTable> = Vec::new();
        let mut debug = String::new();
        let mut datasets: Vec<DatasetScores> = Vec::new();
        let mut pending: Option<DatasetScores> = None;
        for (place, expected) in runs.iter().enumerate() {
            let run = run(case, expected, &variants);
            let tasks = expected["tasks"].as_array().unwrap();
            assert_eq!(run.predictions.len(), tasks.len(), "{what}");
            for (predictions, task) in run.predictions.iter().zip(tasks) {
                let gencfg = task["gencfg"].as_str().unwrap();
                assert_eq!(predictions.config().to_string(), gencfg, "{what}");
                compare(predictions, task, &format!("{what}, {gencfg}"));
                compared += 1;
            }
            if case["config"]["eval_debug"] == true {
                debug.push_str(&debug_table(&run));
            }
            let dataset = expected["dataset"].as_str().unwrap();
            let model = ModelScores {
                model: run.decoder.tail(),
                scores: run
                    .predictions
                    .iter()
                    .map(|part| DecodingScore::new(part.config().to_string(), part.statistics()))
                    .collect(),
            };
            tables.push(model.table(dataset));
            // A model that was there already begins the dataset again.
            let mut scores = pending.take().unwrap_or_else(|| DatasetScores {
                dataset: dataset.to_owned(),
                models: Vec::new(),
            });
            scores.models.push(model);
            let next = runs.get(place + 1);
            let goes_on = next.is_some_and(|next| {
                let models = &scores.models;
                let again = models
                    .iter()
                    .any(|known| next["model"] == known.model.as_str());
                next["dataset"] == dataset && !again
            });
            if goes_on {
                pending = Some(scores);
                continue;
            }
            tables.push(scores.table());
            if !datasets.iter().any(|known| known.dataset == scores.dataset) {
                datasets.push(scores);
            }
        }
        tables.push(overall_table(&datasets));
        let tracking = case["tracking"].as_array().unwrap();
        assert_eq!(tables.len(), tracking.len(), "{what}");
        for (table, expected) in tables.iter().zip(tracking) {
            assert_like(&Value::Object(table.values.clone()), expected, &what);
        }
        let printed: String = tables.iter().map(|table| table.text.as_str()).collect();
        let own = cells(&printed, false);
        let mut expected = cells(case["printed"].as_str().unwrap(), true);
        if !debug.is_empty() {
            // The samples of the reference come in a random order.
            let mut own_debug = cells(&debug, false);
            let mut expected_debug: Vec<_> = expected.drain(..own_debug.len()).collect();
            own_debug[1..].sort();
            expected_debug[1..].sort();
            assert_eq!(own_debug, expected_debug, "{what}");
        }
        assert_eq!(own.len(), expected.len(), "{what}");
        for (own, expected) in own.iter().zip(&expected) {
            assert_eq!(own, expected, "{what}");
        }
    }
    assert!(compared > 0);
}

fn debug_table(run: &Run) -> String {
    let topk = run
        .predictions
        .iter()
        .map(|part| part.config().topk)
        .max()
        .unwrap();
    let mut table = PredictionTable::new(&["Gen Cfg", "Label"], topk, &["Path"]);
    for (sample, path) in run.samples.iter().enumerate() {
        for part in &run.predictions {
            let main = run.lists[run.labels[sample]].first();
            let main = main.map_or("UNKNOWN", String::as_str);
            let parts: Vec<&str> = path.rsplit('/').take(2).collect();
            table.row(
                [
                    part.config().to_string(),
                    novic::evaluate::Colour::Cyan.paint(main),
                ],
                topk,
                ranked(&part.rows()[sample]),
                [format!("{}/{}", parts[1], parts[0])],
            );
        }
    }
    table.render()
}
