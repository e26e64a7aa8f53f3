//! `eval.json`: loss and accuracy of stored checkpoints on caches
//! (`training.md` 4).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use novic::cache::{
    CacheFile, DataConfig, DataRequest, Loader, LoaderInfo, LoaderMode, TargetConfig,
    TargetOptions, Translation,
};
use novic::config::schema::{Config, Key, key_by_flat_name};
use novic::decoder::generate::EncodedNouns;
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use novic::evaluate::{TokenEvaluation, TokenResults};
use novic::infer::TrainedDecoder;
use serde_json::{Map, Value};

use crate::golden;

const AREA: &str = "training";
type Failure = Box<dyn std::error::Error>;

#[test]
fn evaluations_give_the_recorded_numbers() {
    let cases = golden::json(AREA, "eval.json");
    let cases = cases.as_array().unwrap();
    let tokenizer = WordTokenizer::of_all_caches();
    let mut compared = 0;
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let reference = reference(case, cases);
        if reference.is_empty() {
            assert!(!case["error"].is_null(), "{name}");
            for (model, dataset) in pairs(case) {
                let outcome = evaluate(case, &model, dataset, &tokenizer, false);
                assert!(outcome.is_err(), "{name}: {outcome:?}");
                if model.is_file() {
                    let kept = evaluate(case, &model, dataset, &tokenizer, true).unwrap();
                    assert!(kept.num_skipped > 0 && kept.num_samples > 0, "{name}");
                }
            }
            continue;
        }
        for record in reference {
            let model = golden::area(AREA).join(record["Eval/model_path"].as_str().unwrap());
            if !model.is_file() {
                // Not all files of a directory are kept.
                continue;
            }
            let dataset = record["Eval/dataset"].as_str().unwrap();
            let results = evaluate(case, &model, dataset, &tokenizer, false)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let batch_size_differs = case["tracked"].as_array().unwrap().is_empty();
            compare(&results, record, batch_size_differs, name);
            compared += 1;
        }
    }
    assert!(compared > 0);
}

/// Records a case must reproduce. What the original fails at but the product
/// does is recorded by another case on the same models and data.
fn reference<'a>(case: &'a Value, cases: &'a [Value]) -> Vec<&'a Value> {
    fn tracked(case: &Value) -> &Vec<Value> {
        case["tracked"].as_array().unwrap()
    }
    if !tracked(case).is_empty() {
        return tracked(case).iter().collect();
    }
    if case.get("note").is_none() {
        return Vec::new();
    }
    let options = |case: &Value| -> Map<String, Value> {
        let mut options = case["options"].as_object().unwrap().clone();
        options.retain(|key, _| key != "batch_size" && key != "init_rezero_mode");
        options
    };
    let datasets = case["datasets"].as_array().unwrap();
    let same = |other: &&Value| {
        other["models"] == case["models"]
            && options(other) == options(case)
            && !tracked(other).is_empty()
    };
    cases
        .iter()
        .filter(same)
        .flat_map(tracked)
        .filter(|record| datasets.contains(&record["Eval/dataset"]))
        .take(datasets.len())
        .collect()
}

fn pairs(case: &Value) -> Vec<(PathBuf, &str)> {
    let outputs = golden::area(AREA).join("outputs");
    let datasets = case["datasets"].as_array().unwrap();
    (case["models"].as_array().unwrap().iter())
        .flat_map(|model| {
            let path = outputs.join(model.as_str().unwrap());
            let datasets = datasets.iter();
            datasets.map(move |dataset| (path.clone(), dataset.as_str().unwrap()))
        })
        .collect()
}

fn config(case: &Value) -> Config {
    let mut config = Config::default();
    let defaults = golden::json(AREA, "tiny_defaults.json");
    for flat in [&defaults, &case["options"]] {
        for (name, value) in flat.as_object().unwrap() {
            let key = key_by_flat_name(name).unwrap();
            config.set(key.path, value).unwrap();
        }
    }
    config
}

/// The original takes no loss keys from checkpoints.
fn given(key: &Key) -> bool {
    matches!(key.path, "model.num_end_loss" | "model.label_smoothing")
}

