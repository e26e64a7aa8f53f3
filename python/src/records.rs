//! Records of runs.

use std::path::{Path, PathBuf};

use novic::store::Project;
use novic::tracking::{
    self, Filter, RunOverview, RunRecord, TrackingError, Value, find_run, read_record,
};
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use serde_json::json;

use crate::array::Array;
use crate::errors::{self, RecordError};

/// What a run recorded.
#[pyclass(frozen, module = "novic._novic")]
pub struct Record {
    record: RunRecord,
    overview: RunOverview,
    folder: PathBuf,
}

/// The metrics of a stage.
#[pyclass(frozen, module = "novic._novic")]
pub struct Metrics(tracking::Metrics);

/// What lists tell of all runs of the project at `folder`, oldest first, that
/// match all `filters`: one JSON text each.
#[pyfunction]
pub fn list_runs(py: Python<'_>, folder: PathBuf, filters: Vec<String>) -> PyResult<Vec<String>> {
    let filters: Vec<Filter> = filters
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error: tracking::FilterError| RecordError::new_err(error.to_string()))?;
    let runs = py.detach(|| tracking::list_runs(&project(&folder)));
    let (runs, _unreadable) = runs.map_err(|error| errors::record(&error))?;
    runs.iter()
        .filter(|run| filters.iter().all(|filter| filter.matches(*run)))
        .map(text)
        .collect()
}

/// Reads the record of a run: an id, a part of one, or `latest`.
#[pyfunction]
pub fn open_record(py: Python<'_>, folder: PathBuf, run: &str) -> PyResult<Record> {
    let open = || {
        let (overview, folder) = find_run(&project(&folder), run)?;
        Ok(Record {
            record: read_record(&folder)?,
            overview,
            folder,
        })
    };
    py.detach(open)
        .map_err(|error: TrackingError| errors::record(&error))
}

/// Reads the metrics that an output of a stage carries (`metrics.novic`).
#[pyfunction]
pub fn read_metrics(py: Python<'_>, path: PathBuf) -> PyResult<Metrics> {
    py.detach(|| tracking::read_metrics(&path))
        .map(Metrics)
        .map_err(|error| errors::record(&error))
}

#[pymethods]
impl Record {
    #[getter]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// What lists tell of it, as JSON.
    fn overview(&self) -> PyResult<String> {
        text(&self.overview)
    }

    /// Configuration, machine, sources and events, as JSON.
    fn facts(&self) -> PyResult<String> {
        text(&json!({
            "header": self.record.header,
            "config": self.record.config,
            "environment": self.record.environment,
            "git": self.record.git,
            "program_hash": self.record.program_hash,
            "end": self.record.end,
        }))
    }

    /// All events in order, as JSON.
    fn events(&self) -> PyResult<String> {
        text(&self.record.events)
    }

    /// The metrics of each stage that has any.
    fn metrics(&self) -> Vec<(String, Metrics)> {
        let metrics = self.record.metrics.iter();
        metrics
            .map(|(stage, metrics)| (stage.clone(), Metrics(metrics.clone())))
            .collect()
    }
}

#[pymethods]
impl Metrics {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Rows are grouped by their names: the names of each group.
    fn groups(&self) -> Vec<Vec<String>> {
        let groups = self.0.streams().iter();
        groups.map(|group| group.names().to_vec()).collect()
    }

    /// Numbers of the rows of a group, and their times in µs since 1970.
    fn rows(&self, group: usize) -> PyResult<(Array, Array)> {
        let group = self.group(group)?;
        let shape = vec![group.len()];
        Ok((
            Array::u64(group.positions().to_vec(), shape.clone()),
            Array::u64(group.times().to_vec(), shape),
        ))
    }

    /// A column of a group as numbers, not a number where it is none.
    fn numbers(&self, group: usize, name: &str) -> PyResult<Array> {
        let group = self.group(group)?;
        let numbers = group.numbers(name).ok_or_else(|| no_column(name))?;
        let numbers: Vec<f64> = numbers.map(|value| value.unwrap_or(f64::NAN)).collect();
        let shape = vec![numbers.len()];
        Ok(Array::f64(numbers, shape))
    }

    /// A column of a group as it was logged; other values than numbers, truth
    /// values and texts are JSON texts.
    fn values(&self, py: Python<'_>, group: usize, name: &str) -> PyResult<Vec<Py<PyAny>>> {
        let group = self.group(group)?;
        let values = group.values(name).ok_or_else(|| no_column(name))?;
        values
            .map(|value| match value {
                Value::Null => Ok(py.None()),
                Value::Bool(value) => value.into_py_any(py),
                Value::Integer(value) => value.into_py_any(py),
                Value::Number(value) => value.into_py_any(py),
                Value::Text(value) => value.into_py_any(py),
                Value::Json(value) => value.to_string().into_py_any(py),
            })
            .collect()
    }
}

impl Metrics {
    fn group(&self, group: usize) -> PyResult<&tracking::Stream> {
        let groups = self.0.streams();
        groups
            .get(group)
            .ok_or_else(|| RecordError::new_err(format!("there are {} groups", groups.len())))
    }
}

fn no_column(name: &str) -> PyErr {
    RecordError::new_err(format!("there is no column `{name}`"))
}

fn project(folder: &Path) -> Project {
    let environment = std::env::var_os("NOVIC_HOME").filter(|value| !value.is_empty());
    Project::locate(folder, environment.as_deref().map(Path::new), None)
}

fn text(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| RecordError::new_err(error.to_string()))
}
