//! `novic annotate export`: the opinions of a model as an annotation file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::failed;
use crate::annotate::gpt::read_state;
use crate::annotate::human::efforts;
use crate::annotate::{AnnotationFile, HUMAN_FILE, Policy, merge};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Write the opinions of a model as an annotation file
///
/// Pairs without an opinion are left out. What an earlier export has written is
/// overwritten; a file of people's annotations only with --force, unless it
/// loses nothing.
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
    if !args.force {
        check_target(&args.out, &file)?;
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

/// Whether `file` may be written to `out`: nothing is there, everything that is
/// there stays, or an earlier export made it.
fn check_target(out: &Path, file: &AnnotationFile) -> Result<(), CliError> {
    let refused = |what: &dyn std::fmt::Display| {
        let advice = "choose another file, or overwrite it with --force";
        CliError::usage(format!("{what}; {advice}"))
    };
    let present = match AnnotationFile::load(out) {
        Ok(present) => present,
        Err(error) if error.is_not_found() => return Ok(()),
        // Whatever else it is, it is not ours.
        Err(error) => return Err(refused(&error)),
    };
    if file.has_all_of(&present) {
        return Ok(());
    }
    if is_peoples(out, &present) {
        let what = format!("{} holds annotations of people", out.display());
        return Err(refused(&what));
    }
    Ok(())
}

/// Whether people made an annotation file: by its name, by labels in its
/// journal, or because no export looks like it.
fn is_peoples(path: &Path, file: &AnnotationFile) -> bool {
    let has_their_name = path.file_name().is_some_and(|name| name == HUMAN_FILE);
    // A journal that cannot be read may be theirs.
    let nobody_has_labelled = efforts(path).is_ok_and(|people| people.is_empty());
    has_their_name || !nobody_has_labelled || !file.could_be_an_export()
}
