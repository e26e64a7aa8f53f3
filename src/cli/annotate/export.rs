//! `novic annotate export`: the opinions of a model as an annotation file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failed;
use crate::annotate::gpt::read_state;
use crate::annotate::{AnnotationFile, HUMAN_FILE, Policy, merge};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Write the opinions of a model as an annotation file
///
/// Pairs without an opinion are left out. A file of people's annotations is not
/// overwritten without --force.
///
///   novic annotate export world.json --out extras/world/_class_annotations_gpt.json
///   novic annotate export world.json --out all.json --merge-into people.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExportArgs {
    /// State file
    state: PathBuf,
    /// Annotation file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Take this file and what it lacks; what it has stays
    #[arg(long, value_name = "FILE")]
    merge_into: Option<PathBuf>,
    /// Leave out pairs that need more opinions
    #[arg(long)]
    only_complete: bool,
    /// Overwrite a file of people's annotations, or one that is no annotation file
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate export`.
pub(super) fn export(args: &ExportArgs) -> Result<Exit, CliError> {
    let state = read_state(&args.state).map_err(failed)?;
    check_target(args)?;
    let exported = state.export(args.only_complete);
    let (mut file, mut settled) = (exported.file, Vec::new());
    if let Some(path) = &args.merge_into {
        let own = AnnotationFile::load(path).map_err(failed)?;
        let files = [
            (path.display().to_string(), own),
            (args.state.display().to_string(), file),
        ];
        let merged = merge(&files, Policy::First).map_err(failed)?;
        (file, settled) = (merged.file, merged.settled);
    }
    file.save(&args.out).map_err(failed)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, category) in file.images().iter().flat_map(|entry| entry.nouns()) {
        *counts.entry(category).or_default() += 1;
    }
    let parked = state.failures.parked().count();
    for warning in &exported.warnings {
        eprintln!("warning: {warning}");
    }
    if args.json {
        let object = json!({
            "file": args.out,
            "images": file.images().len(),
            "categories": counts,
            "open_pairs": exported.open.len(),
            "given_up_pairs": parked,
            "warnings": exported.warnings,
            "conflicts": settled,
        });
        return print(&format!("{object:#}\n"));
    }
    let mut text = format!("{}: {} images\n", args.out.display(), file.images().len());
    for (name, count) in counts {
        let _ = writeln!(text, "  {count:>8} {name}");
    }
    let _ = writeln!(text, "  {:>8} open, {parked} given up", exported.open.len());
    if !settled.is_empty() {
        let _ = writeln!(
            text,
            "  {:>8} conflicts, decided for the first file",
            settled.len()
        );
    }
    print(&text)
}

/// Whether the file may be written.
fn check_target(args: &ExportArgs) -> Result<(), CliError> {
    if args.force || !args.out.exists() {
        return Ok(());
    }
    let is_peoples = args.out.file_name().is_some_and(|name| name == HUMAN_FILE);
    let is_merged = args.merge_into.as_ref() == Some(&args.out);
    if is_peoples && !is_merged {
        return Err(CliError::usage(format!(
            "{} holds annotations of people; choose another file, or overwrite it with --force",
            args.out.display()
        )));
    }
    // Whatever else it is, it is not ours.
    AnnotationFile::load(&args.out).map_err(|error| {
        CliError::usage(format!(
            "{error}; choose another file, or overwrite it with --force"
        ))
    })?;
    Ok(())
}
