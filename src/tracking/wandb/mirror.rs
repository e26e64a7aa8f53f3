//! The mirror of one stage: makes the run at the service, sends what the record
//! has and the service does not, and says how it ended.
//!
//! The record is the queue: while the service is away, nothing is read, so
//! memory is bounded and nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::control::{Control, OnStop, Say};
use super::definitions;
use super::encodings;
use super::error::WandbError;
use super::fault::Fault;
use super::files;
use super::graphql::ResumeStatus;
use super::pending::{Pending, Request};
use super::resume::refusal;
use super::source::Source;
use super::state::{Base, Counts, MirrorState, seconds};

/// A refused key may be accepted later.
const PROBE: Duration = Duration::from_secs(600);

/// Time in which changes of the configuration are collected.
const CONFIG_DELAY: Duration = Duration::from_secs(5);

/// Shortest request timeout, however little time is left.
const LEAST: Duration = Duration::from_millis(200);

/// Failures in a row after which a late upload gives up.
const PATIENCE: u32 = 6;

/// Why a mirror stops before it is complete.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is no time left.
    OutOfTime,
    /// The service does not want it.
    Refused(Fault),
    /// Something must not be mirrored, or the record cannot be read.
    Error(WandbError),
}

impl From<WandbError> for Stop {
    fn from(error: WandbError) -> Stop {
        Stop::Error(error)
    }
}

/// How a mirror came out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The service has everything.
    Complete,
    /// It has not.
    Stopped(Stop),
}

/// A mirror at work.
pub(super) struct Mirror {
    pub(super) state: MirrorState,
    pub(super) client: Client,
    control: Arc<Control>,
    say: Say,
    on_stop: OnStop,
    /// Whether the run is over, and its process with it.
    late: bool,
    source: Source,
    pending: Pending,
    /// Whether people were told of trouble that is not over yet.
    troubled: bool,
    told: Vec<String>,
    /// Changes of summary and configuration that the service has.
    sent_changes: (u64, u64),
    last_request: Option<Instant>,
    last_config: Option<Instant>,
    /// Time at the end that is kept for what follows.
    reserve: Duration,
}

/// How the stage ended: a process that was killed says nothing, and what it had
/// published by then is finished all the same.
pub(super) fn exit_code(state: &MirrorState, source: &Source) -> i32 {
    let unsaid = || i32::from(!state.is_published());
    source.exit_code().unwrap_or_else(unsaid)
}

impl Mirror {
    /// A mirror. A late one is of a run that is over.
    pub(super) fn new(
        state: MirrorState,
        client: Client,
        control: Arc<Control>,
        (say, on_stop): (Say, OnStop),
        late: bool,
    ) -> Mirror {
        Mirror {
            source: Source::new(&state),
            pending: Pending::new(Counts::default(), state.settings.max_request_bytes),
            state,
            client,
            control,
            say,
            on_stop,
            late,
            troubled: false,
            told: Vec::new(),
            sent_changes: (0, 0),
            last_request: None,
            last_config: None,
            reserve: Duration::ZERO,
        }
    }

    /// Mirrors until the stage is over and the service has everything, or until
    /// there is no time left.
    pub(super) fn run(&mut self) -> Outcome {
        let outcome = match self.mirror() {
            Ok(()) => Outcome::Complete,
            Err(stop) => Outcome::Stopped(stop),
        };
        let saved = self.state.save();
        match (outcome, saved) {
            (Outcome::Complete, Err(error)) => Outcome::Stopped(Stop::Error(error)),
            (outcome, _) => outcome,
        }
    }

