//! What is known of a mirrored run beside its record: how it is called, how the
//! service is reached, and how far the mirror is. One JSON file per stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Client;
use super::error::WandbError;
use crate::config::{expanded, schema};
use crate::store::{Project, replace_file};

const FORMAT: u32 = 1;

/// Folder of the mirrors in a run's directory.
pub(super) const FOLDER: &str = "wandb";

/// What the service does when a run with the same id exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resume {
    /// Continues it or makes a new one.
    Allow,
    /// Continues it; a missing one is an error.
    Must,
    /// Never continues one.
    Never,
}

/// Where a run goes, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Address of the service.
    pub base_url: String,
    /// File with certificates that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// What metrics are shown over, and what the summary has of them.
    pub metrics: Vec<String>,
    /// Longest time between two uploads, in s.
    pub flush_interval: f64,
    /// Time between two signs of life, in s.
    pub heartbeat_interval: f64,
    /// Longest time of a request, in s.
    pub request_timeout: f64,
    /// Longest time of a file upload, in s.
    pub upload_timeout: f64,
    /// Longest time to wait for uploads at the end of a run, in s.
    pub finish_timeout: f64,
    /// Shortest pause before a request is tried again, in s.
    pub retry_min: f64,
    /// Longest pause before a request is tried again, in s.
    pub retry_max: f64,
    /// Largest request, in bytes.
    pub max_request_bytes: usize,
    /// Longest line of a file stream, in bytes.
    pub max_line_bytes: usize,
    /// Whether the console log is sent.
    pub console: bool,
    /// Shortest time between two system samples, in s; none: none are sent.
    pub system_interval: Option<f64>,
    /// Whether configuration and metadata files are sent.
    pub files: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            base_url: crate::net::WANDB_SERVICE.to_owned(),
            ca_file: None,
            metrics: Vec::new(),
            flush_interval: 15.0,
            heartbeat_interval: 30.0,
            request_timeout: 30.0,
            upload_timeout: 180.0,
            finish_timeout: 60.0,
            retry_min: 2.0,
            retry_max: 60.0,
            max_request_bytes: 8 << 20,
            max_line_bytes: 8 << 20,
            console: true,
            system_interval: Some(15.0),
            files: true,
        }
    }
}

impl From<&schema::TrackingWandb> for Settings {
    fn from(config: &schema::TrackingWandb) -> Settings {
        Settings {
            base_url: config.base_url.clone(),
            ca_file: config.ca_file.as_deref().and_then(ca_file),
            metrics: config.metrics.clone(),
            flush_interval: config.flush_interval,
            heartbeat_interval: config.heartbeat_interval,
            request_timeout: config.request_timeout,
            upload_timeout: config.upload_timeout,
            finish_timeout: config.finish_timeout,
            retry_min: config.retry_min,
            retry_max: config.retry_max,
            max_request_bytes: config.max_request_bytes,
            max_line_bytes: config.max_line_bytes,
            console: config.console,
            system_interval: Some(config.system_metrics).filter(|interval| *interval > 0.0),
            files: config.files,
        }
    }
}

impl Settings {
    /// Connections to the service.
    pub(super) fn client(&self) -> Result<Client, WandbError> {
        Client::open(&self.base_url, self.ca_file.as_deref())
    }
}

/// The file by its whole path: it is read from elsewhere later.
pub fn ca_file(text: &str) -> Option<PathBuf> {
    let path = expanded(text);
    (!text.is_empty()).then(|| std::path::absolute(&path).unwrap_or(path))
}

impl From<schema::WandbResume> for Resume {
    fn from(resume: schema::WandbResume) -> Resume {
        match resume {
            schema::WandbResume::Allow => Resume::Allow,
            schema::WandbResume::Must => Resume::Must,
            schema::WandbResume::Never => Resume::Never,
        }
    }
}

