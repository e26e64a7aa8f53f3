//! Batches from the first question to the last answer (`annotation.md` 10).
//!
//! Images form a ring. Batches under way cover parts of it in order; questions
//! are collected for the rest. Every step is in the journal before the next
//! one: a killed run neither forgets a batch nor makes it twice.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::batches::{BatchLimits, OpenBatch, PendingBatch, Ring};
use super::failures::FailureKind;
use super::journal::{Ledger, Line, Remains, Seen, Undone, now};
use super::judge::{judge, one_line};
use super::questions::Question;
use super::run::{Asking, Outcome, Progress};
use super::state::State;
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{
    BatchLine, BatchState, Failure, FailureClass, LlmClient, LlmError, RemoteBatch, Usage,
};
use crate::store::write_file;

/// Batches without useful results after which a run gives up.
const FAILED: u32 = 5;

/// Share of useful answers that makes a batch a good one.
const GOOD: f64 = 0.8;

/// Times that answers may be cut before it counts against the pairs: twice with
/// the usual length, for it may be chance, and with twice that.
const CUTS: u32 = 3;

/// Codes of questions that a batch did not come to.
const NOT_REACHED: [&str; 2] = ["batch_expired", "batch_cancelled"];

/// How batches are sent and waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// How large and how many.
    pub limits: BatchLimits,
    /// First time between two looks at the service; it grows.
    pub poll: Duration,
    /// What a batch costs, as a share of the usual price.
    pub price_share: f64,
    /// Whether files stay at the service.
    pub keep_remote: bool,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            limits: BatchLimits::default(),
            poll: Duration::from_secs(15),
            price_share: 0.5,
            keep_remote: false,
        }
    }
}

/// A run in batches.
struct BatchRun<'a> {
    client: &'a LlmClient,
    asking: &'a Asking,
    batching: Batching,
    ledger: &'a mut Ledger,
    ring: Ring,
    open: OpenBatch,
    /// What the marks of its batches begin with, and how many there were.
    name: String,
    sent: u64,
    /// How often answers about an image were cut.
    cut: HashMap<String, u32>,
    /// Questions that the journal has answers for, by batch.
    answered: HashMap<String, HashSet<usize>>,
    failed: u32,
    round: u64,
    show: &'a mut dyn FnMut(&Progress),
}

/// Why a run ends before its time.
enum Stop {
    Outcome(Outcome),
    Error(AnnotateError),
}

impl From<AnnotateError> for Stop {
    fn from(error: AnnotateError) -> Self {
        Self::Error(error)
    }
}

impl From<LlmError> for Stop {
    fn from(error: LlmError) -> Self {
        Self::Outcome(Outcome::Stopped(error))
    }
}

/// Why a batch cannot be sent now.
enum Hold {
    /// Too much is under way.
    Limits,
    /// A limit of the budget, in words.
    Budget(String),
}

/// What the service says of a batch.
enum Looked {
    UnderWay(RemoteBatch),
    Ended(Box<Ended>),
}

/// A batch that has ended, with its lines.
struct Ended {
    batch: PendingBatch,
    remote: Option<RemoteBatch>,
    lines: Vec<BatchLine>,
}

