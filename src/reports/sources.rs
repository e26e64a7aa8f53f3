//! Records of the sources of a table: of the project, of the stages of an
//! experiment, of lists in files.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::evaluate::Sources;
use super::local::{local_metrics, local_records, local_values, metric_records, stored_angles};
use super::predictions::PredictionsError;
use super::record::Record;
use super::remote::Service;
use super::run_tables::RunTablesError;
use super::spec::{SourceKind, SourceSpec, TableSpec};
use super::wanted::Wanted;
use super::{angles, origins, prediction_source, remote};
use crate::store::{Entry, Project, StoreError};

/// Why a source cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no list of records.
    #[error("{path}, line {line}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A pattern finds nothing, or names no list.
    #[error("{0}")]
    Files(String),
    /// The store is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Predictions cannot be read or scored.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// Runs cannot be read.
    #[error(transparent)]
    Runs(#[from] RunTablesError),
}

/// Where records are looked for.
pub struct Loader<'a> {
    /// The project with its store.
    pub project: &'a Project,
    /// Measured rows of the experiment, for tables that name no source.
    pub stages: &'a [Record],
    /// Outputs of the experiment, for plots that name no source.
    pub outputs: &'a [&'a Entry],
    /// Directory of the report: paths are relative to the working directory,
    /// else to this.
    pub dir: &'a Path,
    service: Service,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Loader<'a> {
    /// Looks in a project, and in files beside a report in `dir`.
    pub fn new(project: &'a Project, dir: &'a Path) -> Self {
        Self {
            project,
            stages: &[],
            outputs: &[],
            dir,
            service: Service::default(),
            warnings: RefCell::default(),
        }
    }

    /// Reads runs at Weights & Biases there.
    #[must_use]
    pub fn with_service(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    /// Where the runs of a source are, which may name certificates itself.
    pub(super) fn service(&self, source: &SourceSpec) -> Result<Service, SourceError> {
        let mut service = self.service.clone();
        if let Some(path) = &source.ca_file {
            service.ca_file = self.files(path)?.into_iter().next();
        }
        Ok(service)
    }

    /// Looks at what the stages of an experiment left, too.
    #[must_use]
    pub fn with_stages(mut self, stages: &'a [Record], outputs: &'a [&'a Entry]) -> Self {
        (self.stages, self.outputs) = (stages, outputs);
        self
    }

    /// What is to be said about the records so far, each once.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// The records of all sources of a table.
    pub fn load(&self, table: &TableSpec) -> Result<Sources, SourceError> {
        let wanted = Wanted::by_table(table);
        Ok(Sources(self.sources(&table.sources, &wanted)?))
    }

    /// The records of sources, with what is wanted of them.
    pub fn sources(
        &self,
        sources: &[SourceSpec],
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Vec<Record>>, SourceError> {
        let records = sources.iter().map(|source| self.source(source, wanted));
        records.collect()
    }

    /// Measured rows of all runs of the project.
    pub fn local_runs(&self, wanted: &Wanted<'_>) -> Result<Vec<Record>, SourceError> {
        let mut records = local_records(self.project, wanted)?;
        if wanted.origins {
            origins::add(self.project, &mut records)?;
        }
        Ok(records)
    }

    fn source(&self, source: &SourceSpec, wanted: &Wanted<'_>) -> Result<Vec<Record>, SourceError> {
        let mut records = match source.kind {
            SourceKind::Stages => self.stages.to_vec(),
            SourceKind::Predictions | SourceKind::Samples => {
                prediction_source::records(self, source, wanted)?
            }
            SourceKind::Metrics if source.from.is_empty() => metric_records(self.outputs, wanted),
            _ => self.listed(source, wanted)?,
        };
        if wanted.origins {
            origins::add(self.project, &mut records)?;
        }
        Ok(records)
    }

    /// The records of everything that a source names.
    fn listed(&self, source: &SourceSpec, wanted: &Wanted<'_>) -> Result<Vec<Record>, SourceError> {
        let mut records = Vec::new();
        for from in &source.from {
            if let Some(project) = from.strip_prefix(remote::PREFIX) {
                let service = self.service(source)?;
                records.extend(self.warned(|warnings| {
                    remote::records(source, project, &service, wanted, warnings)
                })?);
                continue;
            }
            match (from.as_str(), source.kind) {
                ("local", SourceKind::Metrics) => {
                    records.extend(local_metrics(self.project, wanted)?);
                }
                ("local", SourceKind::Values) => {
                    records.extend(local_values(self.project, wanted)?);
                }
                ("local", SourceKind::Angles) => {
                    for (path, run) in stored_angles(self.project, wanted)? {
                        for mut record in angles::records(&path)? {
                            record.0.extend(run.0.clone());
                            records.push(record);
                        }
                    }
                }
                ("local", _) => records.extend(local_records(self.project, wanted)?),
                (pattern, SourceKind::Angles) => {
                    for path in self.files(pattern)? {
                        records.extend(angles::records(&path)?);
                    }
                }
                (pattern, _) => {
                    for path in self.files(pattern)? {
                        records.extend(read_records(&path)?);
                    }
                }
            }
        }
        Ok(records)
    }

    /// Does what may have something to say.
    pub(super) fn warned<T>(
        &self,
        work: impl FnOnce(&mut Vec<String>) -> Result<T, RunTablesError>,
    ) -> Result<T, SourceError> {
        let mut found = Vec::new();
        let result = work(&mut found);
        let mut known = self.warnings.borrow_mut();
        for warning in found {
            if !known.contains(&warning) {
                known.push(warning);
            }
        }
        Ok(result?)
    }

    /// The files of a path or pattern, sorted.
    pub(super) fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
        let mut found = Vec::new();
        for place in [self.project.working_dir(), self.dir] {
            let whole = place.join(pattern);
            if whole.is_file() {
                return Ok(vec![whole]);
            }
            let paths = glob::glob(&whole.display().to_string())
                .map_err(|error| SourceError::Files(format!("pattern {pattern}: {error}")))?;
            found.extend(paths.flatten().filter(|path| path.is_file()));
            if !found.is_empty() {
                break;
            }
        }
        found.sort_unstable();
        if found.is_empty() {
            return Err(SourceError::Files(format!(
                "there is no file {pattern}: paths are relative to the working directory or to \
                 the report"
            )));
        }
        Ok(found)
    }
}

/// Records of a file: JSON lines, a JSON list, or CSV.
pub fn read_records(path: &Path) -> Result<Vec<Record>, SourceError> {
    let text = std::fs::read_to_string(path).map_err(|source| SourceError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |line: usize, reason: String| SourceError::Record {
        path: path.to_owned(),
        line,
        reason,
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    let mut records = match extension {
        Some("jsonl") => text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| {
                let fields: Map<String, Value> =
                    serde_json::from_str(line).map_err(|error| wrong(at + 1, error.to_string()))?;
                Ok(flat(fields))
            })
            .collect::<Result<Vec<_>, SourceError>>()?,
        Some("json") => {
            let list: Vec<Map<String, Value>> = serde_json::from_str(&text)
                .map_err(|error| wrong(error.line(), error.to_string()))?;
            list.into_iter().map(flat).collect()
        }
        Some("csv") => csv_records(&text).map_err(|(line, reason)| wrong(line, reason))?,
        _ => {
            return Err(SourceError::Files(format!(
                "{}: records are read from .jsonl, .json and .csv",
                path.display()
            )));
        }
    };
    let name = path.file_name().map(|name| name.to_string_lossy());
    for record in &mut records {
        if record.get("file").is_none() {
            record.set("file", name.as_deref().unwrap_or_default());
        }
    }
    Ok(records)
}

/// Nested objects become dotted names.
fn flat(fields: Map<String, Value>) -> Record {
    fn add(record: &mut Record, prefix: &str, fields: Map<String, Value>) {
        for (key, value) in fields {
            let name = format!("{prefix}{key}");
            match value {
                Value::Object(inner) => add(record, &format!("{name}."), inner),
                value => record.set(&name, value),
            }
        }
    }
    let mut record = Record::new();
    add(&mut record, "", fields);
    record
}

/// CSV with a header; what looks like a number is one, an empty cell nothing.
fn csv_records(text: &str) -> Result<Vec<Record>, (usize, String)> {
    let mut lines = csv_lines(text)?.into_iter();
    let Some((_, header)) = lines.next() else {
        return Ok(Vec::new());
    };
    lines
        .map(|(line, cells)| {
            if cells.len() != header.len() {
                let reason = format!("{} cells, the header has {}", cells.len(), header.len());
                return Err((line, reason));
            }
            let mut record = Record::new();
            for (name, cell) in header.iter().zip(cells) {
                if cell.is_empty() {
                    continue;
                }
                match cell.parse::<f64>() {
                    Ok(number) if number.is_finite() => match cell.parse::<i64>() {
                        Ok(whole) => record.set(name, whole),
                        Err(_) => record.set(name, number),
                    },
                    _ => record.set(name, cell),
                }
            }
            Ok(record)
        })
        .collect()
}

type CsvLine = (usize, Vec<String>);

fn csv_lines(text: &str) -> Result<Vec<CsvLine>, (usize, String)> {
    let (mut lines, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut start) = (false, 1, 1);
    let mut symbols = text.chars().peekable();
    while let Some(symbol) = symbols.next() {
        if symbol == '\n' {
            line += 1;
        }
        match symbol {
            '"' if quoted && symbols.peek() == Some(&'"') => {
                symbols.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            _ if quoted => cell.push(symbol),
            ',' => cells.push(std::mem::take(&mut cell)),
            '\r' => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                let cells = std::mem::take(&mut cells);
                if cells.len() > 1 || !cells[0].is_empty() {
                    lines.push((start, cells));
                }
                start = line;
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err((start, "a quote is not closed".to_owned()));
    }
    if !cell.is_empty() || !cells.is_empty() {
        cells.push(cell);
        lines.push((start, cells));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whatever_their_form() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            read_records(&path)
        };
        let expected = Record::new()
            .with("a.b", 1)
            .with("name", "x, \"y\"")
            .with("v", 0.5);
        for (name, text) in [
            (
                "r.jsonl",
                "{\"a\": {\"b\": 1}, \"name\": \"x, \\\"y\\\"\", \"v\": 0.5}\n\n",
            ),
            (
                "r.json",
                "[{\"a\": {\"b\": 1}, \"name\": \"x, \\\"y\\\"\", \"v\": 0.5}]",
            ),
            ("r.csv", "a.b,name,v,w\r\n1,\"x, \"\"y\"\"\",0.5,\r\n"),
        ] {
            let records = read(name, text).unwrap();
            assert_eq!(records, [expected.clone().with("file", name)], "{name}");
        }
        let error = read("w.csv", "a,b\n1,2\n3\n").unwrap_err().to_string();
        assert!(
            error.ends_with("w.csv, line 3: 1 cells, the header has 2"),
            "{error}"
        );
        let error = read("w.jsonl", "{}\n[]\n").unwrap_err().to_string();
        assert!(error.contains("w.jsonl, line 2"), "{error}");
    }
}