/// Seconds as a duration; nonsense is none.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// How a run is called at the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// The service's name of the run.
    pub id: String,
    /// Whether the id was drawn, not given.
    pub drawn: bool,
    /// Project.
    pub project: String,
    /// Account or team; none: that of the key.
    pub entity: Option<String>,
    /// Display name; none: chosen by the service.
    pub name: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Job type.
    pub job_type: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Configuration.
    pub config: Map<String, Value>,
    /// What happens when it exists.
    pub resume: Option<Resume>,
}

impl Description {
    /// An id as the service draws them.
    pub fn draw_id() -> String {
        let letter = || {
            let at = rand::random_range(0..36u8);
            char::from(if at < 10 { b'0' + at } else { b'a' + at - 10 })
        };
        (0..8).map(|_| letter()).collect()
    }
}

/// Lines of each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows of metrics.
    pub history: u64,
    /// System samples.
    pub events: u64,
    /// Console lines.
    pub log: u64,
}

/// What the service had before: where lines, steps and times go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Lines before ours.
    pub lines: Counts,
    /// Step of our first row.
    pub step: i64,
    /// Time before our start, in s.
    pub runtime: f64,
    /// The summary before ours.
    pub summary: Map<String, Value>,
    /// The configuration before ours, as it is sent.
    pub config: Map<String, Value>,
}

/// How far the mirror is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Whether the service was asked to make the run: it may have done so
    /// although its answer was lost.
    pub begun: bool,
    /// Whether it said that it did.
    pub created: bool,
    /// Project and entity by the service.
    pub project: Option<String>,
    /// Entity by the service.
    pub entity: Option<String>,
    /// Display name by the service.
    pub display_name: Option<String>,
    /// What it had before.
    pub base: Base,
    /// Lines that were sent, whether or not they arrived.
    pub sent: Counts,
    /// Lines that arrived.
    pub acknowledged: Counts,
    /// Files that arrived.
    pub uploaded: Vec<String>,
    /// Files that it could not take when the run ended.
    pub missing: Vec<String>,
    /// Whether the service knows how the run ended.
    pub complete: bool,
    /// Directory for `wandb sync` that holds all of it.
    pub offline: Option<PathBuf>,
    /// Such directories that were written before it elsewhere.
    pub older_offline: Vec<PathBuf>,
    /// Why the service does not want it.
    pub refused: Option<String>,
    /// Whether the key was the reason.
    pub refused_key: bool,
    /// Later run that continues it.
    pub continued_by: Option<String>,
    /// Last request that went well, ms since 1970.
    pub last_success_ms: Option<u64>,
    /// What went wrong last, until something goes well again.
    pub last_error: Option<String>,
}

/// Everything about the mirror of one stage of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorState {
    format: u32,
    /// Stage whose rows and lines are mirrored.
    pub stage: String,
    /// Key of the stage; empty if it has none.
    pub key: String,
    /// Runs whose records follow each other, the last one ours.
    pub records: Vec<String>,
    /// Whether the rows of each record follow those of the one before; else
    /// their positions count over all of them.
    pub appended: bool,
    /// Whether a directory for `wandb sync` is written instead.
    pub offline: bool,
    /// Where it goes.
    pub settings: Settings,
    /// How it is called.
    pub run: Description,
    /// How far it is.
    pub progress: Progress,
    /// The run's directory.
    #[serde(skip)]
    dir: PathBuf,
}

impl MirrorState {
    /// A mirror that has not begun, of a stage of the run in `dir`.
    pub fn new(dir: &Path, stage: &str, key: &str, settings: Settings, run: Description) -> Self {
        MirrorState {
            format: FORMAT,
            stage: stage.to_owned(),
            key: key.to_owned(),
            records: vec![run_of(dir)],
            appended: false,
            offline: false,
            settings,
            run,
            progress: Progress::default(),
            dir: dir.to_path_buf(),
        }
    }

