//! `novic book`: the page of an experiment.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::{CliError, Exit, complete, experiment};
use crate::config::render;
use crate::reports::experiment::{CellFailure, ExperimentReport};
use crate::reports::page::watch;
use crate::runner::{Interrupt, Plan};
use crate::stages;
use crate::tracking;

/// Write the page of an experiment from what has been done so far
///
/// One self-contained HTML file: prose, results, plots, pictures, stages with
/// their state, time and the reason why they are not up to date, configuration
/// with origins. Nothing is run; stages whose outputs no longer belong to the
/// file are marked. Prints the path of the page. --watch serves the page on this
/// machine instead, and makes it anew while stages run.
///
///   novic book experiments/quickstart.toml
///   novic book experiments/quickstart.toml --watch
///   novic book experiments/quickstart.toml --check       # for CI: is all up to date?
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BookArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Write to this file instead of outputs/RUN/index.html
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "check"])]
    out: Option<PathBuf>,
    /// Serve the page and make it anew while stages run; Ctrl-C ends
    #[arg(long)]
    watch: bool,
    /// Port of --watch; 0: any that is free
    #[arg(long, default_value_t = 8401)]
    port: u16,
    /// Write nothing; fail if outputs are missing or stale
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes, serves or checks the page of an experiment.
pub fn cmd_book(args: &BookArgs) -> Result<Exit, CliError> {
    if args.watch {
        return serve(args);
    }
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let experiment = experiment::load(&args.file, &args.overrides)?;
    let plan = Plan::of(&experiment, &stages::registry(), false).map_err(|error| failed(&error))?;
    let report = ExperimentReport::collect(&experiment, &plan).map_err(|error| failed(&error))?;
    if args.check {
        return check(args, &report);
    }
    let last = plan.last_run().map_err(|error| failed(&error))?;
    let run = last.as_ref().map_or("", |run| run.run.as_str());
    if let Some(out) = &args.out {
        let notebook = report
            .notebook(run, &last.as_ref().map(facts).unwrap_or_default())
            .map_err(|error| failed(&error))?;
        notebook.write(out).map_err(|error| {
            CliError::failed(format!("failed to write {}: {error}", out.display()))
        })?;
        return told(args, out, run, &notebook.failures);
    }
    if run.is_empty() {
        return Err(CliError::failed(format!(
            "no run of this experiment has its outputs; run it with `novic run {}`, or name a file \
             with --out",
            args.file.display()
        )));
    }
    let (page, failures) = write_page(&report, &plan, run)?;
    told(args, &page, run, &failures)
}

fn told(
    args: &BookArgs,
    page: &std::path::Path,
    run: &str,
    failures: &[CellFailure],
) -> Result<Exit, CliError> {
    match args.json {
        true => print(&format!("{:#}\n", json!({ "page": page, "run": run })))?,
        false => print(&format!("{}\n", page.display()))?,
    };
    Ok(exit_of(failures))
}

/// Says what is wrong with tables and plots, and what that means for the
/// command.
pub(super) fn exit_of(failures: &[CellFailure]) -> Exit {
    for failure in failures {
        let problems = std::slice::from_ref(&failure.problem);
        eprintln!("{}\n", render(problems, std::io::stderr().is_terminal()));
    }
    match failures.is_empty() {
        true => Exit::Success,
        false => Exit::Failed,
    }
}

/// Says which outputs are missing or stale, and whether tables, plots and the
/// page can be made.
fn check(args: &BookArgs, report: &ExperimentReport<'_>) -> Result<Exit, CliError> {
    let notebook = report
        .notebook("", "")
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let outdated = report.outdated();
    let exit = match outdated.is_empty() {
        true => exit_of(&notebook.failures),
        false => Exit::Failed,
    };
    if args.json {
        let stages: Vec<_> = outdated
            .iter()
            .map(|(stage, why)| json!({"stage": stage, "why": why}))
            .collect();
        print(&format!("{:#}\n", json!({ "outdated": stages })))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for (stage, why) in &outdated {
        text.push_str(&format!("{stage}: {why}\n"));
    }
    if outdated.is_empty() {
        text.push_str("everything is up to date\n");
    }
    print(&text)?;
    Ok(exit)
}

/// Serves the page until Ctrl-C.
fn serve(args: &BookArgs) -> Result<Exit, CliError> {
    // Mistakes of the file are told at once, not in the browser.
    experiment::load(&args.file, &args.overrides)?;
    let (file, overrides) = (args.file.clone(), args.overrides.clone());
    let make = move || -> Result<String, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let request = crate::config::Request::new(&file).overrides(&overrides);
        let experiment =
            crate::config::Experiment::load(&request).map_err(|errors| errors.render(false))?;
        let plan = Plan::of(&experiment, &stages::registry(), false).map_err(|e| text(&e))?;
        let report = ExperimentReport::collect(&experiment, &plan).map_err(|e| text(&e))?;
        let last = plan.last_run().map_err(|e| text(&e))?;
        let run = last.as_ref().map_or("", |run| run.run.as_str());
        let notebook = report
            .notebook(run, &last.as_ref().map(facts).unwrap_or_default())
            .map_err(|e| text(&e))?;
        Ok(notebook.render().into_string())
    };
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let stop = async move { interrupt.raised().await };
    let as_json = args.json;
    let listening = move |address: SocketAddr| {
        let url = format!("http://{address}");
        let line = match as_json {
            true => json!({ "url": url }).to_string(),
            false => format!("the page is at {url}; Ctrl-C ends"),
        };
        // Whoever started it may not listen any more.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    watch(address, Box::new(make), listening, stop).map_err(|error| {
        CliError::failed(format!(
            "failed to serve on {address}: {error}; choose another --port"
        ))
    })?;
    Ok(Exit::Success)
}

/// Writes `outputs/<run>/index.html` and returns its path, relative to the
/// working directory where possible, and the tables and plots that it lacks
/// because of mistakes.
pub(super) fn write_page(
    report: &ExperimentReport<'_>,
    plan: &Plan,
    run: &str,
) -> Result<(PathBuf, Vec<CellFailure>), CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let notebook = report
        .notebook(run, &facts_of(plan, run))
        .map_err(|error| failed(&error))?;
    let folder = plan.project().outputs_dir().join(run);
    let path = folder.join("index.html");
    std::fs::create_dir_all(&folder)
        .and_then(|()| notebook.write(&path))
        .map_err(|error| {
            CliError::failed(format!("failed to write {}: {error}", path.display()))
        })?;
    let relative = path.strip_prefix(plan.project().working_dir());
    let path = relative.map_or_else(|_| path.clone(), PathBuf::from);
    Ok((path, notebook.failures))
}

/// Run, time and program in one line; empty for no run.
fn facts_of(plan: &Plan, run: &str) -> String {
    if run.is_empty() {
        return String::new();
    }
    tracking::find_run(plan.project(), run)
        .map(|(overview, _)| facts(&overview))
        .unwrap_or_default()
}

/// Run, time and program in one line.
fn facts(overview: &tracking::RunOverview) -> String {
    let start = i64::try_from(overview.started_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map(|time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M")
                .to_string()
        })
        .unwrap_or_default();
    format!(
        "{} · {start} · novic {}",
        overview.run,
        env!("CARGO_PKG_VERSION")
    )
}
