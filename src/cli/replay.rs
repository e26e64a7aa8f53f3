//! `novic replay`: a scripted run through the recording and mirroring of real
//! ones.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::mirror::say_on_stderr;
use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::{self, Config, WandbMode};
use crate::store::Project;
use crate::tracking::wandb::{Continues, Description, MirrorState, Mirrors, Settings, Wanted};
use crate::tracking::{
    Event, Level, RunEnd, RunRecorder, RunStart, SYSTEM, StageLog, StageOutcome, Value,
};

/// Name of the stage that a script is recorded as.
const STAGE: &str = "replay";

/// Record and mirror a scripted run
///
/// For logs of other programs, and to see what a mirror does when the service
/// misbehaves. The script is a JSON object of `settings` (as `tracking.wandb.*`),
/// `run` (`id`, `resume`, `project`, `entity`, `name`, `group`, `job_type`,
/// `tags`, `notes`, `config`) and a list of `events`:
///
///   {"log": {"step": N, "values": {…}}}       a row; the step may be left out
///   {"print": TEXT, "stderr": false}          a line of the console
///   {"summary": {…}}, {"config": {…}}         values beside the rows
///   {"stats": {…}}                            a system sample
///   {"file": {"path": …, "text": …}}          a file
///   {"repeat": N}                             N rows {"i": 0}, {"i": 1}, …
///   {"sleep": SECONDS}, {"wait_stop": SECONDS}
///   {"exit": STATUS}, {"abort": true}         the end; an abort is a kill -9
///
/// The exit code is the status. A script with the id of an earlier one in the
/// same store goes on with its run.
///
///   novic replay script.json --store replayed
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReplayArgs {
    /// Script
    #[arg(value_name = "SCRIPT")]
    script: PathBuf,
    /// Directory for the record, as `.novic` of a project; by default this project's
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print JSON: the run's id
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    settings: Map<String, Json>,
    run: ScriptedRun,
    events: Vec<Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ScriptedRun {
    id: Option<String>,
    project: Option<String>,
    entity: Option<String>,
    name: Option<String>,
    group: Option<String>,
    job_type: Option<String>,
    tags: Vec<String>,
    notes: Option<String>,
    config: Map<String, Json>,
    resume: Option<String>,
}

/// One thing that happens.
#[derive(Debug, PartialEq)]
enum Step {
    Log(Option<i64>, Map<String, Json>),
    Print(String, bool),
    Summary(Map<String, Json>),
    Config(Map<String, Json>),
    Stats(Map<String, Json>),
    File(String, String),
    Repeat(u64),
    Sleep(Duration),
    WaitForStop(Duration),
    Exit(u8),
    Abort,
}

/// Replays a script.
pub fn cmd_replay(args: &ReplayArgs) -> Result<Exit, CliError> {
    let text = fs::read(&args.script).map_err(|error| {
        CliError::usage(format!("cannot read {}: {error}", args.script.display()))
    })?;
    let wrong = |what: String| CliError::usage(format!("{}: {what}", args.script.display()));
    let script: Script = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let steps = script
        .events
        .iter()
        .enumerate()
        .map(|(number, event)| {
            step(event).map_err(|what| wrong(format!("event {}: {what}", number + 1)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (wanted, mode) = wanted(&script).map_err(wrong)?;
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let working_dir = std::env::current_dir().map_err(|error| failed(&error))?;
    let project = Project::locate(&working_dir, None, args.store.as_deref());
    let recorder = RunRecorder::start(
        &project,
        RunStart {
            experiment: STAGE.to_owned(),
            command: std::env::args().collect(),
            config: json!({ "replay": script.run.config }),
            without_samples: true,
            ..RunStart::default()
        },
    )
    .map_err(|error| failed(&error))?;
    recorder.event(Event::StageQueued {
        stage: STAGE.to_owned(),
        kind: STAGE.to_owned(),
        key: String::new(),
    });
    recorder.event(Event::StageStarted {
        stage: STAGE.to_owned(),
        resumed: false,
    });
    recorder.flush().map_err(|error| failed(&error))?;
    let id = recorder.id().to_string();
    let files_dir = {
        let settings = wanted.settings.clone();
        MirrorState::new(recorder.dir(), STAGE, "", settings, wanted.run.clone()).files_dir()
    };
    let wanted = if mode == WandbMode::Off {
        Vec::new()
    } else {
        vec![wanted]
    };
    let nothing = Arc::new(|| {});
    let mirrors = Mirrors::start(recorder.dir(), wanted, say_on_stderr(), nothing);
    let status = play(&steps, &recorder, &mirrors, &files_dir)?;
    recorder.event(Event::StageFinished {
        stage: STAGE.to_owned(),
        outcome: match status {
            0 => StageOutcome::Done,
            _ => StageOutcome::Failed,
        },
        seconds: 0.0,
        message: None,
        results: json!({ "exit_code": status }),
    });
    let outputs = project.outputs_dir().join(&id);
    let end = RunEnd {
        exit_code: status,
        reason: "the script is over".to_owned(),
    };
    recorder.finish(end).map_err(|error| failed(&error))?;
    mirrors.finish(&outputs.join("wandb"));
    if args.json {
        print(&format!("{:#}\n", json!({ "run": id, "status": status })))?;
    }
    Ok(Exit::As(status))
}

/// How the script's run is mirrored.
fn wanted(script: &Script) -> Result<(Wanted, WandbMode), String> {
    let mut config = Config::default();
    config.tracking.wandb.mode = WandbMode::Online;
    let environment = [
        ("mode", "WANDB_MODE"),
        ("base_url", "WANDB_BASE_URL"),
        ("run_id", "WANDB_RUN_ID"),
        ("resume", "WANDB_RESUME"),
    ];
    let environment = environment.into_iter().filter_map(|(name, variable)| {
        let value = std::env::var(variable).ok()?;
        Some((name.to_owned(), json!(value)))
    });
    let of_run = [("run_id", &script.run.id), ("resume", &script.run.resume)];
    let of_run = of_run
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
    // As for experiments: the environment comes before the file.
    let values = script.settings.clone().into_iter().chain(of_run);
    for (name, value) in values.chain(environment) {
        let value = match value.as_str() {
            Some("disabled") if name == "mode" => json!("off"),
            Some("") => continue,
            _ => value,
        };
        let path = format!("tracking.wandb.{name}");
        config
            .set(&path, &value)
            .map_err(|error| format!("{path}: {error}"))?;
        let form = schema::key(&path).and_then(|key| key.form);
        let texts = value
            .as_array()
            .map_or(std::slice::from_ref(&value), Vec::as_slice);
        for text in texts.iter().filter_map(Json::as_str) {
            form.map_or(Ok(()), |form| form(text))
                .map_err(|expected| format!("{path}: {expected}, found {text:?}"))?;
        }
    }
    let wandb = &config.tracking.wandb;
    let mut settings = Settings::from(wandb);
    if settings.system_interval.is_some() {
        // The script says when there is a sample.
        settings.system_interval = Some(0.0);
    }
    if !script.settings.contains_key("heartbeat_interval") {
        // In the usual proportion, so that short scripts see their answers.
        settings.heartbeat_interval = settings
            .heartbeat_interval
            .min(2.0 * settings.flush_interval);
    }
    let run = &script.run;
    let form = schema::key("tracking.project").and_then(|key| key.form);
    if let (Some(project), Some(form)) = (&run.project, form) {
        form(project).map_err(|expected| {
            let apart = match project.split_once('/') {
                Some((entity, project)) => {
                    format!("; write \"entity\": {entity:?}, \"project\": {project:?}")
                }
                None => String::new(),
            };
            format!("run.project: {expected}, found {project:?}{apart}")
        })?;
    }
    let run = Description {
        drawn: wandb.run_id.is_none(),
        id: wandb.run_id.clone().unwrap_or_else(Description::draw_id),
        project: run
            .project
            .clone()
            .unwrap_or_else(|| config.tracking.project.clone()),
        entity: run.entity.clone(),
        name: run.name.clone(),
        group: run.group.clone(),
        job_type: run.job_type.clone(),
        tags: run.tags.clone(),
        notes: run.notes.clone(),
        config: run.config.clone(),
        resume: wandb.resume.map(Into::into),
    };
    let wanted = Wanted {
        stage: STAGE.to_owned(),
        key: String::new(),
        offline: wandb.mode == WandbMode::Offline,
        continues: Continues::SameId,
        strict: false,
        settings,
        run,
    };
    Ok((wanted, wandb.mode))
}

/// Reads an event.
fn step(event: &Json) -> Result<Step, String> {
    let object = event.as_object().ok_or("it is no object")?;
    let (name, value) = object
        .iter()
        .find(|(name, _)| *name != "stderr")
        .ok_or("it is empty")?;
    let map = |value: &Json| {
        let map = value.as_object().cloned();
        map.ok_or_else(|| format!("`{name}` wants an object"))
    };
    let seconds = || {
        let seconds = value.as_f64().unwrap_or(f64::NAN);
        Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{name}` wants seconds"))
    };
    let text = |value: &Json| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| format!("`{name}` wants a text"))
    };
    Ok(match name.as_str() {
        "log" => Step::Log(value["step"].as_i64(), map(&value["values"])?),
        "print" => Step::Print(text(value)?, object.get("stderr") == Some(&json!(true))),
        "summary" => Step::Summary(map(value)?),
        "config" => Step::Config(map(value)?),
        "stats" => Step::Stats(map(value)?),
        "file" => {
            let path = text(&value["path"])?;
            let plain = |part| matches!(part, Component::Normal(_));
            if path.is_empty() || !Path::new(&path).components().all(plain) {
                return Err(format!("`{path}` is no relative path"));
            }
            Step::File(path, text(&value["text"])?)
        }
        "repeat" => Step::Repeat(value.as_u64().ok_or("`repeat` wants a count")?),
        "sleep" => Step::Sleep(seconds()?),
        "wait_stop" => Step::WaitForStop(seconds()?),
        "exit" => {
            let status = value.as_u64().and_then(|status| u8::try_from(status).ok());
            Step::Exit(status.ok_or("`exit` wants a status from 0 to 255")?)
        }
        "abort" => Step::Abort,
        other => return Err(format!("there is no event `{other}`")),
    })
}

/// Plays the steps; returns the status.
fn play(
    steps: &[Step],
    recorder: &RunRecorder,
    mirrors: &Mirrors,
    files_dir: &Path,
) -> Result<u8, CliError> {
    let log = recorder.stage(STAGE);
    let system = recorder.stage(SYSTEM);
    let stage = || STAGE.to_owned();
    for step in steps {
        match step {
            Step::Log(step, values) => row(&log, *step, values),
            Step::Stats(values) => row(&system, None, values),
            Step::Repeat(count) => {
                (0..*count).for_each(|i| log.row(&[("i", i.into())]));
            }
            Step::Print(text, is_error) => {
                let level = if *is_error { Level::Error } else { Level::Info };
                recorder.console(Some(STAGE), level, text);
            }
            Step::Summary(values) => recorder.event(Event::Summary {
                stage: stage(),
                values: values.clone(),
            }),
            Step::Config(values) => recorder.event(Event::ConfigChange {
                stage: stage(),
                values: values.clone(),
            }),
            Step::File(path, text) => {
                let to = files_dir.join(path);
                let written = to
                    .parent()
                    .map_or(Ok(()), fs::create_dir_all)
                    .and_then(|()| fs::write(&to, text));
                written.map_err(|error| {
                    CliError::failed(format!("failed to write {}: {error}", to.display()))
                })?;
                recorder.event(Event::File {
                    stage: stage(),
                    path: path.clone(),
                });
            }
            Step::Sleep(time) => thread::sleep(*time),
            Step::WaitForStop(time) => {
                if mirrors.wait_for_stop(*time) {
                    return Ok(0);
                }
            }
            Step::Exit(status) => return Ok(*status),
            Step::Abort => {
                // A script is about what follows, not about the last instant
                // before the kill.
                let _ = recorder.flush();
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
    }
    Ok(0)
}

fn row(log: &StageLog, step: Option<i64>, values: &Map<String, Json>) {
    let step = step.map(|step| ("_step", Value::Integer(step)));
    let values = values
        .iter()
        .map(|(name, json)| (name.as_str(), value(json)));
    let row: Vec<(&str, Value)> = values.chain(step).collect();
    log.row(&row);
}

/// A JSON value as one of a row; numbers that JSON lacks are texts there.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.is_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, true) => number.as_f64().into(),
            // As it stands: no number of ours takes it.
            (None, false) => Value::Json(json.clone()),
        },
        Json::String(text) => match text.as_str() {
            "NaN" => Value::Number(f64::NAN),
            "Infinity" => Value::Number(f64::INFINITY),
            "-Infinity" => Value::Number(f64::NEG_INFINITY),
            _ => Value::Text(text.clone()),
        },
        other => Value::Json(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_or_refused_with_a_reason() {
        let read = |text: &str| step(&serde_json::from_str(text).expect("JSON"));
        let values = json!({"a": 1}).as_object().cloned().unwrap_or_default();
        assert_eq!(
            read(r#"{"log": {"values": {"a": 1}}}"#),
            Ok(Step::Log(None, values))
        );
        assert_eq!(
            read(r#"{"stderr": true, "print": "x"}"#),
            Ok(Step::Print("x".into(), true))
        );
        assert_eq!(read(r#"{"exit": 3}"#), Ok(Step::Exit(3)));
        for (text, why) in [
            ("1", "no object"),
            ("{}", "empty"),
            (r#"{"exit": 256}"#, "status"),
            (r#"{"log": 1}"#, "wants an object"),
            (r#"{"file": {"path": "../x", "text": ""}}"#, "relative"),
            (r#"{"sleep": -1}"#, "seconds"),
            (r#"{"jump": 1}"#, "no event `jump`"),
        ] {
            let error = read(text).expect_err("it is refused");
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let big = json!(u64::MAX);
        assert_eq!(value(&big).to_json(), big);
        assert_eq!(
            value(&json!(9_007_199_254_740_993_i64)).to_json(),
            json!(9_007_199_254_740_993_i64)
        );
        assert_eq!(value(&json!("NaN")).to_json(), json!("NaN"));
    }

    #[test]
    fn settings_are_those_of_experiments() {
        let script = |text: &str| serde_json::from_str::<Script>(text).expect("a script");
        let good = script(
            r#"{"settings": {"flush_interval": 0.5, "max_request_bytes": 100}, "run": {"id": "x", "resume": "must"}, "events": []}"#,
        );
        let (wanted, _) = wanted(&good).expect("settings");
        assert_eq!(wanted.settings.max_request_bytes, 100);
        assert!((wanted.settings.heartbeat_interval - 1.0).abs() < 1e-9);
        assert!(!wanted.run.drawn);
        let bad = script(r#"{"settings": {"flush": 1}, "run": {}, "events": []}"#);
        assert!(super::wanted(&bad).is_err());
        // As for `tracking.project`, with the way out.
        let both = script(r#"{"run": {"project": "lab/novic"}, "events": []}"#);
        let error = super::wanted(&both).expect_err("it is refused");
        for part in ["run.project", r#""entity": "lab", "project": "novic""#] {
            assert!(error.contains(part), "{error}");
        }
    }
}
