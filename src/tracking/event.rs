//! What happens in a run, as it stands in the record.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::environment::{Environment, GitState};

/// What is known when a run starts: the first event of its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Run id.
    pub run: String,
    /// Version of the program.
    pub program: String,
    /// Start, ms since 1970.
    pub started_ms: u64,
    /// Start in local time with its zone.
    pub started: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Title of the experiment.
    pub title: String,
    /// Experiment file, if there is one.
    pub file: Option<PathBuf>,
    /// The command line.
    pub command: Vec<String>,
    /// Overrides given on the command line.
    pub overrides: Vec<String>,
    /// Working directory.
    pub working_dir: PathBuf,
    /// Where this run puts what people take away.
    pub outputs: PathBuf,
    /// Process number.
    pub pid: u32,
}

/// Severity of a console line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Of interest when searching for a fault.
    Debug,
    /// What goes on.
    Info,
    /// Something may not be as wished.
    Warn,
    /// Something failed.
    Error,
}

/// A line that was shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLine {
    /// Stage it came from, if from one.
    pub stage: Option<String>,
    /// Severity.
    pub level: Level,
    /// The text, without escape codes.
    pub text: String,
}

/// How a stage came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageOutcome {
    /// It ran and its output is in the store.
    Done,
    /// Its output was in the store already.
    UpToDate,
    /// It failed.
    Failed,
    /// It was stopped and can be resumed.
    Interrupted,
    /// It did not run: something it needs is missing.
    Blocked,
    /// It did not run: an input of it has no output, or the run ended before.
    Skipped,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Exit code of the program.
    pub exit_code: u8,
    /// Why it ended, in words.
    pub reason: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts.
    Header(RunHeader),
    /// The resolved configuration, secrets redacted.
    Config {
        /// As JSON.
        values: serde_json::Value,
    },
    /// The machine it runs on.
    Environment(Environment),
    /// The state of the source tree it was started in.
    Git(GitState),
    /// The program's own file.
    Program {
        /// BLAKE3 hash.
        hash: String,
    },
    /// A stage is part of the run.
    StageQueued {
        /// Its name.
        stage: String,
        /// Its kind.
        kind: String,
        /// Its key.
        key: String,
    },
    /// What a stage depends on from outside.
    StageResources {
        /// Its name.
        stage: String,
        /// Role, name, path and identity of each.
        resources: serde_json::Value,
    },
    /// A stage starts to work.
    StageStarted {
        /// Its name.
        stage: String,
        /// Whether it goes on with partial work.
        resumed: bool,
    },
    /// How far a stage is; about once a second.
    StageProgress {
        /// Its name.
        stage: String,
        /// What is counted.
        unit: String,
        /// How many are done.
        done: u64,
        /// How many there are, if known.
        total: Option<u64>,
    },
    /// A stage is over.
    StageFinished {
        /// Its name.
        stage: String,
        /// How it came out.
        outcome: StageOutcome,
        /// Seconds it took in this run.
        seconds: f64,
        /// Why it failed or did not run.
        message: Option<String>,
        /// What it found out.
        results: serde_json::Value,
    },
    /// Metric rows of a stage from `position` on are void: it went back to a
    /// checkpoint, or began again.
    Rewind {
        /// Its name.
        stage: String,
        /// Number of rows that stay.
        position: u64,
    },
    /// Rows that follow are of this run; only in the metrics of an entry.
    Attempt {
        /// Run id.
        run: String,
        /// Start of the run, ms since 1970.
        started_ms: u64,
    },
    /// A line was shown.
    Console(ConsoleLine),
    /// Values of a stage that stand beside its metrics, such as the best one.
    Summary {
        /// Its name.
        stage: String,
        /// By name; later ones win, objects are merged.
        values: serde_json::Map<String, serde_json::Value>,
    },
    /// Values were added to the configuration of a stage while it ran.
    ConfigChange {
        /// Its name.
        stage: String,
        /// By name.
        values: serde_json::Map<String, serde_json::Value>,
    },
    /// A file belongs to a stage.
    File {
        /// Its name.
        stage: String,
        /// Name of the file, with `/`.
        path: String,
    },
    /// A number became NaN or infinite, which ended the stage before it was a
    /// metric.
    NotFinite {
        /// Its name.
        stage: String,
        /// What it was.
        metric: String,
    },
    /// Metric rows were given up because they could not be written.
    Lost {
        /// How many.
        rows: u64,
    },
    /// The run is over.
    End(RunEnd),
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StampedEvent {
    /// µs since the start of the run.
    pub time_us: u64,
    /// What happened.
    pub what: Event,
}
