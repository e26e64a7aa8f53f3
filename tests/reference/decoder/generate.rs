//! `generate.json`, `beam_trace.json`, `generate_quirks.json`,
//! `greedy_loss.json`, `all_precompute.json`, `guide_loading.json`, `task.json`:
//! decoding.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use novic::decoder::generate::{
    DropReason, EncodedNouns, GenerationConfig, Generator, GreedyLoss, Hypothesis, Method,
    NounReader, NounTrie,
};
use novic::evaluate::{NounSets, PredictionType, TopKStatistics};
use serde_json::Value;

use super::models::{self, GoldenModel, ids, list, size, text, texts};
use super::tensors::{TensorFile, assert_absolute, assert_relative, number};
use super::tokenizer::{PieceTokenizer, target_config};
use crate::golden;

/// Gaps below this may be decided either way.
const MARGIN: f64 = 1e-4;

fn config(case: &Value) -> GenerationConfig {
    text(&case["gencfg"]).parse().unwrap()
}

fn tensor(rows: Vec<Vec<f32>>) -> Tensor {
    let shape = (rows.len(), rows[0].len());
    Tensor::from_vec(rows.concat(), shape, &Device::Cpu).unwrap()
}

fn input(file: &TensorFile, name: &str) -> Tensor {
    let array = file.require(name);
    Tensor::from_vec(array.f32(), array.shape.as_slice(), &Device::Cpu).unwrap()
}

impl GoldenModel {
    fn encode(&self, nouns: &[String]) -> EncodedNouns {
        let tokenizer = PieceTokenizer::new(&self.entry);
        EncodedNouns::new(&target_config(&self.entry), &tokenizer, nouns).unwrap()
    }

    fn trie(&self, nouns: &[String]) -> NounTrie {
        self.encode(nouns).trie().unwrap()
    }

    fn text(&self, tokens: &[u32]) -> String {
        let (target, tokenizer) = (target_config(&self.entry), PieceTokenizer::new(&self.entry));
        let reader = NounReader {
            target: &target,
            tokenizer: &tokenizer,
        };
        reader.text(tokens).unwrap()
    }

    fn generate(
        &self,
        config: GenerationConfig,
        guide: &NounTrie,
        vocab: &NounTrie,
        embeds: &Tensor,
    ) -> Vec<Vec<Hypothesis>> {
        let generator = Generator::new(&self.decoder, config, Some(guide), Some(vocab)).unwrap();
        generator.generate(embeds).unwrap()
    }
}

/// 1 in the guide, 2 in the vocabulary, 3 elsewhere.
fn kind(noun: &str, guide: &[String], vocab: &[String]) -> usize {
    let contains = |nouns: &[String]| nouns.iter().any(|other| other == noun);
    if contains(guide) {
        1
    } else if contains(vocab) {
        2
    } else {
        3
    }
}

/// Compares one sample; entries with null tokens are absent.
fn compare(model: &GoldenModel, found: &[Hypothesis], expected: &[Value], what: &str) {
    let expected: Vec<&Value> = expected
        .iter()
        .filter(|entry| !entry["tokens"].is_null())
        .collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.tokens, ids(&expected["tokens"]), "{what}");
        assert_absolute(found.score, number(&expected["score"]), 1e-4, what);
        assert_eq!(model.text(&found.tokens), text(&expected["text"]), "{what}");
        assert_eq!(found.log_probs.len(), found.tokens.len(), "{what}");
    }
}