    fn mirror(&mut self) -> Result<(), Stop> {
        loop {
            let stop = match self.connect().and_then(|()| self.stream()) {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            if let Stop::Refused(fault) = &stop {
                self.state.progress.refused = Some(fault.to_string());
                self.state.progress.refused_key = fault.is_about_the_key();
                self.say_refused(fault);
            }
            if let Stop::Error(error) = &stop {
                self.state.progress.refused = Some(error.to_string());
                // What is sent late is reported one by one.
                if !self.late {
                    self.warn(&format!("not mirrored: {error}; the local record goes on"));
                }
            }
            let may_pass = matches!(&stop, Stop::Refused(fault) if fault.is_about_the_key());
            let ends = self.late || self.control.finish_by().is_some();
            if !may_pass || ends {
                return Err(stop);
            }
            let _ = self.state.save();
            self.control.sleep_until(Instant::now() + PROBE);
            if self.control.finish_by().is_some() {
                return Err(stop);
            }
            self.state.progress.refused = None;
            self.state.progress.refused_key = false;
        }
    }

    /// Says what the service refuses: in the same words for all stages that it
    /// refuses for the same reason.
    fn say_refused(&mut self, fault: &Fault) {
        // What is sent late is reported one by one.
        if self.late {
            return;
        }
        let address = self.client.address();
        let text = if fault.is_about_the_key() {
            format!(
                "Weights & Biases at {address} does not accept the key: {fault}; the local record \
                 goes on, and `novic sync` sends it with a key that is accepted"
            )
        } else {
            format!(
                "Weights & Biases at {address} does not take the run: {fault}; the local record \
                 goes on"
            )
        };
        self.warn(&text);
    }

    /// Makes the run at the service, or finds the one that is there.
    fn connect(&mut self) -> Result<(), Stop> {
        let run = self.state.run.clone();
        let ours = self.state.progress.begun;
        let mut known = None;
        if ours || run.resume.is_some() || !run.drawn {
            let (entity, project) = self.place();
            let status = self.attempt(|client, timeout| {
                client.resume_status(entity.as_deref(), &project, &run.id, timeout)
            })?;
            known = self.known(status, ours)?;
        }
        let resumes = known.is_some();
        if !resumes {
            self.state.progress.acknowledged = Counts::default();
        }
        self.state.progress.refused = None;
        self.state.progress.refused_key = false;
        self.state.progress.begun = true;
        self.state.save()?;
        self.source = Source::new(&self.state);
        let acknowledged = self.state.progress.acknowledged;
        self.pending = Pending::new(acknowledged, self.state.settings.max_request_bytes);
        self.sent_changes = (0, 0);
        // What is known of the configuration so far belongs to the beginning.
        self.source.read(&mut self.pending)?;
        let mut variables = self.config_variables();
        if !resumes {
            for (name, value) in [
                ("display", json!(run.name)),
                ("group", json!(run.group)),
                ("job", json!(run.job_type)),
                ("notes", json!(run.notes)),
                ("tags", json!(run.tags)),
            ] {
                variables[name] = value;
            }
        }
        let about = files::about(&self.state);
        variables["host"] = about["host"].clone();
        variables["program"] = about["program"].clone();
        variables["commit"] = about["git"]["commit"].clone();
        variables["repo"] = about["git"]["remote"].clone();
        self.upsert(&variables)
    }

    /// What the service has, if the run may go on there.
    fn known(
        &mut self,
        status: Option<ResumeStatus>,
        ours: bool,
    ) -> Result<Option<ResumeStatus>, Stop> {
        let run = &self.state.run;
        if !ours && let Some(fault) = refusal(run, status.is_some()) {
            return Err(Stop::Refused(fault));
        }
        match &status {
            Some(has) => {
                let progress = &mut self.state.progress;
                if ours {
                    let base = progress.base.lines;
                    let sent = progress.sent;
                    if has.history > base.history + sent.history || has.log > base.log + sent.log {
                        let message = format!(
                            "run {} has lines that this store did not send: somebody else \
                             writes to it",
                            run.id
                        );
                        return Err(Stop::Refused(Fault::refused(message)));
                    }
                    progress.acknowledged = Counts {
                        history: has.history.saturating_sub(base.history),
                        events: has.events.saturating_sub(base.events),
                        log: has.log.saturating_sub(base.log),
                    };
                } else {
                    progress.base = Base {
                        lines: Counts {
                            history: has.history,
                            events: has.events,
                            log: has.log,
                        },
                        step: has.next_step,
                        runtime: has.runtime,
                        summary: has.summary.clone(),
                        config: has.config.clone(),
                    };
                }
                // Whoever changed it there meant it.
                progress.base.config.clone_from(&has.config);
                Ok(status)
            }
            None => {
                // Somebody removed it there: it is made anew.
                self.state.progress.base = Base::default();
                self.state.progress.sent = Counts::default();
                self.state.progress.uploaded.clear();
                Ok(None)
            }
        }
    }

    /// Entity and project, as the service calls them once it was asked.
    fn place(&self) -> (Option<String>, String) {
        let (run, progress) = (&self.state.run, &self.state.progress);
        let entity = progress.entity.clone().or_else(|| run.entity.clone());
        let project = progress.project.clone();
        (entity, project.unwrap_or_else(|| run.project.clone()))
    }

    /// The whole configuration, with what was added while the stage ran.
    fn whole_config(&self) -> Map<String, Value> {
        let mut values = self.state.run.config.clone();
        values.extend(self.source.config().clone());
        encodings::config(
            &values,
            &self.state.progress.base.config,
            definitions::for_config(&self.state.settings.metrics),
        )
    }

    fn config_variables(&self) -> Value {
        let (entity, project) = self.place();
        json!({
            "name": self.state.run.id,
            "project": project,
            "entity": entity,
            "config": Value::from(self.whole_config()).to_string(),
        })
    }

    fn upsert(&mut self, variables: &Value) -> Result<(), Stop> {
        let changes = self.source.changes().1;
        let made = self.attempt(|client, timeout| client.upsert_run(variables, timeout))?;
        self.last_config = Some(Instant::now());
        self.sent_changes.1 = changes;
        let progress = &mut self.state.progress;
        progress.created = true;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        progress.project = given(made.project).or_else(|| Some(self.state.run.project.clone()));
        progress.entity = given(made.entity).or_else(|| self.state.run.entity.clone());
        progress.display_name = given(made.display_name);
        self.state.save()?;
        Ok(())
    }

    /// Sends until the stage is over and everything has arrived.
    fn stream(&mut self) -> Result<(), Stop> {
        let flush = seconds(self.state.settings.flush_interval);
        let heartbeat = seconds(self.state.settings.heartbeat_interval);
        let mut metadata = self.state.settings.files && !self.late;
        loop {
            let ended = self.late || self.control.finish_by().is_some();
            self.source.read(&mut self.pending)?;
            let over = self.source.exit_code().is_some() || (ended && !self.is_full());
            let waited = self.last_request.map(|at| at.elapsed());
            let due = waited.is_none_or(|waited| waited >= flush);
            if over || due || self.is_full() {
                self.send_config(over)?;
                let (summary, _) = self.source.changes();
                let changed = summary != self.sent_changes.0;
                if !self.pending.is_empty() || changed {
                    self.send_lines(changed)?;
                    continue;
                }
            }
            if over {
                return self.finish();
            }
            if waited.is_none_or(|waited| waited >= heartbeat) {
                let sign_of_life = Request {
                    body: Bytes::from_static(b"{}"),
                    lines: Counts::default(),
                    summary: false,
                    content: 0,
                };
                match self.send(&sign_of_life) {
                    // Nothing is smaller; what comes next may be taken.
                    Err(Stop::Refused(Fault::TooLarge)) => {
                        self.last_request = Some(Instant::now());
                    }
                    sent => sent?,
                }
            }
            if metadata {
                metadata = false;
                files::upload_metadata(self)?;
            }
            let now = Instant::now();
            let due = self.last_request.map_or(now + flush, |at| at + flush);
            // While nothing comes, the next look is a flush later.
            let due = if due <= now { now + flush } else { due };
            let beat = self.last_request.map_or(due, |at| at + heartbeat);
            self.control.sleep_until(due.min(beat.max(now)));
        }
    }

    fn is_full(&self) -> bool {
        super::source::Sink::is_full(&self.pending)
    }

    /// Sends the configuration if it changed.
    fn send_config(&mut self, over: bool) -> Result<(), Stop> {
        let recent = self
            .last_config
            .is_some_and(|at| at.elapsed() < CONFIG_DELAY);
        if self.source.changes().1 == self.sent_changes.1 || (recent && !over) {
            return Ok(());
        }
        let variables = self.config_variables();
        self.upsert(&variables)
    }

    /// Sends one request of lines, and the summary if it changed.
    fn send_lines(&mut self, changed: bool) -> Result<(), Stop> {
        let (version, _) = self.source.changes();
        let summary = changed.then(|| Value::from(self.source.summary()).to_string());
        let request = loop {
            let before = self.state.progress.base.lines;
            let request = self.pending.request(before, summary.as_deref());
            match self.send(&request) {
                Ok(()) => break request,
                Err(Stop::Refused(Fault::TooLarge)) if self.pending.halve(&request) => {}
                Err(stop) => return Err(stop),
            }
        };
        self.pending.acknowledge(request.lines);
        if request.summary {
            self.sent_changes.0 = version;
        }
        let progress = &mut self.state.progress;
        progress.acknowledged = self.pending.acknowledged();
        self.state.save()?;
        Ok(())
    }

    /// Sends a request of the file stream until it has arrived.
    fn send(&mut self, request: &Request) -> Result<(), Stop> {
        let first = self.pending.acknowledged();
        let sent = &mut self.state.progress.sent;
        sent.history = sent.history.max(first.history + request.lines.history);
        sent.events = sent.events.max(first.events + request.lines.events);
        sent.log = sent.log.max(first.log + request.lines.log);
        self.state.save()?;
        let (entity, project) = self.place();
        let entity = entity.unwrap_or_default();
        let run = self.state.run.id.clone();
        let answer = self.attempt(|client, timeout| {
            client.file_stream(&entity, &project, &run, request.body.clone(), timeout)
        })?;
        self.last_request = Some(Instant::now());
        if answer["stopped"] == json!(true) && !self.late && !self.control.is_stop_requested() {
            self.control.request_stop();
            (self.on_stop)();
        }
        Ok(())
    }

    /// Uploads the files and says how the stage ended.
    fn finish(&mut self) -> Result<(), Stop> {
        if self.source.too_long() > 0 {
            self.warn(&format!(
                "{} rows are longer than tracking.wandb.max_line_bytes and stay in the local record",
                self.source.too_long()
            ));
        }
        let exit_code = match exit_code(&self.state, &self.source) {
            130 if self.control.is_stop_requested() => 0,
            code => code,
        };
        let config = self.whole_config();
        let names = files::prepare(self, &config)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Without its files a run is better than without its end.
        self.reserve = seconds(self.state.settings.finish_timeout) / 4;
        let missing = self.upload(&names);
        self.reserve = Duration::ZERO;
        self.state.progress.missing = missing?;
        if !self.state.progress.missing.is_empty() {
            self.warn(&format!(
                "{} are not uploaded; `novic sync` tries again",
                self.state.progress.missing.join(", ")
            ));
        }
        let body = json!({
            "uploaded": self.state.progress.uploaded,
            "complete": true,
            "exitcode": exit_code,
        });
        self.send(&Request {
            body: body.to_string().into(),
            lines: Counts::default(),
            summary: false,
            content: 0,
        })?;
        self.state.progress.complete = true;
        Ok(())
    }

    /// What was read of the record.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Uploads files that the service does not have; returns those that may be
    /// tried again later.
    fn upload(&mut self, names: &[&str]) -> Result<Vec<String>, Stop> {
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !self.state.progress.uploaded.iter().any(|had| had == name))
            .collect();
        files::upload(self, &missing)
    }

