//! Gradients are the same, bit for bit, for every number of threads and in
//! memory that was used before.

use candle_core::{Device, Tensor};
use novic::cache::batch::{TargetBatch, TargetLayout};
use novic::config::schema::Model;
use novic::decoder::{Decoder, Dimensions, DropoutSites, ForwardOptions};

const SAMPLES: usize = 48;
const TARGETS: usize = 3;
const COLUMNS: usize = 5;
const DIM: usize = 96;
const VOCAB: u32 = 700;

fn decoder() -> Decoder {
    let config = Model {
        hidden_dim: 128,
        layers: 2,
        heads: 4,
        layer_bias: true,
        logits_bias: true,
        ..Model::default()
    };
    let dimensions = Dimensions {
        embed_dim: DIM,
        vocab_size: VOCAB as usize,
        token_length: COLUMNS,
    };
    Decoder::new(&config, dimensions, 5).unwrap()
}

fn batch() -> TargetBatch {
    let rows = SAMPLES * TARGETS;
    let length = |row: usize| 1 + row * 7 % (COLUMNS - 1);
    let places = || (0..rows).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)));
    let token = |(row, column): (usize, usize)| {
        let id = 1 + (row * 31 + column * 97) as u32 % (VOCAB - 1);
        if column < length(row) { id } else { 0 }
    };
    TargetBatch {
        layout: TargetLayout::Multi { targets: TARGETS },
        columns: COLUMNS,
        ids: places().map(token).collect(),
        padding: Some(places().map(|(row, column)| column > length(row)).collect()),
        weights: Some((0..rows).map(|row| (row % 4) as f32 * 0.5).collect()),
    }
}

/// Bits of the gradients of one batch.
fn gradients(decoder: &Decoder, threads: usize) -> Vec<Vec<u32>> {
    let values = (0..SAMPLES * DIM)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let embeds = Tensor::from_vec(values, (SAMPLES, DIM), &Device::Cpu).unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let options = ForwardOptions {
            loss: decoder.loss_config(),
            gradients: true,
            dropout: Some(DropoutSites::new(1, 1, 1, 1.0)),
            ..ForwardOptions::default()
        };
        let forward = decoder.forward(&embeds, &batch(), options).unwrap();
        assert!(forward.loss.tokens > 300);
        let gradients = forward.backward(0.01).unwrap();
        let bits = |gradient: &[f32]| gradient.iter().map(|v| v.to_bits()).collect();
        gradients
            .iter()
            .map(|gradient| bits(gradient.as_deref().unwrap_or_default()))
            .collect()
    })
}

#[test]
fn gradients_do_not_depend_on_threads_or_used_memory() {
    let decoder = decoder();
    let first = gradients(&decoder, 1);
    assert!(first.iter().all(|gradient| !gradient.is_empty()));
    for threads in [1, 2, 3] {
        assert!(
            gradients(&decoder, threads) == first,
            "{threads} threads give other gradients"
        );
    }
}
