//! From the records of a run to the lines of a mirror: reads again and again
//! what is new, in constant memory, and always comes to the same lines.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::definitions::Definitions;
use super::encodings;
use super::error::WandbError;
use super::numbering::{InOrder, RowNumbers};
use super::state::{Counts, MirrorState};
use crate::store::replace_file;
use crate::tracking::event::{Event, Level, StageOutcome, StampedEvent};
use crate::tracking::frame::{FrameKind, FrameReader};
use crate::tracking::reader::RECORD;
use crate::tracking::rows::Block;
use crate::tracking::{SYSTEM, TrackingError, Value};

/// Takes the lines of a run.
pub(super) trait Sink {
    /// Whether it wants no more for now.
    fn is_full(&self) -> bool {
        false
    }
    /// A row of metrics: its line, step, content and time (µs since 1970).
    fn history(&mut self, line: u64, step: i64, row: Map<String, Json>, time_us: u64);
    /// A system sample.
    fn sample(&mut self, line: u64, sample: Map<String, Json>, time_us: u64);
    /// A console line.
    fn console(&mut self, line: u64, text: &str, is_error: bool, time_us: u64);
    /// Lines of the history from `line` on are void.
    fn rewind(&mut self, line: u64);
    /// What follows is of the last record.
    fn last_record(&mut self) {}
}

/// Takes everything and keeps nothing.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn history(&mut self, _: u64, _: i64, _: Map<String, Json>, _: u64) {}
    fn sample(&mut self, _: u64, _: Map<String, Json>, _: u64) {}
    fn console(&mut self, _: u64, _: &str, _: bool, _: u64) {}
    fn rewind(&mut self, _: u64) {}
}

/// Rows, samples and console lines that a mirrored run has by now and the
/// service does not have; none if the stage has not begun.
///
/// # Errors
/// A record cannot be read.
pub fn count_unsent(state: &MirrorState) -> Result<Option<u64>, WandbError> {
    let mut source = Source::new(state);
    source.read(&mut Nothing)?;
    let (lines, had) = (source.lines(), state.progress.acknowledged);
    let missing = lines.history.saturating_sub(had.history)
        + lines.events.saturating_sub(had.events)
        + lines.log.saturating_sub(had.log);
    Ok(source.has_begun().then_some(missing))
}

#[derive(Debug, Deserialize)]
struct Columns {
    number: u32,
    stage: String,
    names: Vec<String>,
}

#[derive(Debug)]
struct Row {
    time_us: u64,
    values: Vec<(String, Value)>,
}

/// The records of a mirrored run, read as far as they go.
#[derive(Debug)]
pub(super) struct Source {
    stage: String,
    console: bool,
    system_interval_us: Option<u64>,
    line_limit: usize,
    appended: bool,
    files_dir: PathBuf,
    records: VecDeque<PathBuf>,
    /// Whether there are earlier records.
    earlier: bool,
    /// Length of what was read of the first of them.
    good: u64,
    columns: HashMap<u32, Columns>,
    /// Start of the record's run, µs since 1970.
    run_start_us: u64,
    /// Start of the stage in it.
    stage_start_us: Option<u64>,
    rows: InOrder<Row>,
    /// Number of the record's row 0 over all records.
    shift: u64,
    numbers: RowNumbers,
    samples: InOrder<Row>,
    sample_lines: u64,
    last_sample_us: Option<u64>,
    log_lines: u64,
    /// Time that passed before the stage's start in this record, s.
    runtime_before: f64,
    runtime: f64,
    exit_code: Option<i32>,
    summary: Map<String, Json>,
    config: Map<String, Json>,
    definitions: Definitions,
    files: Vec<String>,
    too_long: u64,
    /// Counts changes of summary and configuration.
    changes: (u64, u64),
}

