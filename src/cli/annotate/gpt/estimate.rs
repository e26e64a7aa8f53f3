//! `novic annotate gpt estimate`: what a run takes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::failed;
use super::questions::{QuestionArgs, Settings};
use crate::annotate::gpt::{parent, read_state};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Say what a run will take, without asking anybody
///
/// Needs no key and no network: open pairs, questions, tokens, cost, batches,
/// from all opinions about each pair being the same to as many as allowed.
///
///   novic annotate gpt estimate world.json --predictions outputs/run1
///   novic annotate gpt estimate world.json --predictions outputs/run1 --show 1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EstimateArgs {
    #[command(flatten)]
    questions: QuestionArgs,
    /// Print the first requests as they would be sent, without their images
    /// [default: 0]
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Write the files of the batches that would be sent first
    #[arg(long, value_name = "DIR")]
    write_jsonl: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt estimate`.
pub(super) fn estimate(args: &EstimateArgs) -> Result<Exit, CliError> {
    let settings = args.questions.settings()?;
    let configured = settings.config.write_jsonl.as_ref().map(PathBuf::from);
    let folder = args.write_jsonl.clone().or(configured);
    let wanted = Wanted {
        show: args.show,
        write_jsonl: folder.as_deref(),
        as_json: args.json,
    };
    print_estimate(&args.questions, &settings, &wanted)
}

/// What is wanted beside the numbers.
pub(super) struct Wanted<'a> {
    /// Requests to print; none given: as configured.
    pub(super) show: Option<usize>,
    /// Where to write batch files.
    pub(super) write_jsonl: Option<&'a Path>,
    /// Whether to print JSON.
    pub(super) as_json: bool,
}

/// The same for `run --dry-run`.
pub(super) fn print_estimate(
    questions: &QuestionArgs,
    settings: &Settings,
    wanted: &Wanted<'_>,
) -> Result<Exit, CliError> {
    let mut state = read_state(&settings.path).map_err(failed)?;
    let asking = questions.asking(settings, &state)?;
    for line in asking.empty_nouns(&state) {
        state.apply(&line);
    }
    let form = settings.llm.first_form();
    let beside = parent(&settings.path);
    let price = settings.price(&state.meta.model);
    let limits = &settings.limits;
    let share = settings.batching(&state.meta.model).price_share;
    let found = asking
        .estimate(&state, beside, limits, (price, share), form)
        .map_err(failed)?;
    let shown = asking
        .first_requests(
            &state,
            beside,
            wanted.show.unwrap_or(settings.config.show),
            form,
        )
        .map_err(failed)?;
    let written = match wanted.write_jsonl {
        Some(folder) => Some(
            asking
                .write_batches(&state, beside, limits, form, folder)
                .map_err(failed)?,
        ),
        None => None,
    };
    if wanted.as_json {
        let object = json!({
            "state": settings.path,
            "model": state.meta.model,
            "estimate": found,
            "requests": shown,
            "files_written": written,
        });
        return print(&format!("{object:#}\n"));
    }
    let mut text = format!(
        "{} images, {} open pairs, {} given up\n",
        found.images, found.open_pairs, found.parked_pairs
    );
    let _ = writeln!(text, "{:<20} {:>14} {:>14}", "", "least", "most");
    let mut line = |name: &str, least: String, most: String| {
        let _ = writeln!(text, "{name:<20} {least:>14} {most:>14}");
    };
    let ranges = [
        ("requests", found.requests),
        ("tokens in", found.prompt_tokens),
        ("tokens out", found.completion_tokens),
    ];
    for (name, range) in ranges {
        line(name, range.least.to_string(), range.most.to_string());
    }
    for (name, range) in [("USD", found.cost), ("USD in batches", found.batch_cost)] {
        match range {
            Some(range) => line(
                name,
                format!("{:.4}", range.least),
                format!("{:.4}", range.most),
            ),
            None => line(name, "unknown".to_owned(), "unknown".to_owned()),
        }
    }
    let _ = writeln!(
        text,
        "{} batch files of {} bytes in the first round",
        found.batches, found.batch_bytes
    );
    if let (Some(count), Some(folder)) = (written, wanted.write_jsonl) {
        let _ = writeln!(text, "{count} batch files written to {}", folder.display());
    }
    for request in shown {
        let _ = writeln!(text, "{request:#}");
    }
    print(&text)
}
