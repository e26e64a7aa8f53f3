//! `novic cache diff`: how two caches differ.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{failed, open};
use crate::cache::header::Header;
use crate::cache::{Cache, row_hashes};

/// Show how two caches differ: header, nouns, rows
///
/// Rows are compared by their embeddings and targets, in place and as sets:
/// two shuffled caches of the same samples have the same rows in another
/// order. Exit code 1 if they differ.
///
///   novic cache diff a.bin b.bin
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DiffArgs {
    /// An embedding cache
    first: PathBuf,
    /// Another one
    second: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn diff(args: &DiffArgs) -> Result<Exit, CliError> {
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    let fields: Vec<(&str, String, String)> = fields(first.header())
        .into_iter()
        .zip(fields(second.header()))
        .filter(|((_, a), (_, b))| a != b)
        .map(|((name, a), (_, b))| (name, a, b))
        .collect();
    let nouns = |cache: &Cache| {
        cache
            .nouns()
            .map_or(Vec::new(), |nouns| nouns.valid().to_vec())
    };
    let (nouns_a, nouns_b) = (nouns(&first), nouns(&second));
    let (only_a, only_b) = (missing(&nouns_a, &nouns_b), missing(&nouns_b, &nouns_a));
    let (mut rows_a, mut rows_b) = (
        row_hashes(&first).map_err(failed)?,
        row_hashes(&second).map_err(failed)?,
    );
    let moved = rows_a.iter().zip(&rows_b).filter(|(a, b)| a != b).count();
    rows_a.sort_unstable();
    rows_b.sort_unstable();
    let common = common(&rows_a, &rows_b);
    let same =
        fields.is_empty() && nouns_a == nouns_b && moved == 0 && rows_a.len() == rows_b.len();
    let exit = if same { Exit::Success } else { Exit::Failed };
    if args.json {
        let fields = fields
            .into_iter()
            .map(|(name, a, b)| (name.to_owned(), json!([a, b])));
        print(&format!(
            "{:#}\n",
            json!({
                "same": same,
                "header": Value::Object(fields.collect()),
                "nouns_only_in_first": only_a,
                "nouns_only_in_second": only_b,
                "same_noun_order": nouns_a == nouns_b,
                "rows": [rows_a.len(), rows_b.len()],
                "rows_in_both": common,
                "rows_that_differ_in_place": moved,
            })
        ))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for (name, a, b) in fields {
        let _ = writeln!(text, "{name:<20} {a}  →  {b}");
    }
    for (sign, nouns) in [('-', &only_a), ('+', &only_b)] {
        for noun in nouns.iter().take(20) {
            let _ = writeln!(text, "{sign} noun {noun}");
        }
        if nouns.len() > 20 {
            let _ = writeln!(text, "{sign} and {} more", nouns.len() - 20);
        }
    }
    let _ = writeln!(
        text,
        "{} and {} rows, {common} in both, {moved} differ in place",
        rows_a.len(),
        rows_b.len()
    );
    print(&text)?;
    Ok(exit)
}

fn fields(header: &Header) -> Vec<(&'static str, String)> {
    vec![
        ("version", header.version.to_string()),
        ("samples", header.embed_num.to_string()),
        (
            "embedding",
            format!("{} × {:?}", header.embed_dim, header.embed_dtype),
        ),
        ("targets", header.embed_targets_dim.to_string()),
        ("nouns", header.target_nouns_num.to_string()),
        (
            "tokens",
            format!("{} × {:?}", header.target_dim, header.target_dtype),
        ),
        ("use_targets", header.use_targets.to_string()),
        ("full_targets", header.full_targets.to_string()),
        ("default_weights", header.default_weights.to_string()),
        ("unit_weights", header.unit_weights.to_string()),
        ("embedder_strict", header.embedder_strict.to_string()),
        ("embedder_hash", header.embedder_hash.to_string()),
        ("target_config_hash", header.target_config_hash.to_string()),
    ]
}

/// What the second list lacks of the first.
fn missing(first: &[String], second: &[String]) -> Vec<String> {
    let known: std::collections::HashSet<&String> = second.iter().collect();
    first
        .iter()
        .filter(|noun| !known.contains(noun))
        .cloned()
        .collect()
}

/// Number of elements that two sorted lists share.
fn common(first: &[u64], second: &[u64]) -> usize {
    let (mut a, mut b, mut count) = (0, 0, 0);
    while a < first.len() && b < second.len() {
        match first[a].cmp(&second[b]) {
            std::cmp::Ordering::Less => a += 1,
            std::cmp::Ordering::Greater => b += 1,
            std::cmp::Ordering::Equal => {
                a += 1;
                b += 1;
                count += 1;
            }
        }
    }
    count
}
