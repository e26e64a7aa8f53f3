//! The files of a run: configuration, metadata, summary and console of every
//! run, and those that its rows refer to.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::encodings;
use super::error::WandbError;
use super::fault::Fault;
use super::graphql::UploadPlace;
use super::mirror::{Mirror, Stop};
use super::source::{Sink, Source};
use super::state::MirrorState;
use crate::store::{publish_file, replace_file};
use crate::tracking::reader::read_record_without_metrics;

/// Name of the file that tells of machine and command line.
pub(super) const METADATA: &str = "wandb-metadata.json";

/// Transfers at the same time.
const AT_ONCE: usize = 4;

/// Tries of a file before it is left for later.
const TRIES: u32 = 6;

/// What is known of machine and command line; null where nothing is.
pub(super) fn about(state: &MirrorState) -> Value {
    let Ok(record) = read_record_without_metrics(state.dir()) else {
        return Value::Null;
    };
    let header = &record.header;
    let started = jiff::Timestamp::from_millisecond(header.started_ms as i64).unwrap_or_default();
    let environment = record.environment.unwrap_or_default();
    let git = record
        .git
        .map(|git| json!({ "commit": git.commit, "remote": git.remote }));
    json!({
        "os": environment.system,
        "startedAt": started.to_string(),
        "program": header.command.first(),
        "args": header.command.get(1..).unwrap_or_default(),
        "root": header.working_dir,
        "host": environment.host,
        "executable": header.command.first(),
        "cpu_count": environment.cpus,
        "memory": { "total": environment.memory.to_string() },
        "gpu": environment.gpus.first(),
        "gpu_count": environment.gpus.len(),
        "git": git,
        "novic": {
            "version": header.program,
            "run": header.run,
            "stage": state.stage,
            "key": state.key,
        },
    })
}

/// Writes the files that every run has; returns the names of all its files.
pub(super) fn prepare(
    mirror: &mut Mirror,
    config: &Map<String, Value>,
) -> Result<Vec<String>, Stop> {
    let mut names = mirror.source().files().to_vec();
    let folder = mirror.state.files_dir();
    let summary = mirror.source().summary();
    let write = |name: &str, content: &[u8]| -> Result<(), WandbError> {
        fs::create_dir_all(&folder).map_err(WandbError::io("make", &folder))?;
        Ok(replace_file(&folder.join(name), content)?)
    };
    if mirror.state.settings.files {
        write(METADATA, about(&mirror.state).to_string().as_bytes())?;
        write("config.yaml", encodings::config_yaml(config).as_bytes())?;
        write(
            "wandb-summary.json",
            Value::from(summary).to_string().as_bytes(),
        )?;
        names.extend([METADATA, "config.yaml", "wandb-summary.json"].map(str::to_owned));
    }
    if mirror.state.settings.console {
        fs::create_dir_all(&folder).map_err(WandbError::io("make", &folder))?;
        let before = earlier_lines(mirror);
        write_console(&mirror.state, &before, &folder.join("output.log"))?;
        names.push("output.log".to_owned());
    }
    Ok(names)
}

/// Console lines that the service had before us.
fn earlier_lines(mirror: &mut Mirror) -> Vec<String> {
    let count = mirror.state.progress.base.lines.log;
    if count == 0 {
        return Vec::new();
    }
    let progress = &mirror.state.progress;
    let entity = progress.entity.clone().unwrap_or_default();
    let project = progress.project.clone().unwrap_or_default();
    let run = mirror.state.run.id.clone();
    let lines = mirror
        .attempt(|client, timeout| client.log_lines((&entity, &project, &run), count, timeout));
    // They are in the stream all the same.
    lines.unwrap_or_default()
}

/// The complete console without colours and times.
fn write_console(state: &MirrorState, before: &[String], path: &Path) -> Result<(), WandbError> {
    struct Console<'a, W>(&'a mut W, std::io::Result<()>);
    impl<W: Write> Sink for Console<'_, W> {
        fn history(&mut self, _: u64, _: i64, _: Map<String, Value>, _: u64) {}
        fn sample(&mut self, _: u64, _: Map<String, Value>, _: u64) {}
        fn console(&mut self, _: u64, text: &str, _: bool, _: u64) {
            if self.1.is_ok() {
                self.1 = writeln!(self.0, "{}", encodings::plain(text));
            }
        }
        fn rewind(&mut self, _: u64) {}
    }
    let mut read = Ok(());
    publish_file(path, |file| {
        let mut file = BufWriter::new(file);
        for line in before {
            writeln!(file, "{}", encodings::plain(line))?;
        }
        let mut console = Console(&mut file, Ok(()));
        read = Source::new(state).read(&mut console);
        console.1?;
        file.flush()
    })
    .map_err(WandbError::io("write", path))?;
    read
}