impl Source {
    /// The source of a mirror.
    pub(super) fn new(state: &MirrorState) -> Source {
        let settings = &state.settings;
        let base = &state.progress.base;
        let interval = settings.system_interval;
        Source {
            stage: state.stage.clone(),
            console: settings.console,
            // Samples do not come to the microsecond.
            system_interval_us: interval.map(|s| ((s - 1.0).max(0.0) * 1e6) as u64),
            line_limit: settings
                .max_line_bytes
                .min(settings.max_request_bytes.saturating_sub(REQUEST_FRAME)),
            appended: state.appended,
            files_dir: state.files_dir(),
            records: state.record_dirs().into(),
            earlier: state.records.len() > 1,
            good: 0,
            columns: HashMap::new(),
            run_start_us: 0,
            stage_start_us: None,
            rows: InOrder::default(),
            shift: 0,
            numbers: RowNumbers::new(base.step),
            samples: InOrder::default(),
            sample_lines: 0,
            last_sample_us: None,
            log_lines: 0,
            runtime_before: base.runtime,
            runtime: base.runtime,
            exit_code: None,
            summary: base.summary.clone(),
            config: Map::new(),
            definitions: Definitions::new(&settings.metrics),
            files: Vec::new(),
            too_long: 0,
            changes: (0, 0),
        }
    }

    /// Reads what is new, until the sink is full.
    ///
    /// # Errors
    /// A record cannot be read, or a file of a row cannot be written.
    pub(super) fn read(&mut self, sink: &mut dyn Sink) -> Result<(), WandbError> {
        while !sink.is_full() {
            let Some(path) = self.records.front().map(|dir| dir.join(RECORD)) else {
                return Ok(());
            };
            if self.good == 0 && self.records.len() == 1 {
                sink.last_record();
            }
            if self.read_record(&path, sink)? {
                // Full before the end.
                return Ok(());
            }
            if self.records.len() == 1 {
                return Ok(());
            }
            self.settle(sink)?;
            self.next_record();
        }
        Ok(())
    }

    /// Whether the sink was full before the end of what can be read.
    fn read_record(&mut self, path: &Path, sink: &mut dyn Sink) -> Result<bool, WandbError> {
        let io = |error| TrackingError::io("read", path)(error);
        let length = fs::metadata(path).map_err(io)?.len();
        if length <= self.good {
            return Ok(false);
        }
        let mut reader = FrameReader::open(path)?;
        if self.good > 0 {
            reader = reader.resume(self.good)?;
        }
        while !sink.is_full() {
            let Some((kind, payload)) = reader.next()? else {
                return Ok(false);
            };
            self.good = reader.good();
            match kind {
                FrameKind::Event => {
                    if let Ok(event) = serde_json::from_slice::<StampedEvent>(&payload) {
                        self.event(event, sink)?;
                    }
                }
                FrameKind::Columns => {
                    if let Ok(columns) = serde_json::from_slice::<Columns>(&payload) {
                        self.columns.insert(columns.number, columns);
                    }
                }
                FrameKind::Rows => self.block(&payload, sink)?,
                FrameKind::Beat => {}
            }
        }
        Ok(true)
    }

    fn next_record(&mut self) {
        self.records.pop_front();
        self.good = 0;
        self.columns.clear();
        self.stage_start_us = None;
        self.samples = InOrder::default();
        self.last_sample_us = None;
        self.exit_code = None;
        self.runtime_before = self.runtime;
        if self.appended {
            self.shift = self.rows.next();
        }
    }

    /// Whether the stage has begun, in the last record or an earlier one.
    pub(super) fn has_begun(&self) -> bool {
        self.stage_start_us.is_some() || self.earlier
    }

