//! `novic tag` and `novic note`: what people say about a run.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::records::printable;
use super::{CliError, Exit, complete};
use crate::store::Project;
use crate::tracking::{Labels, find_run};

/// Add tags to a run, or remove them
///
/// Lists filter by tags: `novic ls 'tags = paper'`. Without tags, prints those
/// that the run has.
///
///   novic tag latest paper baseline
///   novic tag 170509 --remove baseline
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TagArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// Tags to add
    tags: Vec<String>,
    /// Tags to remove
    #[arg(long, value_name = "TAG", add = ArgValueCompleter::new(complete::tags_of_run))]
    remove: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Changes the tags of a run.
pub fn cmd_tag(args: &TagArgs) -> Result<Exit, CliError> {
    let changes = !args.tags.is_empty() || !args.remove.is_empty();
    let labels = change(&args.run, changes, |labels| {
        for tag in &args.tags {
            if tag.trim().is_empty() {
                return Err(CliError::usage("a tag cannot be empty"));
            }
            labels.add(tag.trim());
        }
        for tag in &args.remove {
            if !labels.remove(tag) {
                let has = match labels.tags.is_empty() {
                    true => "none".to_owned(),
                    false => labels.tags.join(", "),
                };
                return Err(CliError::usage(format!(
                    "the run has no tag `{tag}`; it has {has}"
                )));
            }
        }
        Ok(())
    })?;
    if args.json {
        print(&format!("{:#}\n", json!({ "tags": labels.tags })))
    } else {
        print(&format!("{}\n", printable(&labels.tags.join(", "))))
    }
}

/// Write a note about a run
///
/// Replaces the note that it has; an empty one removes it. Without a text,
/// prints the note.
///
///   novic note latest "the learning rate was too high"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct NoteArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// The note
    text: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Changes the note of a run.
pub fn cmd_note(args: &NoteArgs) -> Result<Exit, CliError> {
    let labels = change(&args.run, args.text.is_some(), |labels| {
        if let Some(text) = &args.text {
            labels.note = text.trim().to_owned();
        }
        Ok(())
    })?;
    if args.json {
        print(&format!("{:#}\n", json!({ "note": labels.note })))
    } else {
        print(&format!("{}\n", printable(&labels.note)))
    }
}

/// Reads the labels of a run, changes and writes them.
fn change(
    run: &str,
    writes: bool,
    change: impl FnOnce(&mut Labels) -> Result<(), CliError>,
) -> Result<Labels, CliError> {
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let (_, dir) =
        find_run(&project, run).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    let labels = Labels::to_change(&dir);
    let mut labels = labels.map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    change(&mut labels)?;
    if writes {
        labels
            .write(&dir)
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    }
    Ok(labels)
}
