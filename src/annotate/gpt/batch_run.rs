//! Batches from the first question to the last answer (`annotation.md` 10).
//!
//! Images form a ring. Batches under way cover parts of it in order; questions
//! are collected for the rest. Every step is in the journal before the next
//! one: a killed run neither forgets a batch nor makes it twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::batches::{BatchLimits, OpenBatch, PendingBatch, Ring, UnderWay};
use super::failures::FailureKind;
use super::journal::{Ledger, Line, Remains, Seen, Undone, now};
use super::judge::{judge, one_line};
use super::room::{Room, Rooms};
use super::run::{Asking, FailedBatches, Outcome, Progress};
use super::state::State;
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{
    BadRequests, BatchLine, BatchState, ChatAnswer, Failure, FailureClass, LlmClient, LlmError,
    RemoteBatch, Usage,
};
use crate::store::write_file;

/// Batches without useful results after which a run gives up.
const FAILED: u32 = 5;

/// Share of useful answers that makes a batch a good one.
const GOOD: f64 = 0.8;

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
    under_way: UnderWay,
    /// What the marks of its batches begin with, and how many there were.
    name: String,
    sent: u64,
    rooms: Rooms,
    /// Images about which an answer was cut.
    cut_before: HashSet<usize>,
    bad_requests: BadRequests,
    /// Questions that the journal has answers for, by batch.
    answered: HashMap<String, HashSet<usize>>,
    failed: FailedBatches,
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

impl Ended {
    /// The lines that are about questions of the batch, with their numbers, in
    /// the order in which they came.
    fn take_lines(&mut self) -> Vec<(usize, BatchLine)> {
        let lines = std::mem::take(&mut self.lines).into_iter();
        let numbered = lines.filter_map(|line| {
            let (number, ..) = self.batch.question(&line.custom_id)?;
            Some((number, line))
        });
        numbered.collect()
    }

    /// Why it failed as a whole, as far as that is known.
    fn reason(&self) -> Option<String> {
        let Some(remote) = &self.remote else {
            return Some("the service knows nothing of it any more".to_owned());
        };
        let words = one_line(&remote.errors.join("; "));
        (!words.is_empty()).then_some(words)
    }

    /// What is left of it, here and there.
    fn remains(&self, keep_remote: bool) -> Remains {
        let mut files = Vec::new();
        if !keep_remote {
            let outputs = self.remote.iter();
            let outputs = outputs.flat_map(|remote| [&remote.output_file, &remote.error_file]);
            files.extend(outputs.flatten().cloned());
            let input = &self.batch.remote_json_file_id;
            files.extend((!input.is_empty()).then(|| input.clone()));
        }
        Remains {
            id: self.batch.remote_batch.clone(),
            files,
            local: self.batch.json_file.clone(),
        }
    }
}

/// One question of a batch under way.
#[derive(Clone, Copy)]
struct Asked<'a> {
    batch: &'a PendingBatch,
    number: usize,
    at: usize,
    image: &'a str,
    nouns: &'a [String],
}

