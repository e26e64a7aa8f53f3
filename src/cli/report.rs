//! `novic report` and `novic table`: tables of report files and experiments.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};

use super::print::print;
use super::records::{of_results, of_source, service, warn};
use super::{CliError, Exit, complete, experiment, report_check};
use crate::config::{Experiment, parse_toml};
use crate::reports::document::{Report, builtin};
use crate::reports::evaluate::{EvaluatedTable, evaluate};
use crate::reports::experiment::{ExperimentReport, table_specs};
use crate::reports::query;
use crate::reports::record::{Record, plain};
use crate::reports::render::{self, Document, Style};
use crate::reports::sources::Loader;
use crate::reports::wanted::Wanted;
use crate::runner::Plan;
use crate::stages;
use crate::store::Project;

/// Print the tables of a report file from the records of all runs
///
/// A report file says which runs and which table (`docs/tables.md`); an
/// experiment file will do too. Nothing is run. With --out, files are written
/// instead: NAME.md, NAME.csv and so on.
///
///   novic report reports/small/ablations.toml
///   novic report reports/paper/table6.toml --format md,latex --out paper/
///   novic report reports/paper/table6.toml --check       # as committed?
///   novic report reports/mine.toml --validate            # needs no runs
///   novic report --show format_wandb/all_v2 > reports/mine.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReportArgs {
    /// Report file, name of a built-in report, or experiment file
    pub(super) file: Option<PathBuf>,
    /// Parameters of the report, or changes of the experiment's values
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    pub(super) overrides: Vec<String>,
    /// Only this table
    #[arg(long, value_name = "TABLE")]
    pub(super) name: Option<String>,
    /// How to print it; several with --out
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Format::Text])]
    pub(super) format: Vec<Format>,
    /// Text tables for people, or as the original prints them
    #[arg(long, value_enum, default_value_t = TextStyle::Box)]
    pub(super) style: TextStyle,
    /// Write files into this folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Compare with the files in --out (default: the folder of the report); fail with the rows that differ
    #[arg(long)]
    pub(super) check: bool,
    /// Only look for mistakes in the file
    #[arg(long, conflicts_with = "check")]
    pub(super) validate: bool,
    /// Fail if replicates are missing
    #[arg(long)]
    pub(super) strict: bool,
    /// List the records of a cell
    #[arg(long, num_args = 2, value_names = ["ROW", "COLUMN"])]
    pub(super) explain: Vec<String>,
    /// Answer a query over the records instead; frames are the sources, or `records`
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["check", "validate", "explain"])]
    pub(super) sql: Option<String>,
    /// Show published numbers beside: a table of the paper such as table6, or paper_tables for the one that the report is named after
    #[arg(long, value_name = "TABLE")]
    pub(super) against: Option<String>,
    /// Print a report file
    #[arg(long, value_name = "REPORT", conflicts_with = "file")]
    pub(super) show: Option<String>,
    /// Print JSON (the same as --format json)
    #[arg(long)]
    pub(super) json: bool,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Md,
    Csv,
    Latex,
    Html,
    Json,
    Parquet,
}

/// How text tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextStyle {
    Box,
    Compat,
}

impl Format {
    pub(super) const ALL: [Format; 7] = [
        Self::Text,
        Self::Md,
        Self::Csv,
        Self::Latex,
        Self::Html,
        Self::Json,
        Self::Parquet,
    ];

    fn kind(self) -> render::Format {
        match self {
            Self::Text => render::Format::Text,
            Self::Md => render::Format::Markdown,
            Self::Csv => render::Format::Csv,
            Self::Latex => render::Format::Latex,
            Self::Html => render::Format::Html,
            Self::Json => render::Format::Json,
            Self::Parquet => render::Format::Parquet,
        }
    }

    /// Ending of its files.
    pub(super) fn extension(self) -> &'static str {
        self.kind().extension()
    }
}

