//! Decoding throughput of a decoder with random weights, guided over a whole
//! vocabulary of random nouns.
//!
//! `cargo bench --bench decoding -- [hidden=256] [layers=3] [heads=8] [dim=384]
//! [vocab=3000] [nouns=5000] [columns=6] [samples=64] [rounds=5] [save=FILE]
//! [gencfg ...]`
//!
//! `save=FILE` leaves model, nouns, embeddings and scores for
//! `benches/peers/decoding.py`, which decodes the same as the original does.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use novic::config::schema::Config;
use novic::decoder::generate::{END, GenerationConfig, Generator, NounTrie};
use novic::decoder::{Decoder, Dimensions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

const DEFAULT_CONFIGS: [&str; 5] = [
    "greedy_k1_gp",
    "beam_k10_gp",
    "beam_k10_gr",
    "beam_k10_gn",
    "all_k10_gp",
];

fn main() {
    let mut config = Config::default();
    config.model.hidden_dim = 256;
    config.model.layers = 3;
    let mut dimensions = Dimensions {
        embed_dim: 384,
        vocab_size: 3000,
        token_length: 6,
    };
    let (mut nouns, mut samples, mut rounds) = (5000, 64, 5);
    let mut names = Vec::new();
    let mut save = None;
    for argument in std::env::args().skip(1) {
        let Some((name, value)) = argument.split_once('=') else {
            names.extend(argument.contains('_').then_some(argument));
            continue;
        };
        if name == "save" {
            save = Some(value.to_owned());
            continue;
        }
        let value: usize = value.parse().expect("a number");
        match name {
            "hidden" => config.model.hidden_dim = value,
            "layers" => config.model.layers = value,
            "heads" => config.model.heads = value,
            "dim" => dimensions.embed_dim = value,
            "vocab" => dimensions.vocab_size = value,
            "columns" => dimensions.token_length = value,
            "nouns" => nouns = value,
            "samples" => samples = value,
            "rounds" => rounds = value,
            _ => panic!("unknown size {name}"),
        }
    }
    if names.is_empty() {
        names.extend(DEFAULT_CONFIGS.map(str::to_owned));
    }

    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut drawn = HashSet::new();
    while drawn.len() < nouns {
        let length = random.random_range(1..dimensions.token_length);
        let mut noun: Vec<u32> = (0..length)
            .map(|_| random.random_range(1..dimensions.vocab_size as u32))
            .collect();
        noun.push(END);
        drawn.insert(noun);
    }
    let mut list: Vec<Vec<u32>> = drawn.into_iter().collect();
    list.sort();
    let begun = Instant::now();
    let trie = NounTrie::new(&list).expect("a trie");
    println!(
        "hidden {} · layers {} · F {} · V {} · {} nouns, {} nodes, trie built in {:.0} ms · batch {samples} · {} threads",
        config.model.hidden_dim,
        config.model.layers,
        dimensions.embed_dim,
        dimensions.vocab_size,
        trie.len(),
        trie.node_count(),
        begun.elapsed().as_secs_f64() * 1e3,
        rayon::current_num_threads()
    );

    let decoder = Decoder::new(&config.model, dimensions, 1).expect("a decoder");
    let embeds: Vec<f32> = (0..samples * dimensions.embed_dim)
        .map(|_| random.random::<f32>() - 0.5)
        .collect();
    let shape = (samples, dimensions.embed_dim);
    let embeds = Tensor::from_vec(embeds, shape, &Device::Cpu).expect("embeddings");
    let mut saved = Saved::default();
    for name in names {
        let config: GenerationConfig = name.parse().expect("a generation configuration");
        let generator =
            Generator::new(&decoder, config, Some(&trie), Some(&trie)).expect("a generator");
        let found = generator.generate(&embeds).expect("nouns");
        let begun = Instant::now();
        for _ in 0..rounds {
            generator.generate(&embeds).expect("nouns");
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{config:>30} {:8.0} embeddings/s {:8.2} ms per batch",
            (rounds * samples) as f64 / seconds,
            seconds * 1e3 / rounds as f64
        );
        let scores = found.iter().flat_map(|found| {
            let scores = found.iter().map(|hypothesis| hypothesis.score as f32);
            scores
                .chain(std::iter::repeat(f32::NEG_INFINITY))
                .take(config.topk)
        });
        let shape = (samples, config.topk);
        let scores = Tensor::from_vec(scores.collect(), shape, &Device::Cpu).expect("scores");
        saved.results.push((name, scores, seconds / rounds as f64));
    }
    if let Some(path) = save {
        let columns = dimensions.token_length;
        let rows: Vec<i64> = list
            .iter()
            .flat_map(|noun| {
                let ids = noun.iter().map(|&id| i64::from(id));
                ids.chain(std::iter::repeat(0)).take(columns)
            })
            .collect();
        let shape = (list.len(), columns);
        let nouns = Tensor::from_vec(rows, shape, &Device::Cpu).expect("nouns");
        saved.tensors.push(("embeds".to_owned(), embeds));
        saved.tensors.push(("nouns".to_owned(), nouns));
        saved.tensors.extend(decoder.state_dict().expect("weights"));
        saved.meta = json!({
            "hidden": config.model.hidden_dim,
            "layers": config.model.layers,
            "heads": config.model.heads,
            "prefix": config.model.prefix_len,
            "columns": columns,
            "threads": rayon::current_num_threads(),
        });
        saved.write(&path);
    }
}

/// What the peer reads.
#[derive(Default)]
struct Saved {
    meta: serde_json::Value,
    tensors: Vec<(String, Tensor)>,
    /// Name, scores `[B, K]`, seconds per batch.
    results: Vec<(String, Tensor, f64)>,
}

impl Saved {
    fn write(mut self, path: &str) {
        let names: Vec<&String> = self.results.iter().map(|result| &result.0).collect();
        let seconds: HashMap<&String, f64> = self
            .results
            .iter()
            .map(|result| (&result.0, result.2))
            .collect();
        self.meta["results"] = json!(names);
        self.meta["seconds"] = json!(seconds);
        let results = self.results.iter();
        let results = results.map(|(name, scores, _)| (format!("result.{name}"), scores.clone()));
        let bytes: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .cloned()
            .chain(results)
            .map(|(name, tensor)| {
                let shape = tensor.dims().to_vec();
                let flat = tensor.flatten_all().expect("a tensor");
                match tensor.dtype() {
                    DType::I64 => {
                        let values: Vec<i64> = flat.to_vec1().expect("integers");
                        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                        (name, Dtype::I64, shape, bytes.collect())
                    }
                    _ => {
                        let values: Vec<f32> = flat.to_vec1().expect("numbers");
                        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                        (name, Dtype::F32, shape, bytes.collect())
                    }
                }
            })
            .collect();
        let views = bytes.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor");
            (name.as_str(), view)
        });
        let metadata = HashMap::from([("decoding".to_owned(), self.meta.to_string())]);
        safetensors::serialize_to_file(views, Some(metadata), path.as_ref()).expect("a file");
    }
}
