//! Native checkpoints as files of the original and back.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde_json::json;

use super::*;
use crate::cache::{CompactIds, TargetConfig};
use crate::config::schema::{Checkpoint as CheckpointKeys, Config, Train};
use crate::decoder::checkpoint::FORMAT_VERSION;
use crate::decoder::{Decoder, Dimensions};
use crate::embedders::tokenizer::TokenDtype;
use crate::ops::tape::Buffer;
use crate::train::snapshot::{Position, Snapshot};
use crate::train::state::{LoopState, StoredLoopState};
use crate::train::{
    DataSize, Gradient, GradientSums, LoopConfig, Optimizer, OptimizerSettings, Schedule,
    ScheduleSettings, StopState,
};

/// A small training amid an optimizer step.
fn example() -> Checkpoint {
    let mut config = Config::default();
    config.model.hidden_dim = 8;
    config.model.layers = 1;
    config.model.heads = 2;
    config.train.gradient_clip = f64::INFINITY;
    config.train.lr.warmup_chunks = 3;
    let target = TargetConfig {
        vocab_size: 4,
        token_dtype: TokenDtype::I64,
        start_token_id: None,
        end_token_id: Some(0),
        pad_token_id: 0,
        compact: Some(CompactIds {
            map: vec![0, 0, -1, 1, 2, 3],
            unmap: vec![0, 3, 4, 5],
        }),
        fixed_token_length: false,
        token_length: 3,
        use_masks: true,
    };
    let dimensions = Dimensions {
        embed_dim: 6,
        vocab_size: 4,
        token_length: 3,
    };
    let decoder = Decoder::new(&config.model, dimensions, 1).unwrap();
    let named = decoder.named_parameters().into_iter();
    let parameters: Vec<(String, Tensor)> = named
        .map(|(name, parameter)| (name, parameter.as_tensor().clone()))
        .collect();
    let mut gradients = GradientSums::new(parameters.len());
    let ones = parameters.iter().map(|(_, tensor)| {
        let ones = tensor.ones_like().unwrap();
        Some(Gradient::Host(Buffer::of(&ones).unwrap()))
    });
    gradients.add(ones.collect()).unwrap();
    let settings = OptimizerSettings::from(&config.train.optimizer);
    let mut optimizer = Optimizer::new(parameters, settings).unwrap();
    optimizer.step(&gradients, 1.0, 0.1).unwrap();

    let train = Train {
        max_epochs: 0,
        max_chunks: 9,
        gradient_clip: config.train.gradient_clip,
        ..Train::default()
    };
    let data = DataSize {
        samples: 9000,
        valid_nouns: 3,
        batch_size: 512,
    };
    let loop_config = LoopConfig::new(&train, &CheckpointKeys::default(), data).unwrap();
    let rate = ScheduleSettings::from(&config.train.lr);
    let mut schedule = Schedule::new(&rate, 9, 1).unwrap();
    schedule.advance();
    let snapshot = Snapshot::take(
        loop_config,
        StoredLoopState::from(&LoopState::new(Some(2))),
        schedule,
        Position {
            epoch_place: 5,
            accumulated: 1,
            seconds: 1.5,
        },
        StopState {
            lowest: Some((0.25, 3)),
            stopped: false,
        },
        &optimizer,
        &gradients,
    )
    .unwrap();
    let mut tensors: HashMap<String, Tensor> = decoder.state_dict().unwrap().into_iter().collect();
    tensors.extend(snapshot.tensors().iter().cloned());
    let mut flat = config.flat();
    flat.insert("gradient_clip".to_owned(), json!("inf"));
    let mut header = CheckpointHeader {
        format_version: FORMAT_VERSION,
        program_version: "0.1.0".to_owned(),
        cfg_flat: flat,
        target_config: serde_json::to_value(&target).unwrap(),
        data_config: json!({
            "use_weights": false, "unit_weights": true, "multi_target": false,
            "multi_first": false, "full_targets": true, "fixed_multi_length": true,
            "multi_length": 1,
        }),
        target_nouns: ["", "oak", "fox", "red fox"].map(str::to_owned).to_vec(),
        num_invalid_target_nouns: 1,
        embedder: json!({"spec": "openclip:x", "identity": "abc"}),
        embed_dim: 6,
        training: Some(serde_json::to_value(snapshot.entry()).unwrap()),
        ..CheckpointHeader::default()
    };
    config.train.gradient_clip = 1.0;
    header.config = serde_json::to_value(&config).unwrap();
    header.extra.insert(RUN_DIR.to_owned(), json!("outputs/x"));
    Checkpoint { header, tensors }
}

fn bits(checkpoint: &Checkpoint, name: &str) -> Vec<u32> {
    let tensor = checkpoint.tensors[name].flatten_all().unwrap();
    let values = tensor.to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_native_checkpoint_comes_back_whole_from_the_originals_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.train");
    let saved = example();
    save(&path, &saved, Form::Original).unwrap();
    assert_eq!(Form::of_file(&path).unwrap(), Form::Original);
    verify(&path).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.header, saved.header);
    assert_eq!(load_header(&path).unwrap(), saved.header);
    assert_eq!(loaded.tensors.len(), saved.tensors.len());
    for name in saved.tensors.keys() {
        assert_eq!(bits(&loaded, name), bits(&saved, name), "{name}");
    }
    // What the original finds there.
    let archive = Archive::open(&path).unwrap();
    let value = archive.value(crate::pickle::Allow::Tensors).unwrap();
    let top = value.dict("top").unwrap();
    let flat = top.get("cfg_flat").unwrap().dict("cfg_flat").unwrap();
    let clip = flat.get("gradient_clip").unwrap();
    assert_eq!(clip.number("clip").unwrap(), f64::INFINITY);
    let warmup = top.get("scheduler_warmup_state_dict").unwrap();
    let warmup = warmup.dict("warm-up").unwrap();
    assert_eq!(
        warmup.get("total_iters"),
        Some(&crate::pickle::Value::Int(3))
    );
}

#[test]
fn weights_alone_have_no_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.model");
    let mut checkpoint = example();
    checkpoint.header.training = None;
    checkpoint.tensors = checkpoint.weights();
    save(&path, &checkpoint, Form::Original).unwrap();
    verify(&path).unwrap();
    assert!(load(&path).unwrap().header.training.is_none());
}

#[test]
fn newer_and_damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.train");
    let mut newer = example();
    newer.header.format_version = FORMAT_VERSION + 1;
    save(&path, &newer, Form::Original).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("newer program"), "{error}");

    let reason = |change: &dyn Fn(&mut Checkpoint), form| {
        let mut checkpoint = example();
        change(&mut checkpoint);
        save(&path, &checkpoint, form).unwrap();
        verify(&path).unwrap_err().to_string()
    };
    let nan = |checkpoint: &mut Checkpoint| {
        let zeros = Tensor::new(&[f32::NAN; 8], &Device::Cpu).unwrap();
        let name = "transformer.norm.weight".to_owned();
        checkpoint.tensors.insert(name, zeros);
    };
    let error = reason(&nan, Form::Native);
    assert!(error.contains("transformer.norm.weight"), "{error}");
    let less = |checkpoint: &mut Checkpoint| {
        checkpoint
            .tensors
            .remove("optimizer.exp_avg.transformer.norm.weight");
    };
    let error = reason(&less, Form::Native);
    assert!(error.contains("exp_avg"), "{error}");
    let structure = |checkpoint: &mut Checkpoint| {
        checkpoint.header.config["model"]["layers"] = json!(2);
    };
    let error = reason(&structure, Form::Native);
    assert!(error.contains("layers.1"), "{error}");
}