/// Prints the tables of a report.
pub fn cmd_report(args: &ReportArgs) -> Result<Exit, CliError> {
    if let Some(name) = &args.show {
        return show(name);
    }
    if args.sql.is_some() {
        return answer(args);
    }
    let Some(file) = &args.file else {
        return Err(CliError::usage("name a report file or an experiment file"));
    };
    let units = match is_report(file) {
        true => match of_report(file, args)? {
            Some(units) => units,
            None => return valid(args, file),
        },
        false => match of_experiment(file, args)? {
            Some(units) => units,
            None => return valid(args, file),
        },
    };
    if let [row, column] = args.explain.as_slice() {
        return explain(&units, row, column, args);
    }
    let formats = match args.json {
        true => vec![Format::Json],
        false => args.format.clone(),
    };
    if args.check {
        return report_check::check(&units, file, args);
    }
    let tables = || units.iter().flat_map(|unit| &unit.tables);
    let partial: usize = tables().map(EvaluatedTable::partial_cells).sum();
    let exit = match args.strict && partial > 0 {
        true => Exit::Failed,
        false => Exit::Success,
    };
    if let Some(out) = &args.out {
        write_all(&units, &formats, out, args)?;
    } else if formats == [Format::Json] {
        let tables: Vec<Value> = tables().map(render::json).collect();
        print(&format!("{:#}\n", Value::from(tables)))?;
    } else {
        let mut texts = Vec::new();
        for format in formats {
            for unit in &units {
                if format == Format::Parquet {
                    return Err(CliError::usage("Parquet is no text: give --out DIR"));
                }
                texts.push(rendering(unit, format, args)?);
            }
        }
        let texts: Vec<String> = texts
            .into_iter()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect();
        print(&texts.join("\n"))?;
    }
    if exit == Exit::Failed {
        eprintln!("error: {partial} cells lack replicates");
    }
    Ok(exit)
}

fn show(name: &str) -> Result<Exit, CliError> {
    match builtin(name) {
        Some(text) => print(text),
        None => match std::fs::read_to_string(name) {
            Ok(text) => print(&text),
            Err(error) => Err(CliError::usage(format!(
                "failed to read {name}: {error}; built-in reports are {}",
                crate::reports::document::builtin_names()
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        },
    }
}

fn valid(args: &ReportArgs, file: &Path) -> Result<Exit, CliError> {
    match args.json {
        true => print(&format!("{:#}\n", json!({"file": file, "valid": true}))),
        false => print(&format!("{}: no mistakes\n", file.display())),
    }
}

/// Whether a file is a report: it has keys that experiments do not have.
pub(super) fn is_report(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else {
        return builtin(&file.display().to_string()).is_some();
    };
    let kind = crate::config::SourceKind::File(file.to_owned());
    let Ok(fields) = parse_toml(&crate::config::Source::new(kind, text)) else {
        // Whoever reads it says what is wrong.
        return false;
    };
    let experiment = ["experiment", "stage", "extends", "use", "version"];
    let report = ["report", "col", "rows", "source", "include", "params"];
    let has = |keys: &[&str]| {
        fields
            .iter()
            .any(|field| keys.contains(&field.key.as_str()))
    };
    if has(&experiment) {
        return false;
    }
    let is_list = |field: &crate::config::Field| {
        field.key == "table" && matches!(field.value.raw, crate::config::Raw::List(_))
    };
    has(&report) || fields.iter().any(is_list)
}

pub(super) fn project() -> Result<Project, CliError> {
    Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))
}

/// Parameters `NAME=VALUE`.
pub(super) fn parameters(overrides: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            CliError::usage(format!("`{text}` is no parameter: write NAME=VALUE"))
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    overrides.iter().map(pair).collect()
}

/// The evaluated tables of a report; none if it was only to be read.
fn of_report(file: &Path, args: &ReportArgs) -> Result<Option<Vec<Document>>, CliError> {
    let given = parameters(&args.overrides)?;
    let mut report = Report::load(file, &given)
        .and_then(Report::with_sources)
        .map_err(experiment::report)?;
    if let Some(name) = &args.against {
        for table in &mut report.tables {
            match name.as_str() {
                "paper_tables" if table.published.is_some() => {}
                "paper_tables" => table.set_published(&report.name),
                name => table.set_published(name),
            }
        }
    }
    if args.validate {
        return Ok(None);
    }
    let project = project()?;
    let service = service(report.tables.iter().flat_map(|table| &table.sources))?;
    let loader = Loader::new(&project, &report.dir).with_service(service);
    let mut tables = Vec::new();
    for spec in &report.tables {
        if args.name.as_ref().is_some_and(|name| *name != spec.name) {
            continue;
        }
        let sources = loader.load(spec).map_err(|error| of_source(&error))?;
        let evaluated =
            evaluate(spec, &sources).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        tables.extend(evaluated);
    }
    warn(&loader.warnings());
    if tables.is_empty() {
        return Err(no_table(file, args.name.as_deref()));
    }
    Ok(Some(vec![Document {
        name: report.name,
        title: report.title,
        text: report.text,
        tables,
        origin: report.origin,
    }]))
}

fn no_table(file: &Path, name: Option<&str>) -> CliError {
    CliError::usage(match name {
        Some(name) => format!("{} has no table `{name}`", file.display()),
        None => format!("{} has no tables", file.display()),
    })
}

/// The same of an experiment: a file per table.
fn of_experiment(file: &Path, args: &ReportArgs) -> Result<Option<Vec<Document>>, CliError> {
    let experiment = experiment::load(file, &args.overrides)?;
    let only = args.name.as_deref();
    table_specs(&experiment, only).map_err(experiment::report)?;
    if args.validate {
        return Ok(None);
    }
    let plan = plan(&experiment)?;
    let report = ExperimentReport::collect(&experiment, &plan)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let documents = report.documents(only);
    let documents = documents.map_err(|error| of_results(&error))?;
    warn(&report.warnings());
    if documents.is_empty() {
        return Err(no_table(file, only));
    }
    Ok(Some(documents))
}

fn plan(experiment: &Experiment) -> Result<Plan, CliError> {
    Plan::of(experiment, &stages::registry(), false)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))
}

