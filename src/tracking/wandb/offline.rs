//! Directories for the official `wandb sync`: for machines without a network,
//! and as a way out.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::definitions;
use super::encodings;
use super::error::WandbError;
use super::files;
use super::framing::LogWriter;
use super::mirror::exit_code;
use super::records;
use super::source::{STEP, Sink, Source};
use super::state::MirrorState;

/// Oldest version of the reader.
const MIN_CONSUMER: &str = "0.70.0";

/// Writes the records of a log, numbered.
struct Log {
    path: PathBuf,
    out: LogWriter<BufWriter<File>>,
    number: u64,
    /// The first error; nothing is written behind it.
    failed: Option<std::io::Error>,
}

impl Log {
    fn create(path: &Path) -> Result<Log, WandbError> {
        Ok(Log {
            out: LogWriter::create(path)?,
            path: path.to_path_buf(),
            number: 0,
            failed: None,
        })
    }

    fn add(&mut self, name: &str, content: Value) {
        self.number += 1;
        let mut record = Map::new();
        record.insert("num".to_owned(), json!(self.number));
        record.insert(name.to_owned(), content);
        if self.failed.is_none() {
            let bytes = records::encode(&Value::Object(record));
            self.failed = self.out.append(&bytes).err();
        }
    }

    fn finish(mut self) -> Result<(), WandbError> {
        let done = match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        };
        done.map_err(WandbError::io("write", &self.path))
    }
}

fn items(values: &Map<String, Value>) -> Value {
    let items = values
        .iter()
        .map(|(key, value)| json!({ "key": key, "value_json": value.to_string() }));
    items.collect()
}

/// µs since 1970 as the time of a record.
fn time(us: u64) -> Value {
    json!({ "seconds": us / 1_000_000, "nanos": us % 1_000_000 * 1000 })
}

/// Finds out which rows of a run are void in the end: a log cannot take a row
/// back.
#[derive(Default)]
struct VoidRows {
    /// Rows so far, and of each time the run went back: how many rows there
    /// were, and from which line on they are void.
    rows: u64,
    back: Vec<(u64, u64)>,
    /// Rows of earlier records.
    earlier: u64,
}

impl VoidRows {
    /// Whether a row is void.
    fn contains(&self, row: u64, line: u64) -> bool {
        self.back
            .iter()
            .any(|&(rows, from)| row < rows && line >= from)
    }
}

impl Sink for VoidRows {
    fn history(&mut self, _: u64, _: i64, _: Map<String, Value>, _: u64) {
        self.rows += 1;
    }
    fn sample(&mut self, _: u64, _: Map<String, Value>, _: u64) {}
    fn console(&mut self, _: u64, _: &str, _: bool, _: u64) {}
    fn rewind(&mut self, line: u64) {
        self.back.push((self.rows, line));
    }
    fn last_record(&mut self) {
        self.earlier = self.rows;
    }
}

/// Writes rows, samples and lines of a run to a log.
struct Writer<'a> {
    log: &'a mut Log,
    void: &'a VoidRows,
    row: u64,
    /// Whether what comes is to be written.
    writes: bool,
    /// Step that becomes 0, once it is known.
    first_step: Option<i64>,
}

impl Sink for Writer<'_> {
    fn history(&mut self, line: u64, step: i64, mut row: Map<String, Value>, _: u64) {
        self.row += 1;
        if !self.writes || self.void.contains(self.row - 1, line) {
            return;
        }
        let step = step - *self.first_step.get_or_insert(step);
        row.insert(STEP.to_owned(), json!(step));
        // 0 is written as an empty message.
        let number = if step == 0 {
            json!({})
        } else {
            json!({ "num": step })
        };
        self.log
            .add("history", json!({ "item": items(&row), "step": number }));
    }

    fn sample(&mut self, _: u64, sample: Map<String, Value>, time_us: u64) {
        if !self.writes {
            return;
        }
        let values: Map<String, Value> = sample
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("system.")?.to_owned(), value)))
            .collect();
        self.log.add(
            "stats",
            json!({ "timestamp": time(time_us), "item": items(&values) }),
        );
    }

    fn console(&mut self, _: u64, text: &str, is_error: bool, time_us: u64) {
        if !self.writes {
            return;
        }
        let mut output = json!({
            "timestamp": time(time_us),
            "line": format!("{}\n", encodings::cut(text)),
        });
        if !is_error {
            output["output_type"] = json!(1);
        }
        self.log.add("output_raw", output);
    }

    fn rewind(&mut self, _: u64) {}

    fn last_record(&mut self) {
        self.writes = true;
    }
}

