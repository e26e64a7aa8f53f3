//! Tables of experiments.

use std::path::PathBuf;

use novic::config::{ConfigErrors, Experiment, Request};
use novic::reports::experiment::ExperimentReport;
use novic::reports::render;
use novic::runner::Plan;
use novic::stages;
use pyo3::prelude::*;

use crate::errors::{self, ExperimentError};

/// The tables of an experiment file as far as it has been done, as JSON;
/// `name` is one of them.
#[pyfunction]
#[pyo3(signature = (file, overrides, name))]
pub fn tables(
    py: Python<'_>,
    file: PathBuf,
    overrides: Vec<String>,
    name: Option<&str>,
) -> PyResult<String> {
    py.detach(|| {
        let request = Request::new(&file).overrides(&overrides);
        let experiment = Experiment::load(&request)
            .map_err(|errors: ConfigErrors| ExperimentError::new_err(errors.render(false)))?;
        let plan = Plan::of(&experiment, &stages::registry(), false)
            .map_err(|error| errors::experiment(&error))?;
        let report = ExperimentReport::collect(&experiment, &plan)
            .map_err(|error| errors::experiment(&error))?;
        let tables = report
            .tables(name)
            .map_err(|error| errors::experiment(&error))?;
        let tables: Vec<_> = tables.iter().map(render::json).collect();
        Ok(serde_json::Value::from(tables).to_string())
    })
}