    /// A file has arrived.
    pub(super) fn uploaded(&mut self, name: &str) {
        self.state.progress.uploaded.push(name.to_owned());
    }

    /// Tries until it goes well, as long as there is time.
    pub(super) fn attempt<T>(
        &mut self,
        mut ask: impl FnMut(&Client, Duration) -> Result<T, Fault>,
    ) -> Result<T, Stop> {
        let mut failures = 0;
        loop {
            let timeout = self.timeout(self.state.settings.request_timeout)?;
            match ask(&self.client, timeout) {
                Ok(answer) => {
                    self.went_well();
                    return Ok(answer);
                }
                Err(Fault::Passing { why, after }) => {
                    failures += 1;
                    self.went_wrong(&why);
                    if self.late && failures >= PATIENCE {
                        return Err(Stop::OutOfTime);
                    }
                    self.pause(failures, after)?;
                }
                Err(fault) => return Err(Stop::Refused(fault)),
            }
        }
    }

    /// When what is at work must be over, if the run has ended.
    fn finish_by(&self) -> Option<Instant> {
        let by = self.control.finish_by()?;
        Some(by.checked_sub(self.reserve).unwrap_or(by))
    }

    /// Time that a request may take.
    pub(super) fn timeout(&self, wished: f64) -> Result<Duration, Stop> {
        let wished = seconds(wished);
        match self.finish_by() {
            None => Ok(wished),
            Some(by) => {
                let left = by.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Stop::OutOfTime);
                }
                Ok(wished.min(left).max(LEAST))
            }
        }
    }

    /// Waits before a request is tried again.
    pub(super) fn pause(&self, failures: u32, after: Option<Duration>) -> Result<(), Stop> {
        let now = Instant::now();
        if let Some(after) = after {
            // The service said when: no earlier, whatever happens meanwhile.
            let until = now + after;
            while Instant::now() < until {
                if self.finish_by().is_some_and(|by| by < until) {
                    return Err(Stop::OutOfTime);
                }
                self.control.sleep_until(until);
            }
            return Ok(());
        }
        let settings = &self.state.settings;
        let doubled = settings.retry_min * 2f64.powi(failures.min(30) as i32 - 1);
        let wait = seconds(doubled.min(settings.retry_max));
        let mut wait = wait.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        if let Some(by) = self.finish_by() {
            // There is time for a few more tries, if they come soon.
            wait = wait.min(by.saturating_duration_since(now) / 4);
        }
        self.control.sleep_until(now + wait);
        Ok(())
    }

    pub(super) fn went_well(&mut self) {
        self.state.progress.last_success_ms =
            Some(jiff::Timestamp::now().as_millisecond().max(0) as u64);
        self.state.progress.last_error = None;
        if std::mem::take(&mut self.troubled) {
            (self.say)("Weights & Biases answers again");
        }
    }

    pub(super) fn went_wrong(&mut self, why: &str) {
        self.state.progress.last_error = Some(why.to_owned());
        let then = match self.late {
            true => "it is asked again",
            false => "the run goes on, the mirror tries again",
        };
        let address = self.client.address();
        let text =
            format!("Weights & Biases at {address} does not answer as wished ({why}); {then}");
        let is_new = self.warn(&text);
        self.troubled |= is_new;
        let _ = self.state.save();
    }

    /// Says something, unless it was said before; whether it is new.
    pub(super) fn warn(&mut self, text: &str) -> bool {
        let is_new = !self.told.iter().any(|told| told == text);
        if is_new {
            self.told.push(text.to_owned());
            (self.say)(&format!("warning: {text}"));
        }
        is_new
    }
}
