//! `forward.json` and `grads.safetensors`: logits, padding, loss, accuracy and
//! gradients.

use candle_core::{Device, Tensor};
use novic::cache::batch::{TargetBatch, TargetLayout};
use novic::decoder::generate::{END, NounTrie};
use novic::decoder::{DecoderError, Forward, ForwardOptions, LossConfig};
use serde_json::Value;

use super::models::{self, GoldenModel, list, size, text};
use super::tensors::{TensorFile, assert_absolute, assert_relative, number};
use crate::golden;

/// Nouns of a table whose rows are padded with end tokens.
pub fn trie(table: &[Vec<u32>]) -> NounTrie {
    let nouns: Vec<&[u32]> = table
        .iter()
        .map(|row| {
            let end = row.iter().position(|&id| id == END).expect("an end token");
            &row[..=end]
        })
        .collect();
    NounTrie::new(&nouns).unwrap()
}

struct Case<'a> {
    id: &'a str,
    entry: &'a Value,
    embeds: Tensor,
    batch: TargetBatch,
    guide: Option<Vec<Vec<u32>>>,
}

impl<'a> Case<'a> {
    fn new(entry: &'a Value, file: &TensorFile) -> Self {
        let id = text(&entry["id"]);
        let embed = file.require(&format!("{id}/embed"));
        let get = |name: &str| file.get(&format!("{id}/{name}"));
        let target = get("target");
        let shape = target
            .as_ref()
            .map_or(vec![embed.shape[0], 1], |target| target.shape.clone());
        let layout = match (entry["multi"].as_str(), shape.as_slice()) {
            (Some("MBC"), &[targets, _, _]) => TargetLayout::MultiFirst { targets },
            (_, &[_, targets, _]) => TargetLayout::Multi { targets },
            _ => TargetLayout::Single,
        };
        let batch = TargetBatch {
            layout,
            columns: *shape.last().unwrap(),
            ids: target.map_or(vec![0; embed.shape[0]], |target| target.ids()),
            padding: get("padding").map(|padding| padding.mask()),
            weights: get("weight").map(|weight| weight.f32()),
        };
        Self {
            id,
            entry,
            embeds: Tensor::from_vec(embed.f32(), embed.shape.as_slice(), &Device::Cpu).unwrap(),
            batch,
            guide: get("guide").map(|guide| guide.rows()),
        }
    }

    fn run(&self, model: &GoldenModel, gradients: bool) -> Result<Forward, DecoderError> {
        let trie = self.guide.as_ref().map(|table| trie(table));
        model.decoder.forward(
            &self.embeds,
            &self.batch,
            ForwardOptions {
                loss: LossConfig {
                    num_end_loss: size(&self.entry["num_end_loss"]),
                    label_smoothing: number(&self.entry["label_smoothing"]),
                },
                only_last_column: self.entry["only_pred"].as_bool().unwrap(),
                guide: trie.as_ref(),
                gradients,
                ..ForwardOptions::default()
            },
        )
    }

    /// Whether the true prefix at a flat position is that of a guide noun: the
    /// reference counts an end token as right where it is not.
    fn possible(&self, place: usize) -> bool {
        let columns = self.batch.columns;
        let prefix = &self.batch.ids[place / columns * columns..place];
        let starts = |row: &Vec<u32>| row.starts_with(prefix);
        self.guide
            .as_ref()
            .is_none_or(|guide| guide.iter().any(starts))
    }
}

#[test]
fn logits_loss_padding_and_accuracy() {
    let models = models::by_name();
    let file = TensorFile::open("forward.safetensors");
    for entry in list(&golden::json("decoder", "forward.json")) {
        let case = Case::new(entry, &file);
        let id = case.id;
        let result = case.run(&models[text(&entry["model"])], false).unwrap();
        let get = |name: &str| file.get(&format!("{id}/{name}"));
        if let Some(padding) = get("out_padding") {
            assert_eq!(result.padding, padding.mask(), "{id}");
        }
        if let Some(logits) = get("logits") {
            let width = *logits.shape.last().unwrap();
            let found = result.logits().unwrap().to_vec2::<f32>().unwrap();
            for (row, &place) in found.iter().zip(&result.places) {
                let start = place as usize * width;
                for (&found, &expected) in row.iter().zip(&logits.values[start..start + width]) {
                    assert_absolute(f64::from(found), expected, 1e-4, id);
                }
            }
        }
        if entry["loss_sum"].is_null() {
            continue;
        }
        assert_relative(result.loss.sum, number(&entry["loss_sum"]), 1e-5, id);
        assert_relative(result.loss.basis, number(&entry["loss_basis"]), 1e-5, id);
        assert_relative(result.loss.mean(), number(&entry["mean_loss"]), 1e-5, id);
        assert_eq!(result.loss.tokens, size(&entry["tokens"]), "{id}");
        let expected: Vec<bool> = get("correct")
            .unwrap()
            .mask()
            .into_iter()
            .enumerate()
            .map(|(place, correct)| correct && case.possible(place))
            .collect();
        assert_eq!(result.correct, expected, "{id}");
        let count = expected.iter().filter(|&&c| c).count();
        assert_eq!(result.loss.correct, count, "{id}");
        if case.guide.is_none() {
            assert_eq!(count, size(&entry["correct"]), "{id}");
        }
    }
}

#[test]
fn gradients_of_the_mean_loss() {
    let models = models::by_name();
    let file = TensorFile::open("forward.safetensors");
    let expected = TensorFile::open("grads.safetensors");
    let names = expected.names();
    let mut compared = 0;
    for entry in list(&golden::json("decoder", "forward.json")) {
        if entry["grad_norm"].is_null() {
            continue;
        }
        let case = Case::new(entry, &file);
        let id = case.id;
        let model = &models[text(&entry["model"])];
        let result = case.run(model, true).unwrap();
        let basis = result.loss.basis;
        let gradients = result.backward(1.0 / basis).unwrap();
        let mut square = 0.0;
        let named = model.decoder.named_parameters().into_iter();
        for ((name, var), gradient) in named.zip(&gradients) {
            let found = match gradient {
                Some(gradient) => gradient.to_vec(),
                None => vec![0.0; var.as_tensor().elem_count()],
            };
            square += found.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            let name = format!("{id}/{name}");
            if !names.contains(&name) {
                continue;
            }
            let expected = expected.require(&name);
            assert_eq!(found.len(), expected.values.len(), "{name}");
            let largest = expected.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (&found, &expected) in found.iter().zip(&expected.values) {
                assert_absolute(f64::from(found), expected, 1e-4 * largest, &name);
            }
            compared += 1;
        }
        assert_relative(square.sqrt(), number(&entry["grad_norm"]), 1e-4, id);
    }
    assert_eq!(compared, names.len(), "every stored gradient is compared");
}