/// Answers a query over the records of a report, an experiment or the project.
fn answer(args: &ReportArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let query = args.sql.as_deref().unwrap_or_default();
    let mut frames: Vec<(String, Vec<Record>)> = Vec::new();
    let wanted = Wanted::by_query(query);
    match &args.file {
        Some(file) if is_report(file) => {
            let given = parameters(&args.overrides)?;
            let report = Report::load(file, &given)
                .and_then(Report::with_sources)
                .map_err(experiment::report)?;
            let project = project()?;
            let service = service(report.tables.iter().flat_map(|table| &table.sources))?;
            let loader = Loader::new(&project, &report.dir).with_service(service);
            for spec in &report.tables {
                let all = loader.sources(&spec.sources, &wanted);
                let all = all.map_err(|error| of_source(&error))?;
                for (source, records) in spec.sources.iter().zip(all) {
                    let name = match source.name.as_str() {
                        "" => "records",
                        name => name,
                    };
                    if !frames.iter().any(|(known, _)| known == name) {
                        frames.push((name.to_owned(), records));
                    }
                }
            }
            warn(&loader.warnings());
        }
        Some(file) => {
            let experiment = experiment::load(file, &args.overrides)?;
            let plan = plan(&experiment)?;
            let report = ExperimentReport::collect(&experiment, &plan).map_err(|e| failed(&e))?;
            frames.push(("records".to_owned(), report.records().to_vec()));
        }
        None => {
            let project = project()?;
            let loader = Loader::new(&project, Path::new(""));
            let records = loader.local_runs(&wanted).map_err(|e| of_source(&e))?;
            frames.push(("records".to_owned(), records));
        }
    }
    let answer = query::answer(query, &frames).map_err(experiment::report)?;
    warn(&answer.warnings);
    if args.json || args.format == [Format::Json] {
        return print(&format!("{:#}\n", answer.json()));
    }
    let table = answer_table(&answer);
    match args.format.first() {
        Some(Format::Md) => print(&render::markdown(&table)),
        Some(Format::Latex) => print(&render::latex(&table)),
        Some(Format::Html) => print(&render::html(&table)),
        Some(Format::Csv) => {
            let mut rows = vec![answer.columns.clone()];
            let texts = |row: &Vec<Value>| row.iter().map(null_is_empty).collect();
            rows.extend(answer.rows.iter().map(texts));
            print(&render::csv_lines(&rows))
        }
        _ => print(&render::text(&table, style(args))),
    }
}