    /// How the stage ended, once it is over.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.exit_code.filter(|_| self.records.len() <= 1)
    }

    /// Lines so far.
    pub(super) fn lines(&self) -> Counts {
        Counts {
            history: self.numbers.lines(),
            events: self.sample_lines,
            log: self.log_lines,
        }
    }

    /// The summary so far.
    pub(super) fn summary(&self) -> Map<String, Json> {
        let mut summary = self.summary.clone();
        let runtime = json!({ "runtime": self.runtime.floor() });
        summary.insert("_wandb".to_owned(), runtime);
        summary
    }

    /// What was added to the configuration.
    pub(super) fn config(&self) -> &Map<String, Json> {
        &self.config
    }

    /// Files that rows refer to, or that belong to the run.
    pub(super) fn files(&self) -> &[String] {
        &self.files
    }

    /// Numbers that grow when the summary or the configuration changes.
    pub(super) fn changes(&self) -> (u64, u64) {
        self.changes
    }

    /// Rows that were too long.
    pub(super) fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Time since the start, s, over all records.
    pub(super) fn runtime(&self) -> f64 {
        self.runtime
    }

    fn event(&mut self, event: StampedEvent, sink: &mut dyn Sink) -> Result<(), WandbError> {
        let time_us = self.run_start_us.saturating_add(event.time_us);
        match event.what {
            Event::Header(header) => self.run_start_us = header.started_ms.saturating_mul(1000),
            Event::StageStarted { stage, .. } if stage == self.stage => {
                self.stage_start_us.get_or_insert(time_us);
            }
            Event::StageFinished {
                stage,
                outcome,
                results,
                ..
            } if stage == self.stage => {
                self.settle(sink)?;
                self.pass(time_us);
                let status = results["exit_code"].as_i64();
                let status = status.and_then(|status| i32::try_from(status).ok());
                self.exit_code = Some(match outcome {
                    StageOutcome::Done | StageOutcome::UpToDate => 0,
                    StageOutcome::Interrupted => 130,
                    _ => status.unwrap_or(1),
                });
            }
            Event::End(end) => {
                self.settle(sink)?;
                self.exit_code.get_or_insert(i32::from(end.exit_code));
            }
            Event::Rewind { stage, position } if stage == self.stage => {
                self.settle(sink)?;
                let row = self.shift + position;
                self.rows.rewind(row);
                self.definitions.rewind(row);
                self.numbers.rewind(row);
                sink.rewind(self.numbers.lines());
            }
            Event::Console(line) if line.stage.as_deref() == Some(self.stage.as_str()) => {
                self.pass(time_us);
                if self.console {
                    let is_error = line.level >= Level::Warn;
                    for text in encodings::console_lines(&line.text) {
                        sink.console(self.log_lines, text, is_error, time_us);
                        self.log_lines += 1;
                    }
                }
            }
            Event::Summary { stage, values } if stage == self.stage => {
                for (key, value) in &values {
                    encodings::merge(&mut self.summary, key, value);
                }
                self.changes.0 += 1;
            }
            Event::ConfigChange { stage, values } if stage == self.stage => {
                self.config.extend(values);
                self.changes.1 += 1;
            }
            Event::File { stage, path } if stage == self.stage => self.add_file(path),
            _ => {}
        }
        Ok(())
    }

    fn add_file(&mut self, path: String) {
        if !self.files.contains(&path) {
            self.files.push(path);
        }
    }

    /// Time went on to `time_us`.
    fn pass(&mut self, time_us: u64) -> f64 {
        let start = self.stage_start_us.unwrap_or(self.run_start_us);
        let since = time_us.saturating_sub(start) as f64 / 1e6;
        let runtime = self.runtime_before + since;
        self.runtime = self.runtime.max(runtime);
        runtime
    }

    fn block(&mut self, payload: &[u8], sink: &mut dyn Sink) -> Result<(), WandbError> {
        let columns = |number| self.columns.get(&number).map(|columns| columns.names.len());
        let Some((number, block)) = Block::decode(payload, columns) else {
            return Ok(());
        };
        let Some(columns) = self.columns.get(&number) else {
            return Ok(());
        };
        let is_ours = columns.stage == self.stage;
        if !is_ours && columns.stage != SYSTEM {
            return Ok(());
        }
        let mut cells: Vec<_> = block.columns.iter().map(|column| column.values()).collect();
        for (position, time) in block.positions.iter().zip(&block.times) {
            let values = columns.names.iter().zip(&mut cells);
            let values = values
                .map(|(name, cells)| (name.clone(), cells.next().unwrap_or(Value::Null)))
                .collect();
            let row = Row {
                time_us: self.run_start_us.saturating_add(*time),
                values,
            };
            if is_ours {
                self.rows.push(self.shift + position, row);
            } else {
                self.samples.push(*position, row);
            }
        }
        while let Some((number, row)) = self.rows.pop() {
            self.row(number, row, sink)?;
        }
        while let Some((_, row)) = self.samples.pop() {
            self.sample(row, sink);
        }
        Ok(())
    }

    /// Takes what waits for rows that do not come.
    fn settle(&mut self, sink: &mut dyn Sink) -> Result<(), WandbError> {
        while let Some((number, row)) = self.rows.pop_any() {
            self.row(number, row, sink)?;
        }
        while let Some((_, row)) = self.samples.pop_any() {
            self.sample(row, sink);
        }
        Ok(())
    }

    fn row(&mut self, number: u64, row: Row, sink: &mut dyn Sink) -> Result<(), WandbError> {
        let runtime = self.pass(row.time_us);
        self.numbers.begin(self.shift);
        let given = row.values.iter().find_map(|(name, value)| match value {
            Value::Integer(step) if name == STEP => Some(*step),
            _ => None,
        });
        let step = self.numbers.step(given);
        let mut line = Map::new();
        for (name, value) in row.values {
            if name == STEP {
                continue;
            }
            let mut value = value.to_json();
            if let Some(media) = encodings::media(&name, step, &value) {
                self.keep(&media)?;
                value = media.value;
                self.add_file(media.path);
            }
            line.insert(name, value);
        }
        self.definitions.complete(&mut line);
        for (name, value) in &line {
            if !self.fits(value) {
                continue;
            }
            let before = self.summary.get(name);
            let value = self.definitions.summary((number, name), value, before);
            if let Some(value) = value {
                encodings::merge(&mut self.summary, name, &value);
            }
        }
        for (name, value) in [
            ("_timestamp", json!(row.time_us as f64 / 1e6)),
            ("_runtime", json!(runtime)),
            (STEP, json!(step)),
        ] {
            self.summary.insert(name.to_owned(), value.clone());
            line.insert(name.to_owned(), value);
        }
        self.changes.0 += 1;
        // Quotes and backslashes take two bytes on the way.
        let text = Json::String(Json::from(line.clone()).to_string()).to_string();
        if text.len() > self.line_limit {
            self.numbers.leave_out(number);
            self.too_long += 1;
            return Ok(());
        }
        let at = self.numbers.line(step);
        sink.history(at, step, line, row.time_us);
        Ok(())
    }

    /// Whether a value alone is short enough for the service.
    fn fits(&self, value: &Json) -> bool {
        match value {
            Json::String(text) => text.len() <= self.line_limit,
            Json::Array(_) | Json::Object(_) => value.to_string().len() <= self.line_limit,
            _ => true,
        }
    }

    /// Writes the file of a row, unless an earlier reading did.
    fn keep(&self, media: &encodings::Media) -> Result<(), WandbError> {
        let path = self.files_dir.join(&media.path);
        if path.exists() {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(WandbError::io("make", folder))?;
        }
        Ok(replace_file(&path, &media.content)?)
    }

    fn sample(&mut self, row: Row, sink: &mut dyn Sink) {
        let (Some(interval), Some(start)) = (self.system_interval_us, self.stage_start_us) else {
            return;
        };
        if self.exit_code.is_some() {
            // The machine is at work for other stages.
            return;
        }
        let early = |last: u64| row.time_us.saturating_sub(last) < interval;
        if row.time_us < start || self.last_sample_us.is_some_and(early) {
            return;
        }
        self.last_sample_us = Some(row.time_us);
        let runtime = self.pass(row.time_us);
        let mut line = Map::new();
        for (name, value) in &row.values {
            let (name, value) = system_name(name, value);
            line.insert(format!("system.{name}"), value);
        }
        line.insert("_wandb".to_owned(), json!(true));
        line.insert("_timestamp".to_owned(), json!(row.time_us as f64 / 1e6));
        line.insert("_runtime".to_owned(), json!(runtime));
        sink.sample(self.sample_lines, line, row.time_us);
        self.sample_lines += 1;
    }
}

