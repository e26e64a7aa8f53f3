//! `format_wandb`: a table of the local runs, as the original prints it
//! (`reports.md` section 6).

use jiff::Zoned;
use serde_json::json;

use super::format_preds::{TABLES_FILE, show};
use super::inputs;
use crate::config::schema::RunsTable;
use crate::reports::printed::{Printed, Said};
use crate::reports::run_tables::{LocalRuns, RunsRequest, format_runs};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::{ContentHash, write_file};

/// The stage kind.
#[derive(Debug)]
pub(super) struct FormatWandb;

impl StageKind for FormatWandb {
    fn name(&self) -> &'static str {
        "format_wandb"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "generate.config",
            "infer.image_dir",
            "infer.annotations",
            "tables.runs",
        ]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![runs(query)];
        let request = request(query.config, query.project.working_dir())?;
        if request.selection.table != RunsTable::EvalGenClsV1
            && let Some(path) = request.places.annotations(&request.selection.annotations)
        {
            let path = path.display().to_string();
            resources.push(inputs::file(query, "annotations", &path)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let failed = |error: crate::reports::run_tables::RunTablesError| {
            StageError::failed(error.to_string())
        };
        let request = request(context.config(), context.project().working_dir())?;
        let source = LocalRuns::open(context.project()).map_err(failed)?;
        let mut printed = Printed::default();
        let result = format_runs(&request, &source, &mut printed);
        show(context, &printed);
        result.map_err(failed)?;
        write_file(&context.out().join(TABLES_FILE), printed.text().as_bytes())?;
        let rows = printed.0.iter().map(|said| match said {
            Said::Table(table) => table.rows.len(),
            _ => 0,
        });
        let summary = format!("{} rows", rows.sum::<usize>());
        Ok(StageOutput::of(json!({ "summary": summary })))
    }
}

fn request(
    config: &crate::config::schema::Config,
    working_dir: &std::path::Path,
) -> Result<RunsRequest, StageError> {
    RunsRequest::of(config, working_dir, Zoned::now())
        .map_err(|error| StageError::failed(error.to_string()))
}

/// The runs that there are: the table goes stale with every new one.
fn runs(query: &ResourceQuery<'_>) -> Resource {
    let folder = query.project.runs_dir();
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| {
            let over = entry.path().join("summary.json").exists();
            format!("{} {over}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort_unstable();
    let identity = ContentHash::of(names.join("\n").as_bytes());
    Resource::present("runs", "local runs", Some(folder), identity)
}
