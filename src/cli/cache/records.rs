//! `novic cache head` and `novic cache sample`: some rows as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{failed, open};
use crate::cache::Cache;
use crate::random::{Draws, Purpose};

/// Elements of an embedding that are shown.
const ELEMENTS: usize = 6;

/// Show the first rows of a cache
///
///   novic cache head cache.bin -n 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct HeadArgs {
    /// Embedding cache
    file: PathBuf,
    /// How many
    #[arg(short, default_value_t = 10, value_name = "N")]
    n: u64,
    /// First row
    #[arg(long, default_value_t = 0, value_name = "ROW")]
    from: u64,
    /// Print JSON, with whole embeddings
    #[arg(long)]
    json: bool,
}

/// Show rows of a cache that are drawn at random
///
///   novic cache sample cache.bin -n 20 --seed 2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SampleArgs {
    /// Embedding cache
    file: PathBuf,
    /// How many
    #[arg(short, default_value_t = 10, value_name = "N")]
    n: u64,
    /// Seed of the choice
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// Print JSON, with whole embeddings
    #[arg(long)]
    json: bool,
}

pub(super) fn head(args: &HeadArgs) -> Result<Exit, CliError> {
    let cache = open(&args.file)?;
    let end = args.from.saturating_add(args.n).min(cache.len());
    show(&cache, args.from..end, args.json)
}

pub(super) fn sample(args: &SampleArgs) -> Result<Exit, CliError> {
    let cache = open(&args.file)?;
    let mut draws = Draws::new(Purpose::Shown, args.seed, 0);
    let mut rows = std::collections::BTreeSet::new();
    while (rows.len() as u64) < args.n.min(cache.len()) {
        rows.insert(draws.below(cache.len()));
    }
    show(&cache, rows, args.json)
}

fn show(
    cache: &Cache,
    rows: impl IntoIterator<Item = u64>,
    as_json: bool,
) -> Result<Exit, CliError> {
    let (mut text, mut objects) = (String::new(), Vec::new());
    for row in rows {
        let samples = cache.samples(row, row + 1).map_err(failed)?;
        let embed = samples.embeds.into_f32();
        let norm = embed
            .iter()
            .map(|&x| f64::from(x).powi(2))
            .sum::<f64>()
            .sqrt();
        let ids = samples.target_ids.unwrap_or_default();
        let weights = samples
            .weights
            .map_or(Vec::new(), |weights| weights.into_f32());
        let targets: Vec<(&str, f32)> = ids
            .iter()
            .zip(weights)
            .filter(|(id, _)| **id != 0)
            .map(|(&id, weight)| (cache.nouns().and_then(|n| n.noun(id)).unwrap_or(""), weight))
            .collect();
        if as_json {
            let targets: Vec<Value> = targets
                .iter()
                .map(|(noun, weight)| json!({"noun": noun, "weight": weight}))
                .collect();
            objects.push(json!({"row": row, "targets": targets, "norm": norm, "embedding": embed}));
            continue;
        }
        let targets: Vec<String> = targets
            .iter()
            .map(|(noun, weight)| match *weight {
                1.0 => (*noun).to_owned(),
                weight => format!("{noun} ({weight:.3})"),
            })
            .collect();
        let shown: Vec<String> = embed
            .iter()
            .take(ELEMENTS)
            .map(|element| format!("{element:.4}"))
            .collect();
        let _ = writeln!(
            text,
            "{row:>10}  [{}, …] norm {norm:.6}  {}",
            shown.join(", "),
            targets.join(" + ")
        );
    }
    if as_json {
        print(&format!("{:#}\n", json!(objects)))
    } else {
        print(&text)
    }
}
