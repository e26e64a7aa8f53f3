//! Records of the sources of a table: of the project, of the stages of an
//! experiment, of lists in files.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::evaluate::Sources;
use super::field::Field;
use super::local::{local_metrics, local_records, local_values, metric_records};
use super::prediction_source;
use super::predictions::PredictionsError;
use super::record::Record;
use super::spec::{SourceKind, SourceSpec, TableSpec};
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
}

impl Loader<'_> {
    /// The records of all sources of a table.
    pub fn load(&self, table: &TableSpec) -> Result<Sources, SourceError> {
        let fields = table.fields();
        Ok(Sources(self.sources(&table.sources, fields.as_deref())?))
    }

    /// The records of sources; with `fields`, those of configurations among
    /// them alone.
    pub fn sources(
        &self,
        sources: &[SourceSpec],
        fields: Option<&[&Field]>,
    ) -> Result<Vec<Vec<Record>>, SourceError> {
        let records = sources.iter().map(|source| self.source(source, fields));
        records.collect()
    }

    /// The same with all fields that there are, whatever the table needs.
    pub fn load_all(&self, table: &TableSpec) -> Result<Sources, SourceError> {
        Ok(Sources(self.sources(&table.sources, None)?))
    }

    fn source(
        &self,
        source: &SourceSpec,
        fields: Option<&[&Field]>,
    ) -> Result<Vec<Record>, SourceError> {
        let mut records = Vec::new();
        if source.kind == SourceKind::Stages {
            return Ok(self.stages.to_vec());
        }
        if matches!(source.kind, SourceKind::Predictions | SourceKind::Samples) {
            return prediction_source::records(self, source);
        }
        if source.kind == SourceKind::Metrics && source.from.is_empty() {
            return Ok(metric_records(self.outputs, fields));
        }
        for from in &source.from {
            match from.as_str() {
                "local" if source.kind == SourceKind::Metrics => {
                    records.extend(local_metrics(self.project, fields)?);
                }
                "local" if source.kind == SourceKind::Values => {
                    records.extend(local_values(self.project, fields)?);
                }
                "local" => records.extend(local_records(self.project, fields)?),
                pattern => {
                    for path in self.files(pattern)? {
                        records.extend(read_records(&path)?);
                    }
                }
            }
        }
        Ok(records)
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
