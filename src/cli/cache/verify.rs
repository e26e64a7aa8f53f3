//! `novic cache verify`: whether a cache is sound.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{embedder, failed, open};
use crate::cache::{VerifyWith, repeated_rows};

/// Check caches: sizes, header, tables, and the rules of every row
///
/// Streams through the files at the speed of the disk. Exit code 1 if anything
/// is wrong.
///
///   novic cache verify cache.bin
///   novic cache verify *.bin --embedder openclip:timm/ViT-B-16-SigLIP
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyArgs {
    /// Embedding caches
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Also check that they are of this embedder and its tokenizer
    #[arg(long, value_name = "SPEC")]
    embedder: Option<String>,
    /// Also count embeddings that occur more than once (no fault by itself)
    #[arg(long)]
    repeated: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, CliError> {
    let embedder = args.embedder.as_deref().map(embedder).transpose()?;
    let tokenizer = embedder.as_ref().map(|(embedder, _)| embedder.tokenizer());
    let with = VerifyWith {
        embedder: embedder.as_ref().map(|(_, signature)| signature),
        tokenizer: tokenizer.as_deref(),
    };
    let (mut text, mut objects, mut sound) = (String::new(), Vec::new(), true);
    for file in &args.files {
        let findings = crate::cache::verify(file, with, |_| {}).map_err(failed)?;
        let findings = findings.all();
        let repeated = match args.repeated && findings.is_empty() {
            true => Some(repeated_rows(&open(file)?).map_err(failed)?),
            false => None,
        };
        sound &= findings.is_empty();
        let verdict = if findings.is_empty() {
            "sound"
        } else {
            "damaged"
        };
        let _ = writeln!(text, "{}: {verdict}", file.display());
        for finding in findings {
            let row = finding
                .row
                .map_or(String::new(), |row| format!(" (first at row {row})"));
            let times = match finding.count {
                1 => String::new(),
                count => format!("{count} × "),
            };
            let _ = writeln!(text, "  {times}{}{row}", finding.what);
        }
        if let Some(repeated) = repeated {
            let _ = writeln!(text, "  {repeated} embeddings occur earlier in the file");
        }
        objects.push(json!({"file": file, "findings": findings, "repeated": repeated}));
    }
    if args.json {
        print(&format!("{:#}\n", json!(objects)))?;
    } else {
        print(&text)?;
    }
    Ok(if sound { Exit::Success } else { Exit::Failed })
}
