//! Reading records, whole or torn, finished or being written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::environment::{Environment, GitState};
use super::error::TrackingError;
use super::event::{ConsoleLine, Event, RunEnd, RunHeader, StampedEvent};
use super::frame::{FrameKind, FrameReader};
use super::listing::RunOverview;
use super::metrics::Metrics;
use super::rows::Block;

/// Name of the record in a run's directory.
pub(super) const RECORD: &str = "record.novic";

/// A run's record, read as far as it goes.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// What was known at the start.
    pub header: RunHeader,
    /// The resolved configuration.
    pub config: serde_json::Value,
    /// The machine.
    pub environment: Option<Environment>,
    /// The source tree.
    pub git: Option<GitState>,
    /// BLAKE3 hash of the program's file.
    pub program_hash: Option<String>,
    /// All events in order, those above included.
    pub events: Vec<StampedEvent>,
    /// Metrics by stage.
    pub metrics: BTreeMap<String, Metrics>,
    /// How it ended, if it said so.
    pub end: Option<RunEnd>,
    /// Time of the last sign of life in the record, ms since 1970.
    pub last_ms: u64,
    /// Bytes behind the last whole frame: more than 0 after a kill in the
    /// middle of writing.
    pub torn_bytes: u64,
    /// Bytes between whole frames that cannot be read.
    pub damaged_bytes: u64,
}

impl RunRecord {
    /// The lines that were shown.
    pub fn console(&self) -> impl Iterator<Item = (u64, &ConsoleLine)> {
        self.events.iter().filter_map(|event| match &event.what {
            Event::Console(line) => Some((event.time_us, line)),
            _ => None,
        })
    }

    /// What `novic ls` tells of the run.
    pub fn overview(&self) -> RunOverview {
        let mut overview = RunOverview::of(&self.header);
        self.events.iter().for_each(|event| overview.apply(event));
        overview.last_ms = overview.last_ms.max(self.last_ms);
        overview
    }
}

/// Reads the record of the run in `dir`.
pub fn read_record(dir: &Path) -> Result<RunRecord, TrackingError> {
    read(dir, FrameReader::open(&dir.join(RECORD))?)
}

/// The same without metrics, in much shorter time.
pub fn read_record_without_metrics(dir: &Path) -> Result<RunRecord, TrackingError> {
    read(dir, FrameReader::open(&dir.join(RECORD))?.without_rows())
}

fn read(dir: &Path, reader: FrameReader) -> Result<RunRecord, TrackingError> {
    let path = dir.join(RECORD);
    let mut scan = Scan::default();
    let good = scan.read(reader.past_damage())?;
    let length = std::fs::metadata(&path)
        .map_err(TrackingError::io("read", &path))?
        .len();
    let header = scan.events.iter().find_map(|event| match &event.what {
        Event::Header(header) => Some(header.clone()),
        _ => None,
    });
    let header = header.ok_or_else(|| TrackingError::NotARecord {
        path: path.clone(),
        what: "it does not say which run".into(),
    })?;
    let mut record = RunRecord {
        config: serde_json::Value::Null,
        environment: None,
        git: None,
        program_hash: None,
        metrics: scan.metrics,
        end: None,
        last_ms: scan.beat_ms.max(header.started_ms + scan.last_us / 1000),
        torn_bytes: length.saturating_sub(good),
        damaged_bytes: scan.damaged,
        header,
        events: scan.events,
    };
    for event in &record.events {
        match &event.what {
            Event::Config { values } => record.config = values.clone(),
            Event::Environment(environment) => record.environment = Some(environment.clone()),
            Event::Git(git) => record.git = Some(git.clone()),
            Event::Program { hash } => record.program_hash = Some(hash.clone()),
            Event::End(end) => record.end = Some(end.clone()),
            _ => {}
        }
    }
    Ok(record)
}

/// Whether there is the beginning of a record in `dir`.
pub(super) fn check_record(dir: &Path) -> Result<(), TrackingError> {
    FrameReader::open(&dir.join(RECORD)).map(drop)
}

/// Names of what [`read_surroundings`] finds.
pub(super) const SURROUNDINGS: [&str; 16] = [
    "host",
    "system",
    "cpu",
    "cpu_features",
    "cpus",
    "threads",
    "memory",
    "gpus",
    "toolchain",
    "program",
    "program_hash",
    "git.commit",
    "git.branch",
    "git.dirty",
    "git.remote",
    "command",
];