/// Asks in batches until nothing is open, or little enough to be asked one by
/// one.
///
/// # Errors
/// A file cannot be written or read, or a batch of the state is damaged.
pub fn ask_in_batches(
    client: &LlmClient,
    asking: &Asking,
    batching: Batching,
    ledger: &mut Ledger,
    undone: &Undone,
    show: &mut dyn FnMut(&Progress),
) -> Result<Outcome> {
    let mut run = BatchRun::new(client, asking, batching, ledger, undone, show)?;
    let ended = run.run();
    run.ledger.save()?;
    match ended {
        Ok(outcome) | Err(Stop::Outcome(outcome)) => Ok(outcome),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Brings what a killed run has left in order: batches that may have been
/// created, and files that nobody needs any more.
///
/// # Errors
/// The service does not answer, or the journal cannot be written.
pub fn resolve(client: &LlmClient, ledger: &mut Ledger, undone: &Undone) -> Result<()> {
    for (marker, batch, uploaded) in &undone.planned {
        let found = match client.marked_batch(marker) {
            Ok(found) => found,
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error.into()),
        };
        match found {
            Some(remote) => adopt(ledger, marker, batch, &remote, uploaded.as_deref())?,
            None => {
                if let Some(file) = uploaded {
                    // It costs nothing if it stays.
                    let _ = client.delete_file(file);
                }
                drop_plan(ledger, marker, batch)?;
            }
        }
    }
    for remains in &undone.uncleared {
        clear(client, ledger, remains)?;
    }
    Ok(())
}

/// Ends all batches under way before they are done, and takes the results that
/// they have. Returns how many there were.
///
/// # Errors
/// The service does not answer, or a file cannot be written.
pub fn cancel(
    client: &LlmClient,
    asking: &Asking,
    batching: Batching,
    ledger: &mut Ledger,
    undone: &Undone,
    show: &mut dyn FnMut(&Progress),
) -> Result<(usize, Outcome)> {
    let all = pending(ledger)?;
    for batch in &all {
        client.cancel_batch(&batch.remote_batch)?;
    }
    let mut run = BatchRun::new(client, asking, batching, ledger, undone, show)?;
    while !run.ledger.state.pending.is_empty() {
        match run.wait() {
            Ok(()) | Err(Stop::Outcome(Outcome::FailedBatches(_))) => {}
            Err(Stop::Outcome(outcome)) => return Ok((all.len(), outcome)),
            Err(Stop::Error(error)) => return Err(error),
        }
    }
    Ok((all.len(), Outcome::Finished))
}

/// The batches under way.
fn pending(ledger: &Ledger) -> Result<Vec<PendingBatch>> {
    let read = |value: &serde_json::Value| {
        serde_json::from_value(value.clone()).map_err(|error| AnnotateError::NotState {
            path: ledger.path().to_owned(),
            reason: format!("a batch under way is damaged: {error}"),
        })
    };
    ledger.state.pending.iter().map(read).collect()
}

fn adopt(
    ledger: &mut Ledger,
    marker: &str,
    batch: &PendingBatch,
    remote: &RemoteBatch,
    uploaded: Option<&str>,
) -> Result<()> {
    let mut batch = batch.clone();
    batch.remote_batch.clone_from(&remote.id);
    batch.remote_json_file_id = match (uploaded, &remote.input_file) {
        (Some(file), _) => file.to_owned(),
        (None, Some(file)) => file.clone(),
        (None, None) => String::new(),
    };
    ledger.take(&Line::BatchCreated {
        marker: marker.to_owned(),
        batch: Box::new(batch),
    })?;
    ledger.save()
}

fn drop_plan(ledger: &mut Ledger, marker: &str, batch: &PendingBatch) -> Result<()> {
    // It may never have been written.
    let _ = std::fs::remove_file(local_file(ledger, &batch.json_file));
    ledger.take(&Line::BatchDropped {
        marker: marker.to_owned(),
    })
}

/// Now, as names of files have it.
fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string()
}

fn local_file(ledger: &Ledger, name: &str) -> PathBuf {
    let folder = ledger.beside().join(&ledger.state.meta.batch_dir);
    // A name only: states come from elsewhere, too.
    folder.join(name.replace('/', "_"))
}

/// Removes files that nobody needs any more.
fn clear(client: &LlmClient, ledger: &mut Ledger, remains: &Remains) -> Result<()> {
    for file in &remains.files {
        // What cannot be removed now costs nothing.
        if let Err(error @ (LlmError::Interrupted | LlmError::Auth(_))) = client.delete_file(file) {
            return Err(error.into());
        }
    }
    let _ = std::fs::remove_file(local_file(ledger, &remains.local));
    ledger.take(&Line::BatchCleared {
        id: remains.id.clone(),
    })
}