/// Tries once to upload what is known of machine and command line, so that it
/// is seen while the stage is at work.
pub(super) fn upload_metadata(mirror: &mut Mirror) -> Result<(), Stop> {
    let folder = mirror.state.files_dir();
    fs::create_dir_all(&folder).map_err(WandbError::io("make", &folder))?;
    let about = about(&mirror.state).to_string();
    replace_file(&folder.join(METADATA), about.as_bytes()).map_err(WandbError::from)?;
    let wait = mirror.state.settings.request_timeout;
    match upload_once(mirror, &[METADATA.to_owned()], wait) {
        // The end of the stage tries again.
        Ok(_) | Err(Stop::Refused(_)) => Ok(()),
        Err(stop) => Err(stop),
    }
}

/// Uploads files from the mirror's folder; returns those for which there was no
/// time. What the service refuses is left out with a warning.
pub(super) fn upload(mirror: &mut Mirror, names: &[&str]) -> Result<Vec<String>, Stop> {
    let mut left: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut failures = 0;
    while !left.is_empty() {
        let wait = mirror.state.settings.upload_timeout;
        let results = match upload_once(mirror, &left, wait) {
            Ok(results) => results,
            Err(Stop::Refused(fault)) => {
                let address = mirror.client.address();
                let text = format!("{address}: files are not uploaded: {fault}");
                mirror.warn(&text);
                return Ok(Vec::new());
            }
            Err(Stop::OutOfTime) => return Ok(left),
            Err(stop) => return Err(stop),
        };
        left.clear();
        let mut wait = None;
        for (name, result) in results {
            match result {
                Ok(()) => mirror.uploaded(&name),
                Err(Fault::Passing { why, after }) => {
                    mirror.went_wrong(&format!("{name}: {why}"));
                    wait = wait.max(after);
                    left.push(name);
                }
                Err(fault) => {
                    mirror.warn(&format!("{name} is not uploaded: {fault}"));
                }
            }
        }
        failures += 1;
        if left.is_empty() || failures == TRIES || mirror.pause(failures, wait).is_err() {
            return Ok(left);
        }
    }
    Ok(left)
}

type Uploaded = (String, Result<(), Fault>);

/// Tries to upload each file once.
fn upload_once(mirror: &mut Mirror, names: &[String], wait: f64) -> Result<Vec<Uploaded>, Stop> {
    let progress = &mirror.state.progress;
    let entity = progress.entity.clone().unwrap_or_default();
    let project = progress.project.clone().unwrap_or_default();
    let run = mirror.state.run.id.clone();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let (places, headers) = mirror
        .attempt(|client, timeout| client.run_files((&entity, &project, &run), &wanted, timeout))?;
    let timeout = mirror.timeout(wait)?;
    let folder = mirror.state.files_dir();
    let client = &mirror.client;
    let mut results = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let (places, headers, folder) = (&places, &headers, &folder);
        results.extend(thread::scope(|scope| {
            let transfers: Vec<_> = names
                .iter()
                .map(|name| {
                    let put = move || put(client, name, places, headers, folder, timeout);
                    (name, scope.spawn(put))
                })
                .collect();
            let results = transfers.into_iter().map(|(name, transfer)| {
                let result = transfer
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (name.clone(), result)
            });
            results.collect::<Vec<_>>()
        }));
    }
    Ok(results)
}

fn put(
    client: &Client,
    name: &str,
    places: &[UploadPlace],
    headers: &[String],
    folder: &Path,
    timeout: Duration,
) -> Result<(), Fault> {
    let place = places.iter().find(|place| place.name == name);
    let place = place.ok_or_else(|| Fault::refused("the service names no place for it"))?;
    let path = folder.join(name);
    let file = File::open(&path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    let file = file
        .map_err(|error| Fault::refused(format!("failed to read {}: {error}", path.display())))?;
    client.put(&place.url, headers, file, timeout)
}
