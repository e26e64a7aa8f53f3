//! `novic cache info`: what a cache holds.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{embedder, failed};
use crate::cache::header::{Header, Section};
use crate::cache::{CacheFile, OpenOptions};

/// Nouns that are shown.
const NOUNS: usize = 12;

/// Show what a cache holds: header, sections, nouns
///
/// Reads the header and the nouns only, however large the file is.
///
///   novic cache info cache.bin
///   novic cache info cache.bin --embedder openclip:timm/ViT-B-16-SigLIP
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct InfoArgs {
    /// Embedding cache
    file: PathBuf,
    /// Say whether this embedder could have written it
    #[arg(long, value_name = "SPEC")]
    embedder: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn info(args: &InfoArgs) -> Result<Exit, CliError> {
    let file = CacheFile::open_any(&args.file, OpenOptions::default()).map_err(failed)?;
    let header = file.header();
    let matches = match &args.embedder {
        None => None,
        Some(spec) => Some(embedder(spec)?.1.accepts(header.embedder_hash)),
    };
    let nouns = file.nouns().map_or(&[][..], |nouns| nouns.valid());
    if args.json {
        let object = to_json(&args.file, header, nouns, matches);
        return print(&format!("{object:#}\n"));
    }
    let mut text = format!("{}\n", args.file.display());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<16} {value}");
    };
    line("format", format!("version {}", header.version));
    line("bytes", header.layout().total_size().to_string());
    line("samples", header.embed_num.to_string());
    line(
        "embeddings",
        format!("{} × {:?}", header.embed_dim, header.embed_dtype),
    );
    if header.use_targets {
        line("nouns", nouns.len().to_string());
        line(
            "targets",
            format!("up to {} per sample", header.embed_targets_dim),
        );
        line(
            "tokens",
            format!("{} × {:?}", header.target_dim, header.target_dtype),
        );
    } else {
        line("targets", "none".to_owned());
    }
    let flags = flags(header).into_iter().filter(|(_, set)| *set);
    line(
        "flags",
        flags.map(|(name, _)| name).collect::<Vec<_>>().join(", "),
    );
    if header.embedder_strict {
        line("embedder hash", header.embedder_hash.to_string());
        line("target hash", header.target_config_hash.to_string());
    }
    if let Some(matches) = matches {
        let answer = if matches {
            "could have written it"
        } else {
            "did not write it"
        };
        line("this embedder", answer.to_owned());
    }
    text.push_str("\nsection                   at        bytes\n");
    for (name, section) in sections(header) {
        let _ = writeln!(
            text,
            "  {name:<14} {:>12} {:>12}",
            section.offset,
            section.size()
        );
    }
    if !nouns.is_empty() {
        let shown = &nouns[..nouns.len().min(NOUNS)];
        let more = if shown.len() < nouns.len() {
            ", …"
        } else {
            ""
        };
        let _ = writeln!(text, "\nnouns: {}{more}", shown.join(", "));
    }
    print(&text)
}

fn flags(header: &Header) -> [(&'static str, bool); 5] {
    [
        ("targets", header.use_targets),
        ("full", header.full_targets),
        ("default weights", header.default_weights),
        ("unit weights", header.unit_weights),
        ("strict", header.embedder_strict),
    ]
}

fn sections(header: &Header) -> [(&'static str, Section); 6] {
    let layout = header.layout();
    [
        ("nouns", layout.nouns),
        ("tokens", layout.tokens),
        ("masks", layout.masks),
        ("target ids", layout.target_ids),
        ("weights", layout.weights),
        ("embeddings", layout.embeds),
    ]
}

fn to_json(
    path: &std::path::Path,
    header: &Header,
    nouns: &[String],
    matches: Option<bool>,
) -> Value {
    let flags = flags(header)
        .into_iter()
        .map(|(name, set)| (name.replace(' ', "_"), json!(set)));
    let sections = sections(header).into_iter().map(|(name, section)| {
        let value =
            json!({"offset": section.offset, "stride": section.stride, "rows": section.rows});
        (name.replace(' ', "_"), value)
    });
    json!({
        "file": path,
        "version": header.version,
        "bytes": header.layout().total_size(),
        "samples": header.embed_num,
        "dim": header.embed_dim,
        "dtype": format!("{:?}", header.embed_dtype),
        "nouns": nouns,
        "targets": header.embed_targets_dim,
        "token_length": header.target_dim,
        "token_dtype": format!("{:?}", header.target_dtype),
        "flags": Value::Object(flags.collect()),
        "embedder_hash": header.embedder_hash.to_string(),
        "target_config_hash": header.target_config_hash.to_string(),
        "embedder_matches": matches,
        "sections": Value::Object(sections.collect()),
    })
}
