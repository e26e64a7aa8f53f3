//! `forward.json` and `grads.safetensors`: logits, padding, loss, accuracy and
//! gradients, by the fused kernels and by composed operations.

use candle_core::{Device, Tensor};
use novic::cache::batch::{TargetBatch, TargetLayout};
use novic::decoder::generate::{END, NounTrie};
use novic::decoder::{
    Autocast, ComposedOptions, Decoder, DropoutSites, Forward, ForwardOptions, Loss, LossConfig,
};
use serde_json::Value;

use super::models::{self, GoldenModel, list, size, text};
use super::tensors::{TensorFile, assert_absolute, assert_relative, number};
use crate::{device, golden};

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

    fn loss(&self) -> LossConfig {
        LossConfig {
            num_end_loss: size(&self.entry["num_end_loss"]),
            label_smoothing: number(&self.entry["label_smoothing"]),
        }
    }

    fn only_last_column(&self) -> bool {
        self.entry["only_pred"].as_bool().unwrap()
    }

    fn fused(&self, decoder: &Decoder, gradients: bool) -> Outcome {
        let trie = self.guide.as_ref().map(|table| trie(table));
        let options = ForwardOptions {
            loss: self.loss(),
            only_last_column: self.only_last_column(),
            guide: trie.as_ref(),
            gradients,
            ..ForwardOptions::default()
        };
        let forward: Forward = (decoder.forward(&self.embeds, &self.batch, options)).unwrap();
        Outcome {
            padding: forward.padding.clone(),
            places: forward.places.clone(),
            logits: forward.logits().unwrap().to_vec2().unwrap(),
            loss: forward.loss,
            correct: Some(forward.correct.clone()),
            gradients: {
                let basis = forward.loss.basis;
                let gradients = forward.backward(1.0 / basis).unwrap().into_iter();
                gradients.map(|g| g.map(|g| g.to_vec())).collect()
            },
        }
    }

    fn composed(&self, decoder: &Decoder, gradients: bool, autocast: Autocast) -> Outcome {
        let decoder = decoder.to_device(&device::device()).unwrap();
        let options = ComposedOptions {
            loss: self.loss(),
            only_last_column: self.only_last_column(),
            gradients,
            autocast,
            ..ComposedOptions::default()
        };
        let forward = decoder.forward_composed(&self.embeds, &self.batch, options);
        let forward = forward.unwrap();
        let right = forward.correct.to_vec1::<u8>().unwrap();
        let mut correct = vec![false; forward.padding.len()];
        for (&place, right) in forward.places.iter().zip(right) {
            correct[place as usize] = right == 1;
        }
        let count: f64 = forward.correct_count().unwrap().to_scalar().unwrap();
        Outcome {
            padding: forward.padding.clone(),
            places: forward.places.clone(),
            logits: (forward.logits()).map_or(Vec::new(), |logits| logits.to_vec2().unwrap()),
            loss: Loss {
                sum: forward.loss_sum.to_scalar().unwrap(),
                basis: forward.basis,
                tokens: forward.tokens(),
                correct: count as usize,
            },
            // A guide is for evaluation, which has the fused kernels.
            correct: self.guide.is_none().then_some(correct),
            gradients: {
                let basis = forward.basis;
                let gradients = forward.backward(1.0 / basis).unwrap().into_iter();
                let values = |g: Tensor| g.flatten_all().unwrap().to_vec1().unwrap();
                gradients.map(|g| g.map(values)).collect()
            },
        }
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

/// What a forward pass gives, on the host.
struct Outcome {
    padding: Vec<bool>,
    places: Vec<u32>,
    logits: Vec<Vec<f32>>,
    loss: Loss,
    /// Absent where it is not computed.
    correct: Option<Vec<bool>>,
    /// Of the mean loss.
    gradients: Vec<Option<Vec<f32>>>,
}

#[test]
fn logits_loss_padding_and_accuracy() {
    compare_results(0.0, |case, model| case.fused(&model.decoder, false));
}

#[test]
fn composed_operations_give_the_same() {
    // Losses are of f64 here. Those of the reference are of f32: where they are
    // small, the logarithm of a number next to 1 is off by up to twice the
    // distance of numbers there.
    let slack = 2.0 * f64::from(f32::EPSILON);
    compare_results(slack, |case, model| {
        case.composed(&model.decoder, false, Autocast::Off)
    });
}

/// `slack` is what the loss of a position may differ by beside its tolerance.
fn compare_results(slack: f64, run: impl Fn(&Case<'_>, &GoldenModel) -> Outcome) {
    let models = models::by_name();
    let file = TensorFile::open("forward.safetensors");
    for entry in list(&golden::json("decoder", "forward.json")) {
        let case = Case::new(entry, &file);
        let id = case.id;
        let result = run(&case, &models[text(&entry["model"])]);
        let get = |name: &str| file.get(&format!("{id}/{name}"));
        if let Some(padding) = get("out_padding") {
            assert_eq!(result.padding, padding.mask(), "{id}");
        }
        if let Some(logits) = get("logits") {
            let width = *logits.shape.last().unwrap();
            assert_eq!(result.logits.len(), result.places.len(), "{id}");
            for (row, &place) in result.logits.iter().zip(&result.places) {
                let start = place as usize * width;
                for (&found, &expected) in row.iter().zip(&logits.values[start..start + width]) {
                    assert_absolute(f64::from(found), expected, 1e-4, id);
                }
            }
        }
        if entry["loss_sum"].is_null() {
            continue;
        }
        let expected = number(&entry["loss_sum"]);
        let allowed = 1e-5 * expected.abs() + slack * result.loss.tokens as f64;
        assert_absolute(result.loss.sum, expected, allowed, id);
        assert_relative(result.loss.basis, number(&entry["loss_basis"]), 1e-5, id);
        let expected = number(&entry["mean_loss"]);
        let allowed = 1e-5 * expected.abs() + slack;
        assert_absolute(result.loss.mean(), expected, allowed, id);
        assert_eq!(result.loss.tokens, size(&entry["tokens"]), "{id}");
        let Some(correct) = result.correct else {
            continue;
        };
        let expected: Vec<bool> = get("correct")
            .unwrap()
            .mask()
            .into_iter()
            .enumerate()
            .map(|(place, correct)| correct && case.possible(place))
            .collect();
        assert_eq!(correct, expected, "{id}");
        let count = expected.iter().filter(|&&c| c).count();
        assert_eq!(result.loss.correct, count, "{id}");
        if case.guide.is_none() {
            assert_eq!(count, size(&entry["correct"]), "{id}");
        }
    }
}

#[test]
fn gradients_of_the_mean_loss() {
    compare_gradients(|case, model| case.fused(&model.decoder, true));
}

#[test]
fn composed_gradients_of_the_mean_loss() {
    compare_gradients(|case, model| case.composed(&model.decoder, true, Autocast::Off));
}

/// The rounding of matrix products is all that differs under autocast.
#[test]
fn autocast_rounds_losses_and_gradients() {
    let models = models::by_name();
    let file = TensorFile::open("forward.safetensors");
    let entries = golden::json("decoder", "forward.json");
    let entries = list(&entries).iter();
    for entry in entries.filter(|entry| !entry["grad_norm"].is_null()) {
        let case = Case::new(entry, &file);
        let decoder = &models[text(&entry["model"])].decoder;
        for (autocast, tolerance) in [(Autocast::Half, 1e-2), (Autocast::Brain, 8e-2)] {
            let result = case.composed(decoder, true, autocast);
            let expected = number(&entry["mean_loss"]);
            assert_relative(result.loss.mean(), expected, tolerance, case.id);
            let squares = result.gradients.iter().flatten().flatten();
            let norm = squares.map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let expected = number(&entry["grad_norm"]);
            assert_relative(norm, expected, 5.0 * tolerance, case.id);
            assert_ne!(norm, expected, "{}: nothing was rounded", case.id);
        }
    }
}

/// On the CPU the masks are those of the fused kernels, site by site.
#[test]
fn composed_dropout_keeps_the_expected_share() {
    let models = models::by_name();
    let file = TensorFile::open("forward.safetensors");
    let entries = golden::json("decoder", "forward.json");
    let entry = (list(&entries).iter())
        .find(|entry| !entry["grad_norm"].is_null())
        .unwrap();
    let case = Case::new(entry, &file);
    let decoder = &models[text(&entry["model"])].decoder;
    let decoder = decoder.to_device(&device::device()).unwrap();
    let loss = |factor: f64, batch: u64| {
        let options = ComposedOptions {
            loss: case.loss(),
            dropout: Some(DropoutSites::new(7, 1, batch, factor)),
            ..ComposedOptions::default()
        };
        let forward = decoder.forward_composed(&case.embeds, &case.batch, options);
        forward.unwrap().loss_sum.to_scalar::<f64>().unwrap()
    };
    let without = loss(0.0, 1);
    assert_relative(without, number(&entry["loss_sum"]), 1e-5, case.id);
    assert_ne!(loss(1.0, 1), without);
    assert_ne!(loss(1.0, 1), loss(1.0, 2));
    if device::device().is_cpu() {
        assert_eq!(loss(1.0, 1), loss(1.0, 1));
    }
}

fn compare_gradients(run: impl Fn(&Case<'_>, &GoldenModel) -> Outcome) {
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
        let gradients = run(&case, model).gradients;
        let mut square = 0.0;
        let named = model.decoder.named_parameters().into_iter();
        for ((name, var), gradient) in named.zip(&gradients) {
            let found = match gradient {
                Some(gradient) => gradient.clone(),
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