fn evaluate(
    case: &Value,
    model: &Path,
    dataset: &str,
    tokenizer: &WordTokenizer,
    skip_unknown: bool,
) -> Result<TokenResults, Failure> {
    let config = config(case);
    let model = TrainedDecoder::load(model, &config, given)?;
    let compact = model.target.compact.as_ref().unwrap();
    assert_eq!(compact.map.len(), tokenizer.constants.vocab_size);
    let file = CacheFile::inspect(golden::area(AREA).join("caches").join(dataset))?;
    let nouns = file.nouns().ok_or("no nouns")?.valid().to_vec();
    let wished = &config.target;
    let options = TargetOptions {
        with_start_token: wished.start_token,
        with_end_token: wished.end_token,
        compact_ids: wished.compact_ids,
        fixed_token_length: wished.fixed_length,
        auto_fixed_token_length: wished.auto_length,
        use_masks: wished.masks,
    };
    let data_target = TargetConfig::build(tokenizer, &nouns, &options.for_decoder().0)?;
    let (nominal, strict) = file.nominal();
    let request = DataRequest {
        use_weights: wished.weights,
        multi_target: wished.multi,
        multi_first: wished.multi_first,
        fixed_multi_length: wished.fixed_multi,
        ..DataRequest::default()
    };
    let data = DataConfig::resolve(&nominal, &strict, &request, true)?;
    let mut translation = Translation::new(&data_target, &model.target)?;
    if skip_unknown {
        translation = translation.leaving_out_unknown();
    }
    let cache = file.enter(Some(&data_target), Some(&translation))?;
    let mode = LoaderMode::Evaluation;
    let info = LoaderInfo::new(cache.len(), config.data.batch_size, mode, 0)?;
    let loader = Loader::new(Arc::new(cache), data, info, 1);
    let guide = if config.eval.guided {
        Some(EncodedNouns::new(&model.target, tokenizer, &nouns)?.trie()?)
    } else {
        None
    };
    let evaluation = TokenEvaluation {
        subject: &model.subject,
        guide: guide.as_ref(),
        dropout_seed: config.eval.train_mode.then_some(1),
        num_end_loss: model.config.model.num_end_loss,
        leaves_out_absent: skip_unknown,
    };
    Ok(evaluation.run(&loader, &data_target, |_| true)?.0)
}

fn compare(results: &TokenResults, record: &Value, batch_size_differs: bool, case: &str) {
    let metrics = results.metrics();
    let record = record.as_object().unwrap();
    let texts = [
        "dataset",
        "model_path",
        "model_dir",
        "model_name",
        "elapsed_time",
    ];
    assert_eq!(metrics.len() + texts.len(), record.len(), "{case}");
    for (name, own) in metrics {
        let recorded = &record[&format!("Eval/{name}")];
        let what = format!("{case}: {name}");
        let expected = match recorded.as_str() {
            Some(text) => text.parse().unwrap(),
            None => recorded.as_f64().unwrap(),
        };
        let allowed = match name.as_str() {
            "loss" => 1e-5 * expected.abs(),
            "num_batches" if batch_size_differs => f64::INFINITY,
            top1 if top1.contains("top1") => 1e-4,
            _ => 0.0,
        };
        let same = own.is_nan() && expected.is_nan() || (own - expected).abs() <= allowed;
        assert!(same, "{what}: {own} instead of {expected}");
    }
}

/// The stand-in tokenizer: pad, end, start, then all words in order.
struct WordTokenizer {
    constants: TokenizerConstants,
    words: Vec<String>,
}

impl WordTokenizer {
    const FIRST: usize = 3;

    fn of_all_caches() -> Self {
        let mut words = BTreeSet::new();
        let folder = golden::area(AREA).join("caches");
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = CacheFile::inspect(entry.unwrap().path()).unwrap();
            for noun in file.nouns().unwrap().valid() {
                words.extend(noun.split_whitespace().map(str::to_owned));
            }
        }
        let words: Vec<String> = words.into_iter().collect();
        Self {
            constants: TokenizerConstants {
                context_length: 16,
                vocab_size: words.len() + Self::FIRST,
                start_id: Some(2),
                end_id: 1,
                pad_id: 0,
                dtype: TokenDtype::I64,
            },
            words,
        }
    }
}

impl TextTokenizer for WordTokenizer {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        _max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let id = |word: &str| {
            let place = self.words.iter().position(|known| known == word);
            (place.unwrap() + Self::FIRST) as i64
        };
        let encode = |text: &&str| {
            let mut ids = vec![2];
            ids.extend(text.split_whitespace().map(id));
            ids.push(1);
            ids
        };
        Ok(texts.iter().map(encode).collect())
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let word = |&id: &i64| self.words.get((id as usize).checked_sub(Self::FIRST)?);
        let words: Vec<&str> = ids.iter().filter_map(word).map(String::as_str).collect();
        Ok(words.join(" "))
    }
}
