//! `model_object.json`: the model object as a library.

use std::sync::Arc;

use novic::evaluate::PredictionType;
use novic::infer::{
    CheckpointSource, InferError, Label, NounList, NovicModel, NovicModelBuilder, Sample,
    StreamOptions,
};
use serde_json::Value;

use super::AREA;
use super::stand_in::{StandIn, checkpoint, model_names, number, row};
use crate::golden;

fn builder(model: &str) -> NovicModelBuilder {
    NovicModel::builder(&CheckpointSource::File(checkpoint(model)))
        .embedder(Arc::new(StandIn::of(model)))
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn build(case: &Value) -> Result<NovicModel, InferError> {
    let mut builder = builder(case["model"].as_str().unwrap());
    builder = builder.generation(case["gencfg"].as_str().unwrap().parse()?);
    builder = match &case["guide"] {
        Value::Null => builder,
        Value::String(text) => builder.guide(NounList::parse(text).nouns),
        list => builder.guide(strings(list)),
    };
    builder.build()
}

/// Compares the labels of a sample with texts, scores and types.
fn compare(labels: &[Label], output: &Value, sample: usize, what: &str) {
    let preds = output["preds"][sample].as_array().unwrap();
    assert_eq!(labels.len(), preds.len(), "{what}");
    for (rank, label) in labels.iter().enumerate() {
        assert_eq!(label.noun, preds[rank].as_str().unwrap(), "{what}");
        let score = number(&output["logprobs"][sample][rank]);
        assert!(
            (label.score - score).abs() <= 1e-4,
            "{what}: {} {score}",
            label.score
        );
        if let Some(probability) = label.probability {
            let expected = number(&output["probs"][sample][rank]);
            assert!(
                (probability - expected).abs() <= 1e-4 * expected.max(1e-3),
                "{what}"
            );
        }
        let kind = output["types"][sample][rank].as_u64().unwrap();
        assert_eq!(u64::from(label.kind.number()), kind, "{what}");
    }
}

#[test]
fn outputs_are_those_of_the_original() {
    let cases = golden::json(AREA, "model_object.json");
    let cases = cases["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let what = format!("{} {}", case["model"], case["note"]);
        let model = build(case);
        if !case["error"].is_null() {
            // All of them are told of when the model is made.
            assert!(model.is_err(), "{what}");
            continue;
        }
        let model = model.unwrap();
        let mut guide = model.guide().nouns().to_vec();
        guide.sort();
        assert_eq!(guide, strings(&case["guide_in_use"]), "{what}");
        let warned = case["warnings"].as_array().unwrap();
        let warnings = model.guide().warnings(model.vocabulary());
        assert_eq!(warnings.len(), warned.len(), "{what}: {warnings:?}");
        for noun in model.guide().outside_vocabulary() {
            assert!(
                warned[0].as_str().unwrap().contains(noun.as_str()),
                "{what}: {noun}"
            );
        }
        let rows: Vec<usize> = case["rows"].as_array().unwrap().iter().map(row).collect();
        let stand_in = StandIn::of(case["model"].as_str().unwrap());
        let embeds = stand_in.rows(&rows);
        let together = model.classify_embeddings(&embeds).unwrap();
        let longer = model
            .classify_embeddings(&(&embeds * 3.5).unwrap())
            .unwrap();
        assert_eq!(together.len(), rows.len());
        for (sample, labels) in together.iter().enumerate() {
            compare(labels, &case["output"], sample, &what);
            // One label has no neighbour.
            let gap = &case["output"]["min_gap"][sample];
            assert!(gap.is_null() || number(gap) > 1e-4, "{what}: {gap}");
            let alone = embeds.narrow(0, sample, 1).unwrap();
            let alone = model.classify_embeddings(&alone).unwrap();
            compare(&alone[0], &case["output"], sample, &what);
            compare(&longer[sample], &case["output"], sample, &what);
        }
        // Log-probabilities of tokens add up to scores that are such.
        let detailed = model.clone().with_token_log_probs(true);
        for labels in detailed.classify_embeddings(&embeds).unwrap() {
            for label in labels {
                let sum: f64 = label
                    .tokens
                    .unwrap()
                    .iter()
                    .map(|token| token.log_prob)
                    .sum();
                if label.probability.is_some() {
                    assert!((sum - label.score).abs() < 1e-5, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_model_is_changed_and_used_again() {
    let data = golden::json(AREA, "model_object.json");
    let lifecycle = &data["lifecycle"];
    // The changes are those of the reference, whatever its model was.
    let expected = strings(&lifecycle["one_preds"][0]);
    let mut found = false;
    for name in model_names() {
        let stand_in = StandIn::of(&name);
        let model = builder(&name).build().unwrap();
        let case = data["cases"].as_array().unwrap().iter().find(|case| {
            case["model"] == name.as_str() && case["guide"].is_null() && case["error"].is_null()
        });
        let rows: Vec<usize> = case.unwrap()["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(row)
            .collect();
        let nouns = |labels: &[Label]| -> Vec<String> {
            labels.iter().map(|label| label.noun.clone()).collect()
        };
        let first = model
            .classify_embeddings(&stand_in.rows(&rows[..1]))
            .unwrap();
        if nouns(&first[0]) != expected {
            continue;
        }
        found = true;
        let k = lifecycle["after_set_gencfg"][0].as_array().unwrap().len();
        let free = model
            .clone()
            .with_generation(format!("beam_k{k}_gn").parse().unwrap());
        let free = free.unwrap();
        let guide = strings(&lifecycle["after_set_guide"][0]);
        let guided = model
            .clone()
            .with_generation(format!("beam_k{}_gp", guide.len()).parse().unwrap())
            .unwrap()
            .with_guide(Arc::new(model.decoder().guide(&guide).unwrap()))
            .unwrap();
        for (changed, key) in [(&free, "after_set_gencfg"), (&guided, "again_preds")] {
            let all = lifecycle[key].as_array().unwrap();
            let labels = changed
                .classify_embeddings(&stand_in.rows(&rows[..all.len()]))
                .unwrap();
            for (labels, expected) in labels.iter().zip(all) {
                assert_eq!(nouns(labels), strings(expected), "{key}");
            }
        }
        // What was changed is a copy.
        let again = model
            .classify_embeddings(&stand_in.rows(&rows[..1]))
            .unwrap();
        assert_eq!(again, first);
        assert!(
            model
                .with_generation("greedy_k3_gn".parse().unwrap())
                .is_err()
        );
    }
    assert!(found);
}

#[test]
fn streams_have_the_batches_of_the_original_and_results_in_order() {
    let data = golden::json(AREA, "model_object.json");
    let samples = golden::json(AREA, "samples.json");
    let images = samples["images"].as_array().unwrap();
    let files: Vec<Sample> = images
        .iter()
        .map(|image| {
            let path = image["path"].as_str().unwrap();
            let mut sample = Sample::file(golden::area(AREA).join("images").join(path));
            path.clone_into(&mut sample.name);
            sample
        })
        .collect();
    let name = &model_names()[0];
    let model = builder(name).build().unwrap();
    let rows: Vec<usize> = images.iter().map(|image| row(&image["row"])).collect();
    let expected = model
        .classify_embeddings(&StandIn::of(name).rows(&rows))
        .unwrap();
    for (size, key) in [(3, "batches"), (4, "batches_4")] {
        let options = StreamOptions {
            batch_size: size,
            keep_embeddings: true,
            ..StreamOptions::default()
        };
        let results: Vec<_> = model
            .stream(files.clone().into_iter(), options)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(results.len(), files.len());
        let mut sizes = vec![0u64; results.last().unwrap().batch + 1];
        for (place, classified) in results.iter().enumerate() {
            sizes[classified.batch] += 1;
            assert_eq!(classified.index, place);
            assert_eq!(classified.name, files[place].name);
            let labels = classified.outcome.as_ref().unwrap();
            assert_eq!(labels.len(), expected[place].len());
            for (own, expected) in labels.iter().zip(&expected[place]) {
                assert_eq!(own.noun, expected.noun);
                assert!((own.score - expected.score).abs() < 1e-5);
            }
            let embedding = classified.embedding.as_ref().unwrap();
            assert_eq!(embedding.len(), model.decoder().dim());
        }
        let batches: Vec<u64> = serde_json::from_value(data["lifecycle"][key].clone()).unwrap();
        assert_eq!(sizes, batches, "{key}");
    }
}

#[test]
fn embeddings_that_say_nothing_are_refused() {
    let name = &model_names()[0];
    let stand_in = StandIn::of(name);
    let model = builder(name).build().unwrap();
    let good = stand_in.rows(&[0]);
    for factor in [0.0, f64::NAN, f64::INFINITY] {
        let bad = (&good * factor).unwrap();
        let both = candle_core::Tensor::cat(&[&good, &bad], 0).unwrap();
        let error = model.classify_embeddings(&both).unwrap_err();
        assert!(
            matches!(error, InferError::BadEmbedding { index: 1, .. }),
            "{error}"
        );
    }
    let narrow = good.narrow(1, 0, 3).unwrap();
    assert!(matches!(
        model.classify_embeddings(&narrow),
        Err(InferError::Dimension { .. })
    ));
    assert!(model.classify_images(&[]).unwrap().is_empty());
    let kinds = [PredictionType::Guide, PredictionType::Vocabulary];
    let labels = model.classify_embeddings(&good).unwrap();
    assert!(labels[0].iter().all(|label| kinds.contains(&label.kind)));
}
