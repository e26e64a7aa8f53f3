//! `novic annotate diff`: how far two annotation files agree.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{failed, quoted};
use crate::annotate::{AnnotationFile, compare};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Compare two annotation files: counts, agreement, kappa, conflicts
///
///   novic annotate diff anna.json ben.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DiffArgs {
    /// An annotation file
    first: PathBuf,
    /// Another one
    second: PathBuf,
    /// Show at most so many conflicts
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Print JSON, with everything
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate diff`.
pub(super) fn diff(args: &DiffArgs) -> Result<Exit, CliError> {
    let first = AnnotationFile::load(&args.first).map_err(failed)?;
    let second = AnnotationFile::load(&args.second).map_err(failed)?;
    let found = compare(&first, &second);
    if args.json {
        let object = serde_json::to_value(&found).map_err(CliError::failed)?;
        return print(&format!("{object:#}\n"));
    }
    let mut text = String::new();
    let _ = writeln!(text, "{:<20} {:>8} {:>8}", "pairs", "first", "second");
    for (name, a, b) in &found.categories {
        let _ = writeln!(text, "{name:<20} {a:>8} {b:>8}");
    }
    let only = (found.only_first.len(), found.only_second.len());
    let _ = writeln!(text, "{:<20} {:>8} {:>8}", "only here", only.0, only.1);
    let share = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{share:.3}"));
    let _ = writeln!(
        text,
        "{} pairs in both, {} in the same category: agreement {}, Cohen's kappa {}",
        found.both,
        found.agreed,
        share(found.agreement),
        share(found.kappa)
    );
    for (image, noun, a, b) in found.conflicts.iter().take(args.limit) {
        let _ = writeln!(text, "  {}: {} is {a}, or {b}", quoted(image), quoted(noun));
    }
    if found.conflicts.len() > args.limit {
        let more = found.conflicts.len() - args.limit;
        let _ = writeln!(text, "  … and {more} more");
    }
    print(&text)
}
