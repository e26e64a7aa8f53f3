//! `novic annotate merge`: several annotation files as one.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{failed, shown};
use crate::annotate::{AnnotationFile, Policy, merge as merge_files};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Merge annotation files of one image set
///
/// The union of images and pairs, sorted by image; nouns in order of first
/// appearance. Pairs that the files disagree about are an error that lists all
/// of them, unless --policy says which category counts.
///
///   novic annotate merge anna.json ben.json -o both.json
///   novic annotate merge a.json b.json c.json --policy majority -o all.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct MergeArgs {
    /// Annotation files
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File to write; one of the merged files may be named
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite a file that is not one of the merged ones
    #[arg(long)]
    force: bool,
    /// What counts if files disagree
    #[arg(long, value_enum, default_value_t = Policy::Error)]
    policy: Policy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate merge`.
pub(super) fn merge(args: &MergeArgs) -> Result<Exit, CliError> {
    let mut files = Vec::new();
    for path in &args.files {
        let file = AnnotationFile::load(path).map_err(failed)?;
        files.push((shown(path), file));
    }
    if args.out.exists() && !args.force && !args.files.contains(&args.out) {
        return Err(CliError::usage(format!(
            "{} exists already; choose another file, or overwrite it with --force",
            args.out.display()
        )));
    }
    let merged = merge_files(&files, args.policy).map_err(failed)?;
    merged.file.save(&args.out).map_err(failed)?;
    let (images, pairs) = (merged.file.images().len(), merged.file.pairs());
    if args.json {
        return print(&format!(
            "{:#}\n",
            json!({
                "file": args.out,
                "images": images,
                "pairs": pairs,
                "settled": merged.settled,
            })
        ));
    }
    let mut text = String::new();
    for conflict in &merged.settled {
        let _ = writeln!(text, "{conflict}");
    }
    let _ = writeln!(
        text,
        "{images} images, {pairs} pairs in {}; {} conflicts settled",
        args.out.display(),
        merged.settled.len()
    );
    print(&text)
}