/// What the lines of a batch come to.
#[derive(Default)]
struct Tally {
    /// Answers of use.
    useful: usize,
    /// Answers that were cut: image, room, number of nouns.
    cut: Vec<(usize, Room, usize)>,
    /// Whether questions are to be written in another way.
    adapts: bool,
    /// What was said last instead of an answer.
    said: Option<String>,
    /// Why to ask no more.
    stop: Option<LlmError>,
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
        let pending = pending(ledger)?;
        let ring = Ring::new(ledger.state.meta.images.len(), &pending);
        Ok(Self {
            client,
            asking,
            batching,
            ledger,
            ring,
            open: OpenBatch::default(),
            under_way: UnderWay::of(&pending),
            name: format!("{}-{:016x}", local_time(), rand::random::<u64>()),
            sent: 0,
            rooms: Rooms::default(),
            cut_before: HashSet::new(),
            bad_requests: BadRequests::default(),
            answered: undone.answered.clone(),
            failed: FailedBatches::default(),
            round: 0,
            show,
        })
    }

    fn run(&mut self) -> std::result::Result<Outcome, Stop> {
        loop {
            if let Some(image) = self.ring.next() {
                if let Some(limit) = self.collect(image)? {
                    self.use_up_budget(image, limit)?;
                    continue;
                }
                self.ring.advance();
                if self.open.is_full(&self.batching.limits) {
                    self.send()?;
                }
                continue;
            }
            let is_idle = self.under_way.batches == 0;
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

    /// Adds the questions about an image to the open batch. Returns the limit of
    /// the budget that does not allow all of them, if so.
    fn collect(&mut self, image: usize) -> Result<Option<String>> {
        let asking = self.asking;
        let state = &self.ledger.state;
        let predicted = &asking.predicted[image];
        let questions = state.questions(image, predicted, asking.dealing, self.round);
        if questions.is_empty() {
            return Ok(None);
        }
        let small = state.small_image(self.ledger.beside(), image);
        let jpeg = std::fs::read(&small).map_err(AnnotateError::io("read", &small))?;
        let image_tokens = asking.tokens_of_image(&small);
        let name = state.meta.images[image].clone();
        let questions: Vec<_> = questions
            .into_iter()
            .flat_map(|question| self.rooms.fitting(question, Room::default()))
            .collect();
        for (question, room) in questions {
            let tokens = asking
                .questioning
                .request_tokens(&question.nouns, image_tokens);
            if let Some(limit) = self.limit_broken_by(1, tokens) {
                return Ok(Some(limit));
            }
            let request = asking
                .questioning
                .request(&jpeg, &question.nouns, room.longer());
            let body = self.client.body(&request);
            self.open
                .written
                .get_or_insert_with(|| self.client.written());
            self.open.add(question, &name, &body, tokens);
        }
        Ok(None)
    }

    /// The budget does not allow all questions about an image. What it allows is
    /// sent, and after that what batches under way leave of it.
    fn use_up_budget(&mut self, image: usize, limit: String) -> std::result::Result<(), Stop> {
        if self.open.is_about(image) {
            // The rest of its questions come in the next round.
            self.ring.advance();
        }
        if !self.open.is_empty() {
            self.send()
        } else if self.under_way.batches > 0 {
            self.wait()
        } else {
            Err(LlmError::Budget(limit).into())
        }
    }

    /// Sends the open batch, as soon as the limits allow it.
    fn send(&mut self) -> std::result::Result<(), Stop> {
        while let Some(hold) = self.held_back() {
            match hold {
                Hold::Budget(limit) if self.under_way.batches == 0 => {
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
                self.under_way = UnderWay::of(&pending(self.ledger)?);
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
    fn held_back(&self) -> Option<Hold> {
        let (under_way, limits) = (&self.under_way, &self.batching.limits);
        let full = under_way.batches >= limits.batches
            || under_way.bytes + self.open.bytes() > limits.all_bytes
            || under_way.tokens + self.open.tokens > limits.tokens;
        // A single batch may be larger than all of them together may be.
        if full && under_way.batches > 0 {
            return Some(Hold::Limits);
        }
        self.limit_broken_by(0, 0).map(Hold::Budget)
    }

    /// The limit of the budget that so many more questions in the open batch
    /// would break, which take so many tokens, at worst.
    fn limit_broken_by(&self, more: u64, tokens: u64) -> Option<String> {
        let requests = self.under_way.requests + self.open.len() as u64 + more;
        let longest = match self.rooms.are_usual() {
            true => Room::Usual.longer(),
            false => Room::Longer.longer(),
        };
        let answer = u64::from(longest) * u64::from(self.asking.questioning.answer_tokens);
        let worst = Usage {
            prompt_tokens: self.under_way.tokens + self.open.tokens + tokens,
            cached_tokens: 0,
            completion_tokens: requests * answer,
        };
        let share = self.batching.price_share;
        self.client.limit_broken_by(requests, &worst, share)
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
        let pending = pending(self.ledger)?;
        self.under_way = UnderWay::of(&pending);
        let covered = pending
            .first()
            .map(|batch| batch.start_index)
            .or(self.open.start());
        self.ring.release(covered);
        match stop {
            Some(error) => Err(error.into()),
            None if self.failed.count >= FAILED => {
                Err(Stop::Outcome(Outcome::FailedBatches(self.failed.clone())))
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
    fn process(&mut self, mut ended: Ended) -> Result<(Remains, Option<LlmError>)> {
        let lines = ended.take_lines();
        let batch = &ended.batch;
        let answered = self.answered.remove(&batch.remote_batch);
        let mut seen = answered.unwrap_or_default();
        let mut tally = Tally {
            useful: seen.len(),
            ..Tally::default()
        };
        let mut failures = BTreeMap::new();
        for (number, line) in lines {
            if !seen.insert(number) {
                continue;
            }
            match line.answer {
                Ok(answer) => {
                    if let Some(asked) = self.asked(batch, number) {
                        self.take_answer(asked, &answer, &mut tally)?;
                    }
                }
                Err(failure) => {
                    failures.insert(number, failure);
                }
            }
        }
        // In the order of the questions: some refusals in a row mean more than
        // each of them.
        for number in 1..=batch.len() {
            match (failures.remove(&number), self.asked(batch, number)) {
                (Some(failure), Some(asked)) => self.take_failure(asked, failure, &mut tally)?,
                (None, _) if seen.contains(&number) => self.bad_requests.end(),
                _ => {}
            }
        }
        self.make_room(&tally.cut);
        if !tally.adapts && (tally.useful as f64) < GOOD * batch.len() as f64 {
            self.failed.count += 1;
            let reason = ended.reason().or(tally.said);
            self.failed.reason = reason.or(self.failed.reason.take());
        }
        let remains = ended.remains(self.batching.keep_remote);
        self.ledger.take(&Line::BatchEnded(remains.clone()))?;
        Ok((remains, tally.stop))
    }

    /// Answers about images were cut: image, room, number of nouns. Once it may
    /// be chance; from the second batch on they get more room.
    fn make_room(&mut self, cut: &[(usize, Room, usize)]) {
        for &(image, room, nouns) in cut {
            if self.cut_before.contains(&image) {
                self.rooms.cut(image, room, nouns);
            }
        }
        self.cut_before.extend(cut.iter().map(|(image, ..)| *image));
    }

    /// The question of a batch with a number, from 1.
    fn asked<'b>(&self, batch: &'b PendingBatch, number: usize) -> Option<Asked<'b>> {
        let place = number.checked_sub(1)?;
        let image = batch.images.get(place)?;
        Some(Asked {
            batch,
            number,
            at: self.ledger.state.image(image)?,
            image,
            nouns: batch.request_lists.get(place)?,
        })
    }

    /// Takes an answer, of use or not.
    fn take_answer(
        &mut self,
        asked: Asked<'_>,
        answer: &ChatAnswer,
        tally: &mut Tally,
    ) -> Result<()> {
        let usage = answer.usage.unwrap_or_default();
        let cost = self.client.cost(&usage) * self.batching.price_share;
        let mut line = judge(asked.image, asked.nouns, answer, cost);
        line.batch = Some((asked.batch.remote_batch.clone(), asked.number));
        tally.useful += usize::from(line.verdicts.is_some());
        if let Some(failed) = &mut line.failed {
            match failed.class {
                FailureKind::Truncated => {
                    let (room, nouns) = (self.rooms.of(asked.at), asked.nouns.len());
                    let has_more = room.more(nouns).is_some();
                    (failed.counts, failed.for_good) = (!has_more, !has_more);
                    tally.cut.push((asked.at, room, nouns));
                }
                FailureKind::Refused => failed.for_good = self.was_refused(asked),
                _ => {}
            }
        }
        let line = Line::Answer(Box::new(line));
        self.ledger.take(&line)?;
        self.client.add_spent(usage, cost);
        match (&self.asking.log, &line) {
            (Some(log), Line::Answer(line)) => log.batch_answer(line),
            _ => Ok(()),
        }
    }

    /// Whether a model has refused to answer before: then it always does.
    fn was_refused(&self, asked: Asked<'_>) -> bool {
        let failures = &self.ledger.state.failures;
        let mut before = asked
            .nouns
            .iter()
            .filter_map(|noun| failures.of(asked.image, noun));
        before.any(|failed| failed.class == FailureKind::Refused)
    }

    /// Takes the reason why there is no answer. What is neither refused as it is
    /// nor the end of everything is asked again.
    fn take_failure(
        &mut self,
        asked: Asked<'_>,
        failure: Failure,
        tally: &mut Tally,
    ) -> Result<()> {
        if let Some(log) = &self.asking.log {
            let id = &asked.batch.remote_batch;
            log.batch_failure((asked.image, asked.nouns), id, &failure)?;
        }
        tally.said = Some(failure.to_string());
        if let Some(error) = end_of_everything(&failure) {
            tally.stop.get_or_insert(error);
        } else if failure.class == FailureClass::BadRequest {
            self.take_bad_request(asked, failure, tally)?;
        }
        Ok(())
    }

    /// A question that the service does not take as it is: it is written in
    /// another way from now on, or its image is given up.
    fn take_bad_request(
        &mut self,
        asked: Asked<'_>,
        failure: Failure,
        tally: &mut Tally,
    ) -> Result<()> {
        let request = self.asking.questioning.request(&[], asked.nouns, 1);
        let written = asked.batch.written.clone();
        let written = written.unwrap_or_else(|| self.client.written());
        if self.client.learn(&failure, &request, &written) {
            tally.adapts = true;
            self.ledger.state.asked.remember(self.client);
            return Ok(());
        }
        // What is wrong with all of them is wrong with none.
        if tally.stop.is_some() {
            return Ok(());
        }
        let line = self
            .asking
            .not_taken(&self.ledger.state, asked.at, &failure);
        if let Some(line) = line {
            self.ledger.take(&line)?;
        }
        if self.bad_requests.add(asked.at) {
            tally.stop = Some(LlmError::Failed(failure));
        }
        Ok(())
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
        // No such model.
        FailureClass::BadRequest if failure.status == Some(404) => {
            Some(LlmError::Failed(failure.clone()))
        }
        _ => None,
    }
}
