//! `novic plot`: the plots of an experiment or report.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::records::{of_figure, of_results, service, warn};
use super::report::{is_report, parameters, project};
use super::{CliError, Exit, complete, experiment};
use crate::reports::document::Report;
use crate::reports::experiment::{ExperimentReport, plot_specs};
use crate::reports::plot::{Figure, make, pdf, png, print_svg};
use crate::reports::sources::Loader;
use crate::runner::Plan;
use crate::stages;

/// Draw the plots of an experiment or report file
///
/// Cells `[plot.NAME]` say what is drawn (`docs/plots.md`): curves with bands
/// over seeds, bars with intervals, scatter plots, heat maps, distributions.
/// Nothing is run. Writes one file per plot and format and prints their paths.
///
///   novic plot experiments/quickstart.toml
///   novic plot reports/small/figures.toml --format svg,pdf --out figures/
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PlotArgs {
    /// Experiment or report file
    file: PathBuf,
    /// Changes of the experiment's values, or parameters of the report
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Only this plot
    #[arg(long, value_name = "PLOT")]
    name: Option<String>,
    /// Kinds of files
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Format::Svg])]
    format: Vec<Format>,
    /// Folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Only look for mistakes in the file
    #[arg(long)]
    validate: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Svg,
    Png,
    Pdf,
}

/// Draws plots.
pub fn cmd_plot(args: &PlotArgs) -> Result<Exit, CliError> {
    let figures = match is_report(&args.file) {
        true => of_report(args)?,
        false => of_experiment(args)?,
    };
    if args.validate {
        return match args.json {
            true => print(&format!(
                "{:#}\n",
                json!({"file": args.file, "valid": true})
            )),
            false => print(&format!("{}: no mistakes\n", args.file.display())),
        };
    }
    if figures.is_empty() {
        return Err(CliError::usage(match &args.name {
            Some(name) => format!("{} has no plot `{name}`", args.file.display()),
            None => format!(
                "{} has no plots; add a cell `[plot.NAME]`",
                args.file.display()
            ),
        }));
    }
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    std::fs::create_dir_all(&args.out).map_err(|error| {
        CliError::failed(format!("failed to make {}: {error}", args.out.display()))
    })?;
    let mut files = Vec::new();
    for (name, figure) in &figures {
        if figure.is_empty() {
            eprintln!("warning: plot `{name}` is empty: nothing has been run that it shows");
        }
        for format in &args.format {
            let (extension, bytes) = match format {
                Format::Svg => ("svg", print_svg(figure).map(String::into_bytes)),
                Format::Png => ("png", png(figure)),
                Format::Pdf => ("pdf", pdf(figure)),
            };
            let path = args.out.join(format!("{name}.{extension}"));
            let bytes = bytes.map_err(|error| failed(&error))?;
            crate::store::write_file(&path, &bytes).map_err(|error| failed(&error))?;
            files.push((path, figure));
        }
    }
    if args.json {
        let files: Vec<_> = files
            .iter()
            .map(|(path, figure)| json!({"file": path, "runs": figure.runs, "note": figure.note}))
            .collect();
        return print(&format!("{:#}\n", json!(files)));
    }
    let mut text = String::new();
    for (path, figure) in &files {
        text.push_str(&format!("{}\n", path.display()));
        if let Some(note) = &figure.note {
            text.push_str(&format!("  {note}\n"));
        }
    }
    print(&text)
}

fn of_report(args: &PlotArgs) -> Result<Vec<(String, Figure)>, CliError> {
    let given = parameters(&args.overrides)?;
    let report = Report::load(&args.file, &given)
        .and_then(Report::with_sources)
        .map_err(experiment::report)?;
    if args.validate {
        return Ok(Vec::new());
    }
    let project = project()?;
    let service = service(report.plots.iter().flat_map(|plot| &plot.sources))?;
    let loader = Loader::new(&project, &report.dir).with_service(service);
    let wanted = |name: &str| args.name.as_ref().is_none_or(|own| own == name);
    let mut figures = Vec::new();
    for spec in report.plots.iter().filter(|spec| wanted(&spec.name)) {
        let figure = make(spec, &loader).map_err(|error| of_figure(&error))?;
        figures.push((spec.name.clone(), figure));
    }
    warn(&loader.warnings());
    Ok(figures)
}

fn of_experiment(args: &PlotArgs) -> Result<Vec<(String, Figure)>, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let file: &Path = &args.file;
    let experiment = experiment::load(file, &args.overrides)?;
    plot_specs(&experiment, args.name.as_deref()).map_err(experiment::report)?;
    if args.validate {
        return Ok(Vec::new());
    }
    let plan = Plan::of(&experiment, &stages::registry(), false).map_err(|error| failed(&error))?;
    let report = ExperimentReport::collect(&experiment, &plan).map_err(|error| failed(&error))?;
    let figures = report.figures(args.name.as_deref());
    let figures = figures.map_err(|error| of_results(&error))?;
    warn(&report.warnings());
    Ok(figures)
}