/// Writes the directory of a mirrored run into `parent`; returns its path. A
/// run that goes on with an earlier one there has only what is new.
///
/// # Errors
/// The records cannot be read, or the directory cannot be written.
pub fn write_offline(
    state: &MirrorState,
    parent: &Path,
    whole: bool,
) -> Result<PathBuf, WandbError> {
    let about = files::about(state);
    let started: jiff::Timestamp = about["startedAt"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let run = &state.run;
    let name = started.strftime("offline-run-%Y%m%d_%H%M%S");
    let dir = parent.join(format!("{name}-{}", run.id));
    let files_dir = dir.join("files");
    fs::create_dir_all(&files_dir).map_err(WandbError::io("make", &files_dir))?;
    let path = dir.join(format!("run-{}.wandb", run.id));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(WandbError::io("replace", &path)(error));
        }
        _ => {}
    }
    let mut void = VoidRows::default();
    let mut source = Source::new(state);
    source.read(&mut void)?;
    let continues = !whole && state.records.len() > 1;

    let mut log = Log::create(&path)?;
    let producer = concat!("novic ", env!("CARGO_PKG_VERSION"));
    log.add(
        "header",
        json!({ "version_info": { "producer": producer, "min_consumer": MIN_CONSUMER } }),
    );
    let started_us = started.as_microsecond().max(0) as u64;
    log.add(
        "run",
        run_record(state, &source, &about, started_us, continues),
    );
    for metric in definitions::for_log(&state.settings.metrics) {
        log.add("metric", metric);
    }
    log.add("environment", environment(&about, started_us));
    let mut writer = Writer {
        log: &mut log,
        void: &void,
        row: 0,
        writes: !continues,
        // The steps of a whole run are its own.
        first_step: (!continues).then_some(0),
    };
    let mut source = Source::new(state);
    source.read(&mut writer)?;
    let first_step = writer.first_step.unwrap_or(0);
    let mut summary = source.summary();
    if let Some(step) = summary.get(STEP).and_then(Value::as_i64) {
        summary.insert(STEP.to_owned(), json!(step - first_step));
    }
    log.add("summary", json!({ "update": items(&summary) }));
    let files = copy_files(state, &source, &files_dir)?;
    if !files.is_empty() {
        let files: Vec<Value> = files.iter().map(|path| json!({ "path": path })).collect();
        log.add("files", json!({ "files": files }));
    }
    let exit_code = exit_code(state, &source);
    let mut exit = json!({ "runtime": source.runtime() as u64 });
    if exit_code != 0 {
        exit["exit_code"] = json!(exit_code);
    }
    log.add("exit", exit);
    log.finish()?;
    Ok(dir)
}

fn run_record(
    state: &MirrorState,
    source: &Source,
    about: &Value,
    started_us: u64,
    continues: bool,
) -> Value {
    let run = &state.run;
    let mut config = run.config.clone();
    config.extend(source.config().clone());
    let mut record = json!({
        "run_id": run.id,
        "project": run.project,
        "config": { "update": items(&config) },
        "tags": run.tags,
        "host": about["host"],
        "start_time": time(started_us),
    });
    for (name, value) in [
        ("entity", &run.entity),
        ("run_group", &run.group),
        ("job_type", &run.job_type),
        ("display_name", &run.name),
        ("notes", &run.notes),
    ] {
        if let Some(value) = value {
            record[name] = json!(value);
        }
    }
    if let Some(commit) = about["git"]["commit"].as_str() {
        record["git"] = json!({ "commit": commit });
        if let Some(remote) = about["git"]["remote"].as_str() {
            record["git"]["remote_url"] = json!(remote);
        }
    }
    if continues {
        record["resume"] = json!(1);
    }
    record
}

fn environment(about: &Value, started_us: u64) -> Value {
    let mut environment = json!({
        "os": about["os"],
        "started_at": time(started_us),
        "args": about["args"],
        "program": about["program"],
        "root": about["root"],
        "host": about["host"],
        "executable": about["executable"],
        "cpu_count": about["cpu_count"],
        "writer_id": about["novic"]["run"],
    });
    if let Some(gpu) = about["gpu"].as_str() {
        environment["gpu_type"] = json!(gpu);
        environment["gpu_count"] = about["gpu_count"].clone();
    }
    let memory = about["memory"]["total"].as_str();
    if let Some(total) = memory.and_then(|total| total.parse::<u64>().ok()) {
        environment["memory"] = json!({ "total": total });
    }
    environment
}

/// Copies the files of a run; returns their names.
fn copy_files(state: &MirrorState, source: &Source, to: &Path) -> Result<Vec<String>, WandbError> {
    let mut names = Vec::new();
    for name in source.files() {
        let (from, to) = (state.files_dir().join(name), to.join(name));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(WandbError::io("make", folder))?;
        }
        match fs::copy(&from, &to) {
            Ok(_) => names.push(name.clone()),
            // A file that is gone is no reason to lose the rest.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(WandbError::io("copy", &from)(error)),
        }
    }
    Ok(names)
}
