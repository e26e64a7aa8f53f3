//! `novic captions check`: what is wrong with a caption file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::nouns::{CaptionFinding, check_captions, repair_captions};
use crate::store::publish_file;

/// Check a caption file, and mend it
///
/// Looks for missing, repeated and malformed captions, wrong articles and nouns
/// that are written out. Exit code 1 if there are any. With --repair, captions
/// that can be mended are, the others are dropped, and a new file is written.
///
///   novic captions check captions.json
///   novic captions check captions.json --repair mended.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// Caption file
    file: PathBuf,
    /// Show at most so many findings
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Write a mended file
    #[arg(long, value_name = "FILE")]
    repair: Option<PathBuf>,
    /// Print JSON, with all findings
    #[arg(long)]
    json: bool,
}

/// Runs `novic captions check`.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let mut entries = read(&args.file)?;
    let name = args.file.display().to_string();
    let failed = |error| CliError::from_error(Exit::Failed, &error);
    let mut findings: Vec<CaptionFinding> = Vec::new();
    for entry in &entries {
        findings.extend(check_captions(&name, entry).map_err(failed)?);
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for finding in &findings {
        *counts.entry(finding.rule.name()).or_default() += 1;
    }
    let mut mended = None;
    if let Some(out) = &args.repair {
        let (mut rewritten, mut dropped) = (0, 0);
        for entry in &mut entries {
            let (more_rewritten, more_dropped) = repair_captions(&name, entry).map_err(failed)?;
            rewritten += more_rewritten;
            dropped += more_dropped;
        }
        write(out, &entries)?;
        mended = Some((rewritten, dropped));
    }
    let exit = if findings.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    };
    if args.json {
        print(&format!(
            "{:#}\n",
            json!({
                "file": args.file,
                "nouns": entries.len(),
                "counts": counts,
                "findings": findings,
                "rewritten": mended.map(|(rewritten, _)| rewritten),
                "dropped": mended.map(|(_, dropped)| dropped),
            })
        ))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for finding in findings.iter().take(args.limit) {
        let caption = finding
            .caption
            .as_ref()
            .map_or(String::new(), |c| format!(": {c}"));
        let _ = writeln!(text, "{}: {}{caption}", finding.noun, finding.rule.name());
    }
    if findings.len() > args.limit {
        let _ = writeln!(text, "… and {} more", findings.len() - args.limit);
    }
    let _ = writeln!(text, "{} nouns, {} findings", entries.len(), findings.len());
    for (rule, count) in counts {
        let _ = writeln!(text, "  {count:>8} {rule}");
    }
    if let (Some((rewritten, dropped)), Some(out)) = (mended, &args.repair) {
        let _ = writeln!(
            text,
            "{rewritten} captions rewritten, {dropped} dropped in {}",
            out.display()
        );
    }
    print(&text)?;
    Ok(exit)
}

fn read(path: &Path) -> Result<Vec<Value>, CliError> {
    let file = File::open(path)
        .map_err(|error| CliError::failed(format!("failed to read {}: {error}", path.display())))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|error| {
        CliError::failed(format!("{} is not a caption file: {error}", path.display()))
    })
}

/// Writes a file that is complete or not there.
fn write(path: &Path, entries: &[Value]) -> Result<(), CliError> {
    let written = publish_file(path, |file| {
        serde_json::to_writer_pretty(&mut *file, entries)?;
        file.write_all(b"\n")
    });
    written
        .map_err(|error| CliError::failed(format!("failed to write {}: {error}", path.display())))
}