/// Name of the step in a row.
pub(super) const STEP: &str = "_step";

/// Bytes of a request besides its lines and summary, at most.
pub(super) const REQUEST_FRAME: usize = 1024;

/// Our samples by the names of the service.
fn system_name<'a>(name: &'a str, value: &Value) -> (&'a str, Json) {
    match name {
        "cpu_percent" => ("proc.cpu.percent", value.to_json()),
        "memory_gib" => {
            let mib = value.as_f64().map(|gib| gib * 1024.0);
            ("proc.memory.rssMB", Value::from(mib).to_json())
        }
        "machine_cpu_percent" => ("cpu", value.to_json()),
        "machine_memory_percent" => ("memory_percent", value.to_json()),
        "disk_free_gib" => ("disk.freeGB", value.to_json()),
        other => (other, value.to_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Description, Settings};
    use super::*;
    use crate::store::Project;
    use crate::tracking::{RunEnd, RunRecorder, RunStart};

    /// Writes down what comes.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Sink for Notes {
        fn history(&mut self, line: u64, step: i64, row: Map<String, Json>, _: u64) {
            let mut row = row;
            row.retain(|name, _| !name.starts_with('_'));
            self.0.push(format!("{line}@{step} {}", Json::from(row)));
        }
        fn sample(&mut self, line: u64, sample: Map<String, Json>, _: u64) {
            self.0
                .push(format!("sample {line} {}", sample["system.cpu"]));
        }
        fn console(&mut self, line: u64, text: &str, is_error: bool, _: u64) {
            let error = if is_error { "!" } else { "" };
            self.0.push(format!("line {line} {error}{text}"));
        }
        fn rewind(&mut self, line: u64) {
            self.0.push(format!("back to {line}"));
        }
    }

    fn begin(run: &RunRecorder, resumed: bool) {
        run.event(Event::StageStarted {
            stage: "train".into(),
            resumed,
        });
    }

    #[test]
    fn a_resumed_stage_goes_on_with_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let metrics = dir.path().join("metrics.novic");
        let first = RunRecorder::start(&project, RunStart::default()).unwrap();
        let first_dir = first.dir().to_path_buf();
        begin(&first, false);
        let log = first.stage_with_file("train", &metrics).unwrap();
        for chunk in 0..4u64 {
            log.row(&[("chunk", chunk.into())]);
            log.row(&[("chunk", chunk.into()), ("loss", 0.5.into())]);
        }
        first.console(Some("train"), Level::Info, "a\rb");
        first.console(Some("other"), Level::Info, "not ours");
        first
            .stage(SYSTEM)
            .row(&[("machine_cpu_percent", 50.0.into())]);
        log.close().unwrap();
        let end = |exit_code| RunEnd {
            exit_code,
            reason: String::new(),
        };
        first.finish(end(130)).unwrap();

        let second = RunRecorder::start(&project, RunStart::default()).unwrap();
        begin(&second, true);
        let log = second.stage_with_file("train", &metrics).unwrap();
        log.rewind(6);
        log.row(&[("chunk", 33u64.into())]);
        second.console(Some("train"), Level::Warn, "again");
        second.flush().unwrap();

        let mut earlier = MirrorState::new(
            &first_dir,
            "train",
            "k",
            Settings::default(),
            Description::default(),
        );
        let mut state = MirrorState::new(
            second.dir(),
            "train",
            "k",
            Settings::default(),
            Description::default(),
        );
        state.continue_from(&mut earlier).unwrap();
        let mut source = Source::new(&state);
        let mut notes = Notes::default();
        source.read(&mut notes).unwrap();
        assert!(source.has_begun());
        assert_eq!(source.exit_code(), None);
        assert_eq!(
            notes.0,
            [
                "0@0 {\"chunk\":0}",
                "1@1 {\"chunk\":0,\"loss\":0.5}",
                "2@2 {\"chunk\":1}",
                "3@3 {\"chunk\":1,\"loss\":0.5}",
                "4@4 {\"chunk\":2}",
                "5@5 {\"chunk\":2,\"loss\":0.5}",
                "6@6 {\"chunk\":3}",
                "7@7 {\"chunk\":3,\"loss\":0.5}",
                "line 0 b",
                "sample 0 50.0",
                "back to 6",
                "6@6 {\"chunk\":33}",
                "line 1 !again",
            ]
        );
        drop(log);
        second.finish(end(3)).unwrap();
        source.read(&mut notes).unwrap();
        assert_eq!(source.exit_code(), Some(3));
        assert_eq!(source.summary()["chunk"], 33);
        assert_eq!(source.summary()["_step"], 6);
    }

    #[test]
    fn rows_that_are_too_long_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        begin(&run, false);
        let log = run.stage("train");
        for text in ["a", "b", &"x".repeat(1000)] {
            log.row(&[("text", text.into())]);
        }
        run.flush().unwrap();
        let settings = Settings {
            max_line_bytes: 500,
            ..Settings::default()
        };
        let state = MirrorState::new(run.dir(), "train", "k", settings, Description::default());
        let mut source = Source::new(&state);
        let mut notes = Notes::default();
        source.read(&mut notes).unwrap();
        assert_eq!(notes.0, ["0@0 {\"text\":\"a\"}", "1@1 {\"text\":\"b\"}"]);
        assert_eq!(source.too_long(), 1);
        assert_eq!(source.summary()["text"], "b", "the last that fits");
    }
}
