//! Tables and plots in a plan: what they read, and whether what was made of it
//! is still right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::config::schema::{Config, Needs};
use crate::config::{Cell, CellKind};
use crate::store::ContentHash;

use super::{Blockage, Plan, Planner, Step, StepInput, StepState};
use crate::runner::cell::{CellQuery, CellReads};
use crate::runner::error::{RunError, StageError};
use crate::runner::history::Change;
use crate::runner::resource::Resource;

/// Roles of the records of stages start with this.
const RECORDS: &str = "records of ";

impl Plan {
    /// The tables and plots; their inputs are steps.
    pub fn cells(&self) -> &[Step] {
        &self.cells
    }

    /// The steps, and then the cells.
    pub fn steps_and_cells(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.cells)
    }

    /// What a cell waits for: steps that will run of which it reads records,
    /// directly or through others; of those that wait for each other only the
    /// first.
    pub fn awaited(&self, cell: &Step) -> impl Iterator<Item = &Step> {
        let waits = |step: &Step| !step.is_up_to_date() && !step.is_blocked();
        let first = move |step: &&Step| {
            let mut inputs = step.inputs.iter();
            waits(step) && !inputs.any(|input| waits(&self.steps[input.step]))
        };
        let inputs = cell.inputs.iter();
        inputs
            .map(move |input| &self.steps[input.step])
            .filter(first)
    }
}

impl Step {
    /// The section, if it is a table or a plot and no stage.
    pub fn cell_kind(&self) -> Option<CellKind> {
        CellKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
    }
}

impl Planner<'_> {
    /// Plans a table or plot, if this program makes such.
    pub(super) fn cell(&mut self, cell: &Cell) -> Result<Option<Step>, RunError> {
        let Some(maker) = self.registry.cell(cell.kind) else {
            return Ok(None);
        };
        let query = CellQuery {
            experiment: self.experiment,
            cell,
            steps: &self.steps,
            project: self.project,
            hashes: self.hashes,
        };
        let mut blockages = Vec::new();
        let reads = maker.reads(&query).unwrap_or_else(|error| {
            let message = match error {
                StageError::Failed(message) => message,
                StageError::Interrupted => "looking at what it reads was interrupted".into(),
            };
            blockages.push(Blockage::Unusable { message });
            CellReads::default()
        });
        for at in &reads.steps {
            let step = &self.steps[*at];
            if step.is_blocked() {
                let step = step.name.clone();
                blockages.push(Blockage::Input { step });
            }
        }
        let inputs = self.behind(&reads.steps);
        let mut resources: Vec<Resource> = inputs
            .iter()
            .map(|at| records_of(&self.steps[*at]))
            .collect();
        resources.extend(reads.resources);
        let file = self.experiment.file.file_name().unwrap_or_default();
        let mut step = Step {
            name: cell.path(),
            stage: cell.name.clone(),
            kind: cell.kind.as_str().to_owned(),
            location: cell.location.clone(),
            seed: None,
            config: Config::default(),
            compute: (&Config::default()).into(),
            values: values(cell, &file.to_string_lossy()),
            needs: Needs::default(),
            code_version: maker.code_version(),
            inputs: inputs
                .into_iter()
                .map(|step| StepInput { step, repeat: 1 })
                .collect(),
            resources,
            id: None,
            state: StepState::WillRun,
            changes: None,
            last: None,
            damage: None,
            expected: None,
            scaled: false,
            resized: false,
        };
        if blockages.is_empty() {
            step.id = self.id(&step)?;
        }
        let mut step = match step.id.is_none() && blockages.is_empty() {
            // It waits for a stage, or what it reads may be another each time.
            true => {
                self.look_back(&mut step)?;
                step
            }
            false => self.judge(step, blockages)?,
        };
        // For people the changed stage says it all.
        if let Some(changes) = &mut step.changes {
            let is_input = |change: &Change| matches!(change, Change::Input { .. });
            let is_records = |change: &Change| match change {
                Change::Resource { role, .. } => role.starts_with(RECORDS),
                _ => false,
            };
            if changes.iter().any(is_input) {
                changes.retain(|change| !is_records(change));
            }
        }
        step.expected = None;
        Ok(Some(step))
    }

    /// These steps and all whose outputs they were made of, as rows tell of
    /// the training behind them. What is blocked behind them is missing there,
    /// too, and is left out.
    fn behind(&self, direct: &[usize]) -> BTreeSet<usize> {
        let mut found: BTreeSet<usize> = direct.iter().copied().collect();
        let mut pending = direct.to_vec();
        while let Some(at) = pending.pop() {
            for input in &self.steps[at].inputs {
                if !self.steps[input.step].is_blocked() && found.insert(input.step) {
                    pending.push(input.step);
                }
            }
        }
        found
    }
}

/// What a step left, and when: rows name the run that measured them. Unknown
/// until the step is up to date.
fn records_of(step: &Step) -> Resource {
    let identity = match &step.state {
        StepState::UpToDate(entry) => {
            let manifest = entry.manifest();
            let (key, run) = (&manifest.key, &manifest.description.run);
            let text = format!("{key} {run} {} {:?}", manifest.published_ms, step.seed);
            Some(ContentHash::of(text.as_bytes()))
        }
        _ => None,
    };
    Resource {
        role: format!("{RECORDS}{}", step.name),
        name: step.name.clone(),
        path: None,
        identity,
        missing: None,
    }
}

/// The keys of a cell by their dotted path, sorted, and the name of the file,
/// which renderings name.
fn values(cell: &Cell, file: &str) -> Map<String, Value> {
    let mut found = BTreeMap::new();
    found.insert("file".to_owned(), Value::from(file));
    flatten(cell.path(), cell.to_json(), &mut found);
    found.into_iter().collect()
}

fn flatten(path: String, value: Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let plain = |symbol: char| symbol.is_alphanumeric() || "_-".contains(symbol);
                let path = match key.chars().all(plain) {
                    true => format!("{path}.{key}"),
                    false => format!("{path}.{}", Value::from(key)),
                };
                flatten(path, value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.into_iter().enumerate() {
                flatten(format!("{path}[{at}]"), item, found);
            }
        }
        value => {
            found.insert(path, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_of_cells_have_the_paths_that_the_file_has() {
        let mut found = BTreeMap::new();
        let value = json!({
            "where": { "run.action": { "in": ["a", "b"] } },
            "col": [{ "label": "x" }, { "label": "y" }],
            "title": "T", "rows": {},
        });
        flatten("table.t".to_owned(), value, &mut found);
        let found: Vec<(String, Value)> = found.into_iter().collect();
        let pair = |path: &str, value: Value| (path.to_owned(), value);
        assert_eq!(
            found,
            [
                pair("table.t.col[0].label", json!("x")),
                pair("table.t.col[1].label", json!("y")),
                pair("table.t.rows", json!({})),
                pair("table.t.title", json!("T")),
                pair("table.t.where.\"run.action\".in", json!(["a", "b"])),
            ]
        );
    }
}