fn null_is_empty(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => plain(value),
    }
}

fn answer_table(answer: &query::Answer) -> EvaluatedTable {
    let rows = answer.rows.iter();
    EvaluatedTable::of_texts(
        &answer.columns,
        rows.map(|row| row.iter().map(null_is_empty).collect()),
    )
}

fn style(args: &ReportArgs) -> Style {
    use std::io::IsTerminal as _;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match args.style {
        TextStyle::Compat => Style::Compat,
        TextStyle::Box if args.out.is_none() && std::io::stdout().is_terminal() && !plain => {
            Style::Colour
        }
        TextStyle::Box => Style::Terminal,
    }
}

/// Tables in one of the formats.
pub(super) fn rendering(
    document: &Document,
    format: Format,
    args: &ReportArgs,
) -> Result<Vec<u8>, CliError> {
    let bytes = document.render(format.kind(), style(args));
    bytes.map_err(|error| CliError::failed(format!("{}: {error}", document.name)))
}

fn write_all(
    units: &[Document],
    formats: &[Format],
    out: &Path,
    args: &ReportArgs,
) -> Result<(), CliError> {
    let failed = |path: &Path, error: std::io::Error| {
        CliError::failed(format!("failed to write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    let mut lines = String::new();
    for unit in units {
        for format in formats {
            let path = out.join(format!("{}.{}", unit.name, format.extension()));
            let bytes = rendering(unit, *format, args)?;
            crate::store::write_file(&path, &bytes)
                .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
            lines.push_str(&format!("{}\n", path.display()));
        }
    }
    print(&lines).map(drop)
}

/// Lists what a cell was made of.
fn explain(
    units: &[Document],
    row: &str,
    column: &str,
    args: &ReportArgs,
) -> Result<Exit, CliError> {
    let mut found = Vec::new();
    for table in units.iter().flat_map(|unit| &unit.tables) {
        let Some(at) = table.columns.iter().position(|own| own.label == column) else {
            continue;
        };
        for own in table.rows().filter(|own| own.label == row) {
            found.push((table, &own.cells[at]));
        }
    }
    if found.is_empty() {
        let tables = || units.iter().flat_map(|unit| &unit.tables);
        let rows: Vec<&str> = tables()
            .flat_map(|table| table.rows().map(|row| row.label.as_str()))
            .collect();
        let columns: Vec<&str> = tables()
            .flat_map(|table| table.columns.iter().map(|column| column.label.as_str()))
            .collect();
        return Err(CliError::usage(format!(
            "there is no cell `{row}`, `{column}`; rows are {}; columns are {}",
            rows.join(", "),
            columns.join(", ")
        )));
    }
    if args.json {
        let cells: Vec<Value> = found
            .iter()
            .map(|(_, cell)| render::cell_json(cell))
            .collect();
        return print(&format!("{:#}\n", Value::from(cells)));
    }
    let mut text = String::new();
    for (table, cell) in found {
        text.push_str(&format!("{}: {}\n", table.name, cell.text));
        for part in &cell.parts {
            let name = match part.name.as_str() {
                "" => String::new(),
                name => format!("{name}: "),
            };
            let values: Vec<String> = part.values.iter().map(f64::to_string).collect();
            text.push_str(&format!("  {name}values {}\n", values.join(", ")));
        }
        if !cell.replicates.is_empty() {
            text.push_str(&format!("  replicates {}\n", cell.replicates.join(", ")));
        }
        for run in &cell.records {
            text.push_str(&format!("  {run}\n"));
        }
    }
    print(&text)
}