    /// The mirrors of the run in `dir`.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of_run(dir: &Path) -> Result<Vec<MirrorState>, WandbError> {
        let folder = dir.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(WandbError::io("list", &folder)(error)),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        paths.iter().map(|path| Self::read(dir, path)).collect()
    }

    /// All mirrors of the runs in `runs`, the oldest run first.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of_all(runs: &Path) -> Result<Vec<MirrorState>, WandbError> {
        let mut dirs: Vec<PathBuf> = fs::read_dir(runs)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        dirs.sort_by_key(|dir| age(dir));
        let mut found = Vec::new();
        for dir in dirs {
            found.extend(Self::of_run(&dir)?);
        }
        Ok(found)
    }

    fn read(dir: &Path, path: &Path) -> Result<MirrorState, WandbError> {
        let text = fs::read(path).map_err(WandbError::io("read", path))?;
        let wrong = |what: String| WandbError::State {
            path: path.to_path_buf(),
            what,
        };
        let mut state: MirrorState =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if state.format > FORMAT {
            return Err(wrong(format!(
                "it has format {}, this program reads up to {FORMAT}; use a newer novic",
                state.format
            )));
        }
        dir.clone_into(&mut state.dir);
        Ok(state)
    }

    /// Goes on with a run that another record of the store has begun.
    pub fn continue_from(&mut self, earlier: &mut MirrorState) -> Result<(), WandbError> {
        let ours = std::mem::take(&mut self.records);
        self.records = earlier.records.iter().cloned().chain(ours).collect();
        self.run.id.clone_from(&earlier.run.id);
        self.run.drawn = earlier.run.drawn;
        self.progress = Progress {
            complete: false,
            missing: Vec::new(),
            offline: None,
            older_offline: Vec::new(),
            refused: None,
            refused_key: false,
            continued_by: None,
            ..earlier.progress.clone()
        };
        // The others are of the whole run, and made anew.
        self.progress
            .uploaded
            .retain(|file| file.starts_with("media/"));
        self.save()?;
        earlier.progress.continued_by = Some(run_of(&self.dir));
        earlier.save()
    }

    /// Removes it: the stage never began.
    pub(super) fn forget(&self) {
        // What stays is seen to be of no stage.
        let _ = fs::remove_file(self.path());
        let _ = fs::remove_dir(self.dir.join(FOLDER));
    }

    fn path(&self) -> PathBuf {
        let name = format!("{}.json", file_name(&self.stage));
        self.dir.join(FOLDER).join(name)
    }

    /// Held by the process that sends it late. Mirrors of one run are sent
    /// independently of each other.
    pub(super) fn lease(&self) -> PathBuf {
        self.path().with_extension("lease")
    }

    /// Writes it beside the record. It may be lost with the power: what was
    /// sent is asked of the service anyway.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> Result<(), WandbError> {
        let folder = self.dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(WandbError::io("make", &folder))?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| WandbError::io("write", &folder)(error.into()))?;
        Ok(replace_file(&self.path(), &text)?)
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Directories of the records, in order.
    pub fn record_dirs(&self) -> Vec<PathBuf> {
        let runs = self.dir.parent().unwrap_or(Path::new("."));
        self.records.iter().map(|run| runs.join(run)).collect()
    }

    /// Folder of the files that rows refer to, and of those made for the upload.
    pub fn files_dir(&self) -> PathBuf {
        let name = file_name(&self.stage);
        self.dir.join(FOLDER).join(name).join("files")
    }

    /// Whether the service has all of it.
    pub fn is_sent(&self) -> bool {
        self.progress.complete && self.progress.missing.is_empty()
    }

    /// Whether nothing is left to do.
    pub fn is_settled(&self) -> bool {
        self.is_sent() || self.progress.offline.is_some() || self.progress.continued_by.is_some()
    }

    /// Whether the store has what the stage made in this run: of a process that
    /// was killed after publishing it and before saying so, the record ends
    /// without a word.
    pub(super) fn is_published(&self) -> bool {
        let home = self.dir.parent().and_then(Path::parent);
        let (Some(home), Ok(key)) = (home, self.key.parse()) else {
            return false;
        };
        let store = Project::locate(&self.dir, None, Some(home)).store();
        let entry = store.with_key(key).ok().flatten();
        entry.is_some_and(|entry| entry.manifest().description.run == run_of(&self.dir))
    }

    /// Where people look at the run.
    pub fn page(&self) -> String {
        let base = self.settings.base_url.trim_end_matches('/');
        let base = base.replace("https://api.wandb.ai", "https://wandb.ai");
        let entity = self.progress.entity.as_ref().or(self.run.entity.as_ref());
        let project = self.progress.project.as_ref().unwrap_or(&self.run.project);
        let entity = entity.map_or("", String::as_str);
        format!("{base}/{entity}/{project}/runs/{}", self.run.id)
    }
}