#[test]
fn nouns_and_scores_of_all_methods() {
    let models = models::by_name();
    let inputs = TensorFile::open("generate_inputs.safetensors");
    let file = golden::json("decoder", "generate.json");
    let vocab = texts(&file["vocab"]);
    let mut compared = 0;
    for case in list(&file["cases"]) {
        let model = &models[text(&case["model"])];
        let guide = texts(&file["guide_sets"][text(&case["guide"])]);
        let embeds = input(&inputs, &model.name);
        let config = config(case);
        let found = model.generate(config, &model.trie(&guide), &model.trie(&vocab), &embeds);
        let what = format!("{} {} {}", model.name, case["gencfg"], case["guide"]);
        assert_eq!(found.len(), list(&case["out"]).len(), "{what}");
        for ((found, expected), margin) in found
            .iter()
            .zip(list(&case["out"]))
            .zip(list(&case["margin"]))
        {
            if number(margin) > MARGIN {
                compare(model, found, list(expected), &what);
                for (found, expected) in found.iter().zip(list(expected)) {
                    let kind = kind(&model.text(&found.tokens), &guide, &vocab);
                    assert_eq!(kind, size(&expected["result"]), "{what}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}

#[test]
fn results_do_not_depend_on_the_rest_of_the_batch() {
    let models = models::by_name();
    let inputs = TensorFile::open("generate_inputs.safetensors");
    let file = golden::json("decoder", "generate.json");
    let vocab = texts(&file["vocab"]);
    for case in list(&file["cases"]) {
        let model = &models[text(&case["model"])];
        let guide = model.trie(&texts(&file["guide_sets"][text(&case["guide"])]));
        let vocab = model.trie(&vocab);
        let embeds = input(&inputs, &model.name);
        let together = model.generate(config(case), &guide, &vocab, &embeds);
        let last = embeds.dim(0).unwrap() - 1;
        let alone = model.generate(
            config(case),
            &guide,
            &vocab,
            &embeds.narrow(0, last, 1).unwrap(),
        );
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].len(), together[last].len());
        for (a, b) in alone[0].iter().zip(&together[last]) {
            assert_eq!(a.tokens, b.tokens);
            assert_absolute(a.score, b.score, 1e-5, &model.name);
        }
    }
}

#[test]
fn every_step_of_beam_search() {
    let models = models::by_name();
    let inputs = TensorFile::open("generate_inputs.safetensors");
    let vocab = texts(&golden::json("decoder", "generate.json")["vocab"]);
    for case in list(&golden::json("decoder", "beam_trace.json")) {
        let model = &models[text(&case["model"])];
        let (guide, vocab) = (model.trie(&texts(&case["guide"])), model.trie(&vocab));
        let (from, to) = (size(&case["rows"][0]), size(&case["rows"][1]));
        let embeds = input(&inputs, &model.name)
            .narrow(0, from, to - from)
            .unwrap();
        let generator =
            Generator::new(&model.decoder, config(case), Some(&guide), Some(&vocab)).unwrap();
        let mut seen = HashMap::new();
        let found = generator
            .generate_observed(&embeds, |step, sample, survivors| {
                seen.insert((step, sample), survivors.to_vec());
            })
            .unwrap();
        for (sample, found) in found.iter().enumerate() {
            compare(
                model,
                found,
                list(&case["out"][sample]),
                text(&case["gencfg"]),
            );
            for (step, expected) in list(&case["steps"]).iter().enumerate() {
                // A sample whose candidates are all finished has no more steps.
                let Some(survivors) = seen.get(&(step + 1, sample)) else {
                    assert!(found.iter().all(Hypothesis::finished));
                    assert!(
                        found
                            .iter()
                            .all(|hypothesis| hypothesis.tokens.len() <= step)
                    );
                    continue;
                };
                let scores = list(&expected["ranking_score"][sample]);
                let possible = scores
                    .iter()
                    .filter(|score| number(score).is_finite())
                    .count();
                assert_eq!(survivors.len(), possible);
                let parents = ids(&expected["parent"][sample]);
                let tokens = ids(&expected["token"][sample]);
                for (i, survivor) in survivors.iter().enumerate() {
                    assert_eq!(survivor.parent as u32, parents[i], "step {step}");
                    assert_eq!(survivor.token, tokens[i], "step {step}");
                    assert_absolute(
                        survivor.score,
                        number(&scores[i]),
                        1e-4,
                        text(&case["gencfg"]),
                    );
                }
            }
        }
    }
}

#[test]
fn degenerate_cases_give_fewer_results() {
    let models = models::by_name();
    let inputs = TensorFile::open("generate_inputs.safetensors");
    let vocab = texts(&golden::json("decoder", "generate.json")["vocab"]);
    for case in list(&golden::json("decoder", "generate_quirks.json")) {
        let model = &models[text(&case["model"])];
        let nouns = texts(&case["guide"]);
        let (guide, vocab) = (model.trie(&nouns), model.trie(&vocab));
        let embeds = input(&inputs, &model.name);
        let name = text(&case["gencfg"]);
        let Ok(config) = name.parse::<GenerationConfig>() else {
            assert!(name.contains("_vtgt-") || name.contains("_vtok-"), "{name}");
            continue;
        };
        let found = model.generate(config, &guide, &vocab, &embeds);
        if text(&case["kind"]) == "num_end_loss" {
            assert!(size(&case["num_end_loss"]) > 1);
            let expected = &case["first_end_only"];
            for (sample, margin) in list(&expected["margin"]).iter().enumerate() {
                if number(margin) > MARGIN {
                    compare(model, &found[sample], list(&expected["out"][sample]), name);
                }
            }
            continue;
        }
        for found in &found {
            assert_eq!(found.len(), config.topk.min(nouns.len()), "{name}");
            assert!(
                found.iter().all(|hypothesis| hypothesis.score.is_finite()),
                "{name}"
            );
            assert!(found.is_sorted_by(|a, b| a.score >= b.score), "{name}");
        }
        let Some(original) = case["original"].as_object() else {
            continue;
        };
        for (sample, scores) in list(&original["scores"]).iter().enumerate() {
            for (i, score) in list(scores).iter().enumerate() {
                if number(score).is_finite() {
                    let found = &found[sample][i];
                    assert_absolute(found.score, number(score), 1e-4, name);
                    assert_eq!(
                        model.text(&found.tokens),
                        text(&original["texts"][sample][i]),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn greedy_logits_and_loss() {
    let models = models::by_name();
    let inputs = TensorFile::open("generate_inputs.safetensors");
    let file = TensorFile::open("greedy_loss.safetensors");
    // Guided cases use the smaller of the guide sets.
    let sets = &golden::json("decoder", "generate.json")["guide_sets"];
    let sets = sets.as_object().unwrap().values().map(texts);
    let nouns = sets.min_by_key(Vec::len).unwrap();
    for case in list(&golden::json("decoder", "greedy_loss.json")) {
        let id = text(&case["id"]);
        let model = &models[text(&case["model"])];
        let guided = case["guided"].as_bool().unwrap();
        let config = GenerationConfig {
            method: Method::Greedy,
            topk: 1,
            temperature: number(&case["temperature"]),
            length_alpha: number(&case["length_alpha"]),
            ..format!("greedy_k1_g{}", if guided { 'p' } else { 'n' })
                .parse()
                .unwrap()
        };
        let guide = model.trie(&nouns);
        let generator = Generator::new(&model.decoder, config, Some(&guide), None).unwrap();
        let embeds = input(&inputs, &model.name);
        let outputs = generator.greedy_with_logits(&embeds).unwrap();
        let logits = file.get(&format!("{id}/logits"));
        for (sample, output) in outputs.iter().enumerate() {
            let padding = ids(&case["padding"][sample]);
            let used = padding.iter().filter(|&&padded| padded == 0).count();
            let tokens = ids(&case["tokens"][sample]);
            assert_eq!(output.hypothesis.tokens, tokens[..used], "{id}");
            assert_absolute(
                output.hypothesis.score,
                number(&case["scores"][sample]),
                1e-4,
                id,
            );
            let Some(logits) = &logits else { continue };
            let (steps, width) = (logits.shape[1], logits.shape[2]);
            for (step, row) in output.logits.iter().enumerate() {
                let start = (sample * steps + step) * width;
                for (&found, &expected) in row.iter().zip(&logits.values[start..start + width]) {
                    assert_absolute(f64::from(found), expected, 1e-4, id);
                }
            }
        }
        let weights: Option<Vec<f32>> = case["sample_weight"]
            .as_array()
            .map(|weights| weights.iter().map(|weight| number(weight) as f32).collect());
        let smoothing = number(&case["label_smoothing"]);
        let loss = GreedyLoss::new(&outputs, weights.as_deref(), smoothing);
        assert_relative(loss.sum, number(&case["loss_sum"]), 1e-5, id);
        assert_relative(loss.basis, number(&case["loss_basis"]), 1e-5, id);
    }
}

#[test]
fn terms_of_exhaustive_scores() {
    let models = models::by_name();
    for case in list(&golden::json("decoder", "all_precompute.json")) {
        let model = &models[text(&case["model"])];
        let encoded = model.encode(&texts(&case["guide"]));
        let (guide, vocab) = (encoded.trie().unwrap(), model.trie(&texts(&case["vocab"])));
        let kind = if case["vocab_per_token"].as_bool().unwrap() {
            "tok"
        } else {
            "tgt"
        };
        let name = format!(
            "all_k1_v{kind}{}_gp_a{}",
            case["vocab_scaler"], case["length_alpha"]
        );
        let config: GenerationConfig = name.parse().unwrap();
        let generator = Generator::new(&model.decoder, config, Some(&guide), Some(&vocab)).unwrap();
        let terms = generator.noun_terms().unwrap();
        assert_eq!(terms.len(), list(&case["targets"]).len());
        for (noun, terms) in terms.iter().enumerate() {
            let padding = ids(&case["paddings"][noun]);
            let used = padding.iter().filter(|&&padded| padded == 0).count();
            assert_eq!(
                encoded.tokens[noun],
                ids(&case["targets"][noun])[..used],
                "{name}"
            );
            let penalty = number(&case["prior_penalty"][noun]);
            assert_absolute(terms.prior_penalty, penalty, 1e-5, &name);
            let scale = if case["length_scale"].is_null() {
                1.0
            } else {
                number(&case["length_scale"][noun])
            };
            assert_absolute(terms.length_scale, scale, 1e-5, &name);
        }
    }
}

#[test]
fn guide_lists_become_tokens() {
    let models = models::by_name();
    for model in models.values() {
        let encoded = model.encode(&texts(&model.entry["nouns"]));
        assert!(encoded.dropped.is_empty());
        for (tokens, expected) in encoded.tokens.iter().zip(list(&model.entry["noun_ids"])) {
            assert!(ids(expected).starts_with(tokens), "{}", model.name);
        }
    }
    for case in list(&golden::json("decoder", "guide_loading.json")) {
        let model = &models[text(&case["model"])];
        let target = target_config(&model.entry);
        let nouns = texts(&case["nouns"]);
        let found = EncodedNouns::new(&target, &PieceTokenizer::new(&model.entry), &nouns);
        if case["tokens"] == "error" {
            // One noun too long is left out by itself; here nothing remains.
            assert!(found.is_err(), "{case}");
            continue;
        }
        let found = found.unwrap();
        let rows = list(&case["tokens"]);
        assert_eq!(found.tokens.len(), rows.len(), "{case}");
        for (tokens, row) in found.tokens.iter().zip(rows) {
            let row = ids(row);
            assert_eq!(row.len(), target.token_length);
            assert_eq!(*tokens, row[..tokens.len()], "{case}");
            assert!(row[tokens.len()..].iter().all(|&id| id == 0), "{case}");
        }
        assert_eq!(found.dropped.len(), nouns.len() - rows.len(), "{case}");
        for dropped in &found.dropped {
            assert!(nouns.contains(&dropped.noun));
            assert_eq!(dropped.reason, DropReason::UnknownToken);
        }
    }
}

#[test]
fn nouns_too_long_are_left_out_alone() {
    for model in models::load() {
        let mut nouns = texts(&model.entry["nouns"]);
        let target = target_config(&model.entry);
        let long = vec![nouns[0].clone(); target.token_length + 1].join(" ");
        nouns.insert(1, long.clone());
        let found = EncodedNouns::new(&target, &PieceTokenizer::new(&model.entry), &nouns).unwrap();
        assert_eq!(found.dropped.len(), 1);
        assert_eq!(found.dropped[0].noun, long);
        assert_eq!(found.tokens.len(), nouns.len() - 1);
        assert_eq!(found.indices[..2], [0, 2]);
    }
}

#[test]
fn texts_and_scores_of_generation_tasks() {
    let models = models::load();
    for case in list(&golden::json("decoder", "task.json")) {
        let rows: Vec<Vec<f32>> = list(&case["embeds"])
            .iter()
            .map(|row| list(row).iter().map(|value| number(value) as f32).collect())
            .collect();
        // The file does not name its model: it is the first that fits.
        let dim = rows[0].len() as u64;
        let model = models
            .iter()
            .find(|model| model.entry["embed_dim"].as_u64() == Some(dim))
            .unwrap();
        let (guide, vocab) = (texts(&case["guide"]), texts(&case["vocab"]));
        let (guide_trie, vocab_trie) = (model.trie(&guide), model.trie(&vocab));
        let set = |nouns: &[String]| nouns.iter().cloned().collect();
        let sets = NounSets {
            vocabulary: set(&vocab),
            guide: set(&guide),
            classes: list(&case["classes"])
                .iter()
                .map(|class| set(&texts(class)))
                .collect(),
        };
        let mut statistics = TopKStatistics::new(sets.clone(), config(case).topk);
        for step in list(&case["steps"]) {
            let (from, to) = (size(&step["rows"][0]), size(&step["rows"][1]));
            let embeds = tensor(rows[from..to].to_vec());
            let found = model.generate(config(case), &guide_trie, &vocab_trie, &embeds);
            for (sample, found) in found.iter().enumerate() {
                let expected = texts(&step["texts"][sample]);
                let found_texts: Vec<String> =
                    found.iter().map(|f| model.text(&f.tokens)).collect();
                assert_eq!(found_texts, expected);
                let class = size(&step["class_indices"][sample]);
                let kinds = statistics.add(&found_texts, Some(class)).unwrap();
                for (rank, (kind, noun)) in kinds.iter().zip(&found_texts).enumerate() {
                    let flag = |name: &str| size(&step[name][sample][rank]) == 1;
                    assert_eq!(kind.number() as usize, size(&step["result"][sample][rank]));
                    assert_eq!(sets.classes[class].contains(noun), flag("correct"));
                    assert_eq!(sets.guide.contains(noun), flag("valid_guide"));
                    assert_eq!(sets.vocabulary.contains(noun), flag("valid_vocab"));
                    assert_eq!(*kind == PredictionType::Other, flag("invalid"));
                }
                for (found, score) in found.iter().zip(list(&step["scores"][sample])) {
                    assert_absolute(found.score, number(score), 1e-4, text(&case["gencfg"]));
                }
            }
            assert_eq!(statistics.samples(), size(&step["num_samples"]) as u64);
            for (rank, ratios) in statistics.ratios().iter().enumerate() {
                for (name, ratio) in [
                    ("topk", ratios.correct),
                    ("topk_guide", ratios.guide),
                    ("topk_vocab", ratios.vocabulary),
                    ("topk_valid", ratios.valid),
                    ("topk_invalid", ratios.invalid),
                ] {
                    assert_absolute(f64::from(ratio), number(&step[name][rank]), 1e-6, name);
                }
            }
        }
        // The counters of all steps are one tensor in the reference, which
        // shows its last state.
        let last = list(&case["steps"]).last().unwrap();
        let counts: Vec<[u64; 4]> = serde_json::from_value(last["topk_counts"].clone()).unwrap();
        assert_eq!(statistics.counts(), counts);
    }
}
