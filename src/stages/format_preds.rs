//! `format_preds`: a table of prediction files, as the original prints it
//! (`reports.md` section 4). Takes prediction files by name, and those that
//! stages `infer` made.

use serde_json::json;

use super::{inputs, trained};
use crate::reports::predictions::{PredsRequest, format_preds};
use crate::reports::printed::{Printed, Said};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::write_file;
use crate::tracking::Level;

/// File in which a stage leaves its tables.
pub(super) const TABLES_FILE: &str = "tables.txt";

/// The stage kind.
#[derive(Debug)]
pub(super) struct FormatPreds;

impl StageKind for FormatPreds {
    fn name(&self) -> &'static str {
        "format_preds"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["predictions", "tables.preds"]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let request = PredsRequest::of(query.config, query.project.working_dir());
        let mut resources = Vec::new();
        for entry in request.load.iter().filter(|entry| !entry.is_empty()) {
            resources.push(inputs::file(query, "predictions", entry)?);
        }
        if let Some(path) = request.places.annotations(&request.annotations) {
            let path = path.display().to_string();
            resources.push(inputs::file(query, "annotations", &path)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let mut request = PredsRequest::of(context.config(), context.project().working_dir());
        for input in context.inputs() {
            request.load.push(input.entry.dir().display().to_string());
        }
        let mut printed = Printed::default();
        let result = format_preds(&request, &mut printed);
        show(context, &printed);
        let report = result.map_err(|error| StageError::failed(error.to_string()))?;
        write_file(&context.out().join(TABLES_FILE), printed.text().as_bytes())?;
        let summary = format!("{} prediction files", report.files.len());
        Ok(StageOutput::of(json!({ "summary": summary })))
    }
}

/// Says all that a table tool says.
pub(super) fn show(context: &StageContext<'_>, printed: &Printed) {
    for said in &printed.0 {
        match said {
            Said::Line(Level::Warn | Level::Error, text) => context.warn(text),
            Said::Line(_, text) | Said::Result(text) => context.note(text),
            Said::Table(table) => trained::show_table(context, &table.text()),
        }
    }
}