impl<'a> BatchRun<'a> {
    fn new(
        client: &'a LlmClient,
        asking: &'a Asking,
        batching: Batching,
        ledger: &'a mut Ledger,
        undone: &Undone,
        show: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self> {
        let ring = Ring::new(ledger.state.meta.images.len(), &pending(ledger)?);
        Ok(Self {
            client,
            asking,
            batching,
            ledger,
            ring,
            open: OpenBatch::default(),
            name: format!("{}-{:016x}", local_time(), rand::random::<u64>()),
            sent: 0,
            cut: HashMap::new(),
            answered: undone.answered.clone(),
            failed: 0,
            round: 0,
            show,
        })
    }

    fn run(&mut self) -> std::result::Result<Outcome, Stop> {
        loop {
            if let Some(image) = self.ring.next() {
                self.collect(image)?;
                self.ring.advance();
                if self.open.is_full(&self.batching.limits) {
                    self.send()?;
                }
                continue;
            }
            let is_idle = self.ledger.state.pending.is_empty();
            if !self.open.is_empty() {
                if is_idle && self.open.len() <= self.batching.limits.few {
                    return Ok(Outcome::Few);
                }
                self.send()?;
            } else if is_idle {
                return Ok(Outcome::Finished);
            }
            self.wait()?;
        }
    }

    /// Adds the questions about an image to the open batch.
    fn collect(&mut self, image: usize) -> Result<()> {
        let asking = self.asking;
        let state = &self.ledger.state;
        let predicted = &asking.predicted[image];
        let questions = state.questions(image, predicted, asking.dealing, self.round);
        if questions.is_empty() {
            return Ok(());
        }
        let small = state.small_image(self.ledger.beside(), image);
        let jpeg = std::fs::read(&small).map_err(AnnotateError::io("read", &small))?;
        let image_tokens = asking.tokens_of_image(&small);
        let name = state.meta.images[image].clone();
        let questions = questions
            .into_iter()
            .flat_map(|question| self.fitting(question));
        for (question, longer) in questions.collect::<Vec<_>>() {
            let request = asking.questioning.request(&jpeg, &question.nouns, longer);
            let tokens = asking
                .questioning
                .request_tokens(&question.nouns, image_tokens);
            let body = self.client.body(&request);
            self.open.add(question, &name, &body, tokens);
        }
        Ok(())
    }

    /// A question as its answers fit, and how much longer than usual they may
    /// be: if one was cut twice, twice as long; if it was cut again, in halves,
    /// too.
    fn fitting(&self, question: Question) -> Vec<(Question, u32)> {
        let image = &self.ledger.state.meta.images[question.image];
        match self.cut.get(image) {
            None | Some(1) => vec![(question, 1)],
            Some(2) => vec![(question, 2)],
            Some(_) => question
                .halves()
                .into_iter()
                .map(|half| (half, 2))
                .collect(),
        }
    }

    /// Sends the open batch, as soon as the limits allow it.
    fn send(&mut self) -> std::result::Result<(), Stop> {
        while let Some(hold) = self.held_back()? {
            match hold {
                Hold::Budget(limit) if self.ledger.state.pending.is_empty() => {
                    return Err(LlmError::Budget(limit).into());
                }
                _ => self.wait()?,
            }
        }
        let open = std::mem::take(&mut self.open);
        let Some(batch) = open.pending(&self.ledger.state.meta.images, &local_time()) else {
            return Ok(());
        };
        self.round += 1;
        self.sent += 1;
        let marker = format!("{}-{}", self.name, self.sent);
        self.ledger.take(&Line::BatchPlanned {
            at: now(),
            marker: marker.clone(),
            batch: Box::new(batch.clone()),
        })?;
        let file = local_file(self.ledger, &batch.json_file);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(AnnotateError::io("make", folder))?;
        }
        write_file(&file, open.lines.as_bytes()).map_err(AnnotateError::from)?;
        let mut uploaded = None;
        match self.create(&marker, &batch, &open, &mut uploaded) {
            Ok(remote) => {
                adopt(self.ledger, &marker, &batch, &remote, uploaded.as_deref())?;
                Ok(())
            }
            Err(Stop::Outcome(Outcome::Stopped(error))) => {
                // If it may be there, the next run looks for it.
                if is_definite(&error) {
                    if let Some(file) = &uploaded {
                        let _ = self.client.delete_file(file);
                    }
                    drop_plan(self.ledger, &marker, &batch)?;
                }
                Err(error.into())
            }
            Err(stop) => Err(stop),
        }
    }

    fn create(
        &mut self,
        marker: &str,
        batch: &PendingBatch,
        open: &OpenBatch,
        uploaded: &mut Option<String>,
    ) -> std::result::Result<RemoteBatch, Stop> {
        let file = self
            .client
            .upload(&batch.json_file, open.lines.as_bytes())?;
        self.ledger.take(&Line::BatchUploaded {
            marker: marker.to_owned(),
            file: file.clone(),
        })?;
        *uploaded = Some(file.clone());
        Ok(self.client.create_batch(&file, marker)?)
    }