/// What the record in `dir` says of machine, program and sources, by the names of
/// fields; read only as far as needed.
pub(super) fn read_surroundings(dir: &Path) -> Result<Map<String, Value>, TrackingError> {
    let reader = FrameReader::open(&dir.join(RECORD))?.without_rows();
    let mut reader = reader.past_damage();
    let mut found = Map::new();
    let is_whole = |found: &Map<String, Value>| {
        ["program", "host", "program_hash", "git.commit"]
            .iter()
            .all(|name| found.contains_key(*name))
    };
    while !is_whole(&found)
        && let Some((kind, payload)) = reader.next()?
    {
        if kind != FrameKind::Event {
            continue;
        }
        let Ok(event) = serde_json::from_slice::<StampedEvent>(&payload) else {
            continue;
        };
        match event.what {
            Event::Header(header) => {
                found.insert("program".into(), header.program.into());
                found.insert("command".into(), header.command.join(" ").into());
            }
            Event::Environment(machine) => {
                let fields = json!(machine).as_object().cloned().unwrap_or_default();
                found.extend(fields);
            }
            Event::Program { hash } => {
                found.insert("program_hash".into(), hash.into());
            }
            Event::Git(git) => {
                found.insert("git.commit".into(), git.commit.into());
                found.insert("git.branch".into(), git.branch.into());
                found.insert("git.dirty".into(), git.dirty.into());
                let remote = git
                    .remote
                    .map(|remote| ("git.remote".into(), remote.into()));
                found.extend(remote);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the metrics that an entry of the store carries. They end where they are
/// damaged: which rows were void behind that, and of which attempt, is not known.
pub fn read_metrics(path: &Path) -> Result<Metrics, TrackingError> {
    let mut scan = Scan::default();
    scan.read(FrameReader::open(path)?)?;
    Ok(scan.metrics.into_values().next().unwrap_or_default())
}

/// Length of the readable part of an entry's metrics, and their rows.
pub(super) fn measure_metrics(path: &Path) -> Result<(u64, u64), TrackingError> {
    let mut scan = Scan::default();
    let good = scan.read(FrameReader::open(path)?)?;
    let rows = scan
        .metrics
        .values()
        .map(Metrics::next_position)
        .max()
        .unwrap_or(0);
    Ok((good, rows))
}

/// The content of a file of frames.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) events: Vec<StampedEvent>,
    names: HashMap<u32, Columns>,
    pub(super) metrics: BTreeMap<String, Metrics>,
    /// Start of the run that wrote what follows, µs since 1970.
    base_us: u64,
    last_us: u64,
    beat_ms: u64,
    /// Bytes between whole frames that were passed over.
    damaged: u64,
}

#[derive(Debug, Deserialize)]
struct Columns {
    number: u32,
    stage: String,
    names: Vec<String>,
}

impl Scan {
    /// Takes in all whole frames; returns the length of the readable part.
    pub(super) fn read(&mut self, mut reader: FrameReader) -> Result<u64, TrackingError> {
        while let Some((kind, payload)) = reader.next()? {
            match kind {
                FrameKind::Event => {
                    if let Ok(event) = serde_json::from_slice::<StampedEvent>(&payload) {
                        self.event(event);
                    }
                }
                FrameKind::Columns => {
                    if let Ok(columns) = serde_json::from_slice::<Columns>(&payload) {
                        self.names.insert(columns.number, columns);
                    }
                }
                FrameKind::Rows => self.rows(&payload),
                FrameKind::Beat => {
                    if let Ok(bytes) = payload.as_slice().try_into() {
                        self.beat_ms = u64::from_le_bytes(bytes);
                    }
                }
            }
        }
        self.damaged = reader.damaged();
        Ok(reader.good())
    }

    fn event(&mut self, event: StampedEvent) {
        match &event.what {
            Event::Header(header) => self.base_us = header.started_ms.saturating_mul(1000),
            Event::Attempt { started_ms, .. } => self.base_us = started_ms.saturating_mul(1000),
            Event::Rewind { stage, position } => {
                if let Some(metrics) = self.metrics.get_mut(stage) {
                    metrics.rewind(*position);
                }
            }
            _ => {}
        }
        self.last_us = self.last_us.max(event.time_us);
        self.events.push(event);
    }

    fn rows(&mut self, payload: &[u8]) {
        let columns = |number| self.names.get(&number).map(|columns| columns.names.len());
        let Some((number, mut block)) = Block::decode(payload, columns) else {
            return;
        };
        let Some(columns) = self.names.get(&number) else {
            return;
        };
        self.last_us = self.last_us.max(block.times.last().copied().unwrap_or(0));
        for time in &mut block.times {
            *time = time.saturating_add(self.base_us);
        }
        self.metrics
            .entry(columns.stage.clone())
            .or_default()
            .append(&columns.names, block);
    }
}