/// Id of the run in a directory.
fn run_of(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Sorts runs of the same second by their number.
fn age(dir: &Path) -> (String, u64) {
    let name = run_of(dir);
    let parts: Vec<&str> = name.splitn(4, '_').collect();
    let number = parts.get(3).and_then(|number| number.parse().ok());
    (parts[..parts.len().min(3)].join("_"), number.unwrap_or(1))
}

/// A stage's name as the name of a file.
fn file_name(stage: &str) -> String {
    stage
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Claim, EntryDescription, EntryId, Key};

    #[test]
    fn mirrors_are_found_again_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let runs: Vec<PathBuf> = ["ovod_20260101_000000", "ovod_20260101_000000_2"]
            .map(|name| dir.path().join(name))
            .to_vec();
        let run = Description {
            id: "abc".into(),
            ..Description::default()
        };
        let mut first = MirrorState::new(&runs[0], "train@2/x", "k", Settings::default(), run);
        first.progress.acknowledged.history = 3;
        first.progress.uploaded = vec!["config.yaml".into(), "media/table/x".into()];
        first.progress.complete = true;
        first.save().unwrap();
        assert_eq!(MirrorState::of_run(&runs[0]).unwrap(), [first.clone()]);
        let drawn = Description {
            id: Description::draw_id(),
            ..Description::default()
        };
        assert_eq!(drawn.id.len(), 8);
        let mut second = MirrorState::new(&runs[1], "train", "k", Settings::default(), drawn);
        second.continue_from(&mut first).unwrap();
        assert_eq!(second.run.id, "abc");
        assert_eq!(second.records.len(), 2);
        assert_eq!(second.progress.acknowledged.history, 3);
        assert_eq!(second.progress.uploaded, ["media/table/x"]);
        assert!(!second.is_settled());
        let all = MirrorState::of_all(dir.path()).unwrap();
        assert_eq!(all, [first, second]);
        assert!(all[0].is_settled());
    }

    #[test]
    fn what_a_killed_run_had_published_is_known_from_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let id = EntryId::new("train", Key::of(b"a model")).unwrap();
        let key = id.key().to_string();
        let mirror = |run: &str, key: &str| {
            let dir = project.runs_dir().join(run);
            MirrorState::new(
                &dir,
                "train",
                key,
                Settings::default(),
                Description::default(),
            )
        };
        assert!(!mirror("first", &key).is_published(), "no store");
        let Claim::Build(building) = project.store().claim(&id, "first").unwrap() else {
            panic!("it is not made yet");
        };
        assert!(!mirror("first", &key).is_published(), "at work");
        let run = "first".into();
        let description = EntryDescription {
            run,
            ..EntryDescription::default()
        };
        building.publish(description).unwrap();
        assert!(mirror("first", &key).is_published());
        assert!(!mirror("second", &key).is_published(), "not its work");
        assert!(!mirror("first", "").is_published(), "no key");
    }

    #[test]
    fn what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("x.json"), "{").unwrap();
        let error = MirrorState::of_run(dir.path()).unwrap_err().to_string();
        assert!(error.contains("remove it to forget the mirror"), "{error}");
    }
}