    /// Why the open batch cannot be sent now.
    fn held_back(&self) -> Result<Option<Hold>> {
        let pending = pending(self.ledger)?;
        let limits = &self.batching.limits;
        let sum = |of: fn(&PendingBatch) -> u64| pending.iter().map(of).sum::<u64>();
        let full = pending.len() >= limits.batches
            || sum(|batch| batch.json_file_size) + self.open.bytes() > limits.all_bytes
            || sum(|batch| batch.num_tokens) + self.open.tokens > limits.tokens;
        // A single batch may be larger than all of them together may be.
        if full && !pending.is_empty() {
            return Ok(Some(Hold::Limits));
        }
        let requests = (sum(|batch| batch.len() as u64)) + self.open.len() as u64;
        let longer = if self.cut.is_empty() { 1 } else { 2 };
        let worst = Usage {
            prompt_tokens: sum(|batch| batch.num_tokens) + self.open.tokens,
            cached_tokens: 0,
            completion_tokens: requests * longer * u64::from(self.asking.questioning.answer_tokens),
        };
        let share = self.batching.price_share;
        let broken = self.client.limit_broken_by(requests, &worst, share);
        Ok(broken.map(Hold::Budget))
    }

    /// Waits until batches have ended, and takes what they say.
    fn wait(&mut self) -> std::result::Result<(), Stop> {
        let mut pause = self.batching.poll;
        let longest = self.batching.poll.saturating_mul(20);
        let ended = loop {
            let spent = self.client.spent();
            (self.show)(&self.asking.progress(&self.ledger.state, spent, None));
            let ended = self.look()?;
            if !ended.is_empty() {
                break ended;
            }
            self.client.sleep(pause)?;
            pause = pause.mul_f64(1.5).min(longest);
        };
        let (mut all_remains, mut stop) = (Vec::new(), None);
        for ended in ended {
            let (remains, failure) = self.process(ended)?;
            all_remains.push(remains);
            stop = stop.or(failure);
        }
        // Results first: only then may they go from the service.
        self.ledger.save()?;
        for remains in &all_remains {
            clear(self.client, self.ledger, remains)?;
        }
        let covered = pending(self.ledger)?
            .first()
            .map(|batch| batch.start_index)
            .or(self.open.start());
        self.ring.release(covered);
        match stop {
            Some(error) => Err(error.into()),
            None if self.failed >= FAILED => {
                Err(Stop::Outcome(Outcome::FailedBatches(self.failed)))
            }
            None => Ok(()),
        }
    }

