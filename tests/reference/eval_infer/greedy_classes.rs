//! `eval_cls.json`: greedy decoding of classification datasets.

use std::collections::BTreeSet;

use novic::decoder::generate::{GenerationConfig, Guiding};
use novic::evaluate::GreedyOutcomes;
use novic::infer::model_values;
use novic::nouns::{NounsError, OnAmbiguity, Vocabulary, VocabularyAlignment};
use serde_json::{Map, Value, json};

use super::AREA;
use super::class_decoding::{class_names, rows};
use super::stand_in::{StandIn, decoder, models_of};
use crate::golden;

/// Metrics of a model, and for each picture what a copy of it is called.
fn evaluate(
    model: &str,
    dataset: &str,
    lists: &[Vec<String>],
    guided: bool,
) -> (Map<String, Value>, Vec<(&'static str, String)>) {
    let decoder = decoder(model);
    let nouns: BTreeSet<&String> = lists.iter().flatten().collect();
    let nouns: Vec<&String> = nouns.into_iter().collect();
    let greedy: GenerationConfig = "greedy_k1_gn".parse().unwrap();
    let free = decoder.task(greedy, decoder.vocabulary()).unwrap();
    let guide = decoder.guide(&nouns).unwrap();
    let by_guide = GenerationConfig {
        guide: Guiding::Plain,
        ..greedy
    };
    let by_guide = decoder.task(by_guide, &guide).unwrap();
    let mut samples: Vec<(String, (usize, usize))> = rows(dataset).into_iter().collect();
    samples.sort();
    let mut outcomes = GreedyOutcomes::new(decoder.vocabulary_set());
    let mut copies = Vec::new();
    let stand_in = StandIn::of(model);
    // The original's pictures come in a random order; no counter depends on it.
    for batch in samples.chunks(5) {
        let places: Vec<usize> = batch.iter().map(|(_, (row, _))| *row).collect();
        let embeds = stand_in.rows(&places);
        let (direct, mut loss) = free.greedy_labels(&embeds, 0.0).unwrap();
        let chosen = guided.then(|| by_guide.greedy_labels(&embeds, 0.0).unwrap());
        if let Some((_, guided_loss)) = &chosen {
            loss = *guided_loss;
        }
        outcomes.add_batch(&loss);
        for (i, (path, (_, label))) in batch.iter().enumerate() {
            let chosen = chosen
                .as_ref()
                .map(|(labels, _)| labels[i].written.as_str());
            let outcome = outcomes.add(&lists[*label], &direct[i].written, chosen);
            let file = path.rsplit('/').next().unwrap();
            let (stem, ending) = file.rsplit_once('.').unwrap();
            let mut parts = vec![stem, lists[*label][0].as_str(), &direct[i].noun];
            parts.extend(chosen);
            copies.push((outcome.name(), format!("{}.{ending}", parts.join("---"))));
        }
    }
    let mut values = model_values(dataset, &decoder);
    values.insert("Eval/dataset_split".to_owned(), json!("valid"));
    for (name, value) in outcomes.metrics() {
        values.insert(format!("Eval/{name}"), json!(value));
    }
    values.insert("Eval/num_samples".to_owned(), json!(outcomes.samples()));
    values.insert("Eval/num_batches".to_owned(), json!(outcomes.batches()));
    (values, copies)
}

#[test]
fn outcomes_are_those_of_the_original() {
    let cases = golden::json(AREA, "eval_cls.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    let dictionary = golden::area(AREA).join("dictionary.json");
    let vocabulary = Vocabulary::load(&dictionary, 0).unwrap();
    let mut compared = 0;
    for case in cases {
        let what = format!("case {} ({})", case["id"], case["note"]);
        let config = &case["config"];
        let dataset = config["cls_dataset"].as_str().unwrap();
        let names = class_names(dataset, config["class_names_variant"].as_str().unwrap());
        let warnings: Vec<&str> = case["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w.as_str().unwrap())
            .collect();
        let alignment = VocabularyAlignment::new(&vocabulary, &names, OnAmbiguity::Fail);
        let alignment = match alignment {
            Ok(alignment) => alignment,
            Err(NounsError::AmbiguousClassNames { parts }) => {
                // All problems are known although the command fails.
                assert!(!case["error"].is_null(), "{what}");
                let lenient =
                    VocabularyAlignment::new(&vocabulary, &names, OnAmbiguity::TakeFirst).unwrap();
                // The original overlooks plurals of several nouns.
                let mut unknown = 0;
                for warning in &warnings {
                    let Some(name) = warning.split('\'').nth(1) else {
                        continue;
                    };
                    if warning.contains("uniquely") {
                        assert!(parts.iter().any(|part| part == name), "{what}: {name}");
                    } else {
                        assert!(lenient.unknown.contains(name), "{what}: {name}");
                        unknown += 1;
                    }
                }
                assert_eq!(unknown, lenient.unknown.len(), "{what}");
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let lists: Vec<Vec<String>> = alignment
            .classes
            .iter()
            .map(|nouns| {
                let target = |&noun: &usize| vocabulary.noun(noun).target.clone();
                nouns.iter().map(target).collect()
            })
            .collect();
        let guided = config["eval_guided"].as_bool().unwrap_or(false);
        let models = models_of(config);
        for (number, model) in models.iter().enumerate() {
            let (values, copies) = evaluate(model, dataset, &lists, guided);
            // The original fails when it copies for two models at once.
            if let Some(expected) = case["tracking"].get(number) {
                let expected = expected.as_object().unwrap();
                for (name, value) in expected {
                    let own = &values[name];
                    match name.as_str() {
                        "Eval/model_path" => assert!(
                            own.as_str().unwrap().ends_with(
                                value
                                    .as_str()
                                    .unwrap()
                                    .trim_start_matches("/golden/outputs/")
                            )
                        ),
                        "Eval/loss" => {
                            let (own, loss) = (own.as_f64().unwrap(), value.as_f64().unwrap());
                            assert!((own - loss).abs() <= 1e-4 * loss, "{what}: {own} {loss}");
                        }
                        _ => match (own.as_f64(), value.as_f64()) {
                            (Some(own), Some(value)) => {
                                assert!((own - value).abs() < 1e-9, "{what}: {name} {own} {value}");
                            }
                            _ => assert_eq!(own, value, "{what}: {name}"),
                        },
                    }
                    compared += 1;
                }
                assert_eq!(values.len(), expected.len(), "{what}");
            } else {
                assert!(!case["error"].is_null(), "{what}");
            }
            let Some(wanted) = config["eval_images"].as_str() else {
                continue;
            };
            let Some(expected) = case["copied"]
                .get(number)
                .filter(|copied| copied.as_array().is_some_and(|copied| !copied.is_empty()))
            else {
                continue;
            };
            let expected: BTreeSet<String> = expected
                .as_array()
                .unwrap()
                .iter()
                .map(|path| path.as_str().unwrap().split_once('/').unwrap().1.to_owned())
                .collect();
            let own: BTreeSet<String> = copies
                .iter()
                .filter(|(outcome, _)| outcome.contains(wanted))
                .map(|(outcome, name)| format!("{outcome}/{name}"))
                .collect();
            assert_eq!(own, expected, "{what}");
        }
        // First batches of the reference are of random samples: every line must
        // be one of ours.
        if let Some(printed) = case["printed"].as_str() {
            for line in printed.lines().filter(|line| !line.trim().is_empty()) {
                let text = line
                    .trim_start_matches("\u{1b}[92m")
                    .trim_start_matches("\u{1b}[91m");
                let text = text.trim_end_matches("\u{1b}[0m");
                let (label, rest) = text.split_once(" --> ").unwrap();
                let (best, free) = match rest.strip_suffix(')').and_then(|r| r.split_once(" (")) {
                    Some((best, free)) => (best, free),
                    None => (rest, rest),
                };
                let known = models.iter().any(|model| {
                    let (_, copies) = evaluate(model, dataset, &lists, guided);
                    copies.iter().any(|(outcome, name)| {
                        let (name, _) = name.rsplit_once('.').unwrap();
                        let parts: Vec<&str> = name.split("---").collect();
                        let green = line.starts_with("\u{1b}[92m");
                        parts[1] == label
                            && parts[2] == free
                            && *parts.last().unwrap() == best
                            && green == outcome.ends_with("GuidedCorrect")
                    })
                });
                assert!(known, "{what}: {line:?}");
            }
        }
    }
    assert!(compared > 0);
}