    /// The batches that have ended, with their results.
    fn look(&mut self) -> std::result::Result<Vec<Ended>, Stop> {
        let mut ended = Vec::new();
        for batch in pending(self.ledger)? {
            match self.results(&batch) {
                Ok(Looked::Ended(found)) => ended.push(*found),
                Ok(Looked::UnderWay(remote)) => self.see(&remote)?,
                // It may be under way all the same.
                Err(LlmError::Failed(failure)) if failure.class != FailureClass::BadRequest => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ended)
    }

    /// Remembers how far a batch is, if that is news.
    fn see(&mut self, remote: &RemoteBatch) -> Result<()> {
        let mut known = self.ledger.state.pending.iter();
        let known = known
            .find(|batch| batch["remote_batch"] == remote.id.as_str())
            .and_then(State::seen);
        let is_news = known
            .is_none_or(|known| known.status != remote.status || known.counts != remote.counts);
        match is_news {
            true => self.ledger.take(&Line::BatchSeen {
                id: remote.id.clone(),
                seen: Seen {
                    at: now(),
                    status: one_line(&remote.status),
                    counts: remote.counts,
                },
            }),
            false => Ok(()),
        }
    }

    /// What became of a batch.
    fn results(&self, batch: &PendingBatch) -> std::result::Result<Looked, LlmError> {
        let Some(remote) = self.client.batch(&batch.remote_batch)? else {
            // The service knows nothing of it.
            return Ok(Looked::Ended(Box::new(Ended {
                batch: batch.clone(),
                remote: None,
                lines: Vec::new(),
            })));
        };
        if remote.state() == BatchState::UnderWay {
            return Ok(Looked::UnderWay(remote));
        }
        let mut lines = Vec::new();
        for file in [&remote.output_file, &remote.error_file]
            .into_iter()
            .flatten()
        {
            lines.extend(self.client.batch_lines(file)?);
        }
        Ok(Looked::Ended(Box::new(Ended {
            batch: batch.clone(),
            remote: Some(remote),
            lines,
        })))
    }

    /// Takes the results of a batch. Returns what can be removed, and why to
    /// stop, if so.
    fn process(&mut self, ended: Ended) -> Result<(Remains, Option<LlmError>)> {
        let Ended {
            batch,
            remote,
            lines,
        } = ended;
        let id = batch.remote_batch.clone();
        let mut seen = self.answered.remove(&id).unwrap_or_default();
        let mut useful = seen.len();
        let (mut stop, mut cut) = (None, HashSet::new());
        for line in lines {
            let Some((number, image, nouns)) = batch.question(&line.custom_id) else {
                // A line about something else.
                continue;
            };
            if !seen.insert(number) {
                continue;
            }
            match line.answer {
                Ok(answer) => {
                    let usage = answer.usage.unwrap_or_default();
                    let cost = self.client.cost(&usage) * self.batching.price_share;
                    let mut line = judge(image, nouns, &answer, cost);
                    line.batch = Some((id.clone(), number));
                    useful += usize::from(line.verdicts.is_some());
                    let failures = &self.ledger.state.failures;
                    if let Some(failed) = &mut line.failed {
                        let refuses = |kind| kind == FailureKind::Refused;
                        let mut before = nouns.iter().filter_map(|noun| failures.of(image, noun));
                        // A model that refuses twice refuses always.
                        failed.for_good =
                            refuses(failed.class) && before.any(|failed| refuses(failed.class));
                        let times = self.cut.get(image).copied().unwrap_or(0);
                        if failed.class == FailureKind::Truncated && times < CUTS {
                            failed.counts = false;
                            cut.insert(image.to_owned());
                        }
                    }
                    let line = Line::Answer(Box::new(line));
                    self.ledger.take(&line)?;
                    self.client.add_spent(usage, cost);
                    if let (Some(log), Line::Answer(line)) = (&self.asking.log, &line) {
                        log.batch_answer(line)?;
                    }
                }
                Err(failure) => {
                    if let Some(log) = &self.asking.log {
                        log.batch_failure((image, nouns), &id, &failure)?;
                    }
                    // It was not asked at all, and will be.
                    let code = failure.code.as_deref().unwrap_or_default();
                    if NOT_REACHED.contains(&code) {
                        continue;
                    }
                    stop = stop.or_else(|| end_of_everything(&failure));
                    let bad = failure.class == FailureClass::BadRequest;
                    self.ledger.take(&Line::Unanswered {
                        at: now(),
                        image: image.to_owned(),
                        nouns: nouns.to_vec(),
                        class: match bad {
                            true => FailureKind::BadRequest,
                            false => FailureKind::Unanswered,
                        },
                        message: failure.to_string(),
                        for_good: bad,
                    })?;
                }
            }
        }
        for image in cut {
            *self.cut.entry(image).or_default() += 1;
        }
        if (useful as f64) < GOOD * batch.len() as f64 {
            self.failed += 1;
        }
        let mut files = Vec::new();
        if !self.batching.keep_remote {
            let remote = remote.as_ref();
            let outputs = remote.map(|remote| [&remote.output_file, &remote.error_file]);
            files.extend(outputs.into_iter().flatten().flatten().cloned());
            if !batch.remote_json_file_id.is_empty() {
                files.push(batch.remote_json_file_id.clone());
            }
        }
        let remains = Remains {
            id,
            files,
            local: batch.json_file,
        };
        self.ledger.take(&Line::BatchEnded(remains.clone()))?;
        Ok((remains, stop))
    }
}

/// Whether a batch was certainly not created.
fn is_definite(error: &LlmError) -> bool {
    match error {
        LlmError::Auth(_) | LlmError::Quota(_) => true,
        LlmError::Failed(failure) => failure.class == FailureClass::BadRequest,
        _ => false,
    }
}

/// The error of a question that no other question can escape.
fn end_of_everything(failure: &Failure) -> Option<LlmError> {
    match failure.class {
        FailureClass::Auth => Some(LlmError::Auth(failure.clone())),
        FailureClass::Quota => Some(LlmError::Quota(failure.clone())),
        _ => None,
    }
}
