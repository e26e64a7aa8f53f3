//! Questions one by one, several at a time (`annotation.md` 9, 12).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failures::FailureKind;
use super::journal::{Ledger, Line, now};
use super::judge::judge;
use super::log::Tried;
use super::questions::Question;
use super::run::{Asking, Outcome, Progress};
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{BadRequests, ChatAnswer, Crew, FailureClass, Halt, LlmClient, LlmError};

/// How often the state file is written.
const SAVE: Duration = Duration::from_secs(30);

/// A question with what was tried.
#[derive(Clone, Debug)]
struct Job {
    question: Question,
    /// Factor of the length of the answer.
    longer: u32,
    /// Whether an answer of no use came.
    repeated: bool,
    /// Whether the model refused.
    refused: bool,
}

/// What the threads share.
struct Run {
    client: Arc<LlmClient>,
    asking: Asking,
    beside: PathBuf,
    crew: Arc<Crew<Work, AnnotateError>>,
}

struct Work {
    /// None after the end.
    ledger: Option<Ledger>,
    queue: VecDeque<Job>,
    in_flight: usize,
    round: u64,
    /// Questions that were sent.
    asked: u64,
    saved: Instant,
    bad_requests: BadRequests,
}

/// Asks until nothing is open. The ledger comes back with the outcome, unless
/// an answer that is still in flight may come later.
///
/// # Errors
/// A file cannot be written or read. Answers that came before are in the
/// journal.
pub fn ask_singly(
    client: Arc<LlmClient>,
    asking: &Asking,
    ledger: Ledger,
    interrupted: impl Fn() -> bool,
    mut show: impl FnMut(&Progress),
) -> Result<(Ledger, Outcome)> {
    if !ledger.state.pending.is_empty() {
        return Err(AnnotateError::Pending);
    }
    let workers = asking.concurrency.max(1);
    let run = Arc::new(Run {
        client,
        asking: asking.clone(),
        beside: ledger.beside().to_owned(),
        crew: Crew::new(Work {
            ledger: Some(ledger),
            queue: VecDeque::new(),
            in_flight: 0,
            round: 0,
            asked: 0,
            saved: Instant::now(),
            bad_requests: BadRequests::default(),
        }),
    });
    let work = {
        let run = run.clone();
        move || run.work()
    };
    let (mut state, halt, interrupted) = run.crew.run(workers, work, interrupted, |state| {
        run.show(state, &mut show)
    });
    // Threads that still wait for answers find nothing to write into.
    let Some(mut ledger) = state.ledger.take() else {
        return Err(AnnotateError::Lost);
    };
    drop(state);
    ledger.save()?;
    let outcome = match halt {
        Some(Halt::Own(error)) => return Err(error),
        Some(Halt::Service(error)) => Outcome::Stopped(error),
        None if interrupted => Outcome::Stopped(LlmError::Interrupted),
        None => Outcome::Finished,
    };
    Ok((ledger, outcome))
}

impl Run {
    fn show(&self, state: &Work, show: &mut impl FnMut(&Progress)) {
        if let Some(ledger) = &state.ledger {
            let (spent, waits) = (self.client.spent(), self.client.waits());
            show(&self.asking.progress(&ledger.state, spent, waits));
        }
    }

    /// One thread: question after question.
    fn work(&self) {
        while let Some(job) = self.next() {
            let ended = self.ask(job);
            let mut state = self.crew.state();
            state.in_flight -= 1;
            if let Err(why) = ended {
                state.halt(why);
            }
            self.crew.tell();
        }
    }

    /// The next question; none if there is nothing more to ask.
    fn next(&self) -> Option<Job> {
        let mut guard = self.crew.state();
        loop {
            if guard.is_halted() {
                return None;
            }
            let state: &mut Work = &mut guard;
            let Some(ledger) = &state.ledger else {
                return None;
            };
            if self.asking.most.is_some_and(|most| state.asked >= most) {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                // It may have been answered or given up in the meantime.
                let question = &job.question;
                let image = &ledger.state.meta.images[question.image];
                let is_open = |noun: &String| {
                    ledger.state.need(question.image, noun) > 0
                        && !ledger.state.failures.is_parked(image, noun)
                };
                if !question.nouns.iter().any(is_open) {
                    continue;
                }
                state.in_flight += 1;
                state.asked += 1;
                return Some(job);
            }
            if state.in_flight > 0 {
                guard = self.crew.wait(guard);
                continue;
            }
            // Only a whole round without a question is the end.
            let asking = &self.asking;
            let (questions, _) = ledger.state.questions_between(
                &asking.predicted,
                asking.dealing,
                0,
                0,
                state.round,
            );
            if questions.is_empty() {
                return None;
            }
            state.round += 1;
            state.queue.extend(questions.into_iter().map(Job::new));
            self.crew.tell();
        }
    }

    /// Asks one question. Fails if nothing more is to be asked at all.
    fn ask(&self, job: Job) -> std::result::Result<(), Halt<AnnotateError>> {
        let (small, image) = {
            let state = self.crew.state();
            let Some(ledger) = &state.ledger else {
                return Ok(());
            };
            let image = ledger.state.meta.images[job.question.image].clone();
            let small = ledger.state.small_image(&self.beside, job.question.image);
            (small, image)
        };
        let jpeg = std::fs::read(&small)
            .map_err(|error| Halt::Own(AnnotateError::io("read", &small)(error)))?;
        let asking = &self.asking;
        let request = asking
            .questioning
            .request(&jpeg, &job.question.nouns, job.longer);
        let (mut tried, mut logged) = (Tried::default(), Ok(()));
        let tokens = asking.tokens_of_image(&small);
        let answer = self.client.chat_told(&request, tokens, &mut |exchange| {
            tried = Tried::of(exchange);
            if let Some(log) = &asking.log {
                let written = log.exchange(&image, &job.question.nouns, exchange);
                logged = std::mem::replace(&mut logged, Ok(())).and(written);
            }
        });
        // What was paid for counts, whatever became of the log.
        let ended = self.conclude(job, answer, tried);
        ended.and(logged.map_err(Halt::Own))
    }

    /// What follows from an answer, or from none.
    fn conclude(
        &self,
        job: Job,
        answer: std::result::Result<ChatAnswer, LlmError>,
        tried: Tried,
    ) -> std::result::Result<(), Halt<AnnotateError>> {
        match answer {
            Ok(answer) => self.take(job, &answer, tried).map_err(Halt::Own),
            Err(LlmError::Failed(failure)) if failure.status != Some(404) => {
                let bad = failure.class == FailureClass::BadRequest;
                let class = match bad {
                    true => FailureKind::BadRequest,
                    false => FailureKind::Unanswered,
                };
                self.unanswered(&job, class, &failure.to_string())
                    .map_err(Halt::Own)?;
                let mut state = self.crew.state();
                match bad && state.bad_requests.add(job.question.image) {
                    true => Err(Halt::Service(LlmError::Failed(failure))),
                    false => Ok(()),
                }
            }
            Err(error) => Err(Halt::Service(error)),
        }
    }

    /// An answer: first into the journal, then into the state; and what follows
    /// from one of no use.
    fn take(&self, mut job: Job, answer: &ChatAnswer, tried: Tried) -> Result<()> {
        let cost = self.client.cost(&answer.usage.unwrap_or_default());
        let mut guard = self.crew.state();
        let state: &mut Work = &mut guard;
        state.bad_requests.end();
        let Some(ledger) = &mut state.ledger else {
            return Ok(());
        };
        let image = ledger.state.meta.images[job.question.image].clone();
        let mut line = judge(&image, &job.question.nouns, answer, cost);
        let mut again = Vec::new();
        if let Some(failed) = &mut line.failed {
            match failed.class {
                FailureKind::Truncated if job.longer == 1 => {
                    failed.counts = false;
                    job.longer = 2;
                    again.push(job);
                }
                FailureKind::Truncated if job.question.nouns.len() > 1 => {
                    failed.counts = false;
                    again = job.halves();
                }
                FailureKind::Refused if job.refused => failed.for_good = true,
                FailureKind::Refused => {
                    failed.counts = false;
                    job.refused = true;
                    again.push(job);
                }
                // In another order, for models stumble over some.
                FailureKind::Invalid if !job.repeated => {
                    job.repeated = true;
                    if self.asking.dealing.seed.is_some() {
                        job.question.nouns.reverse();
                    }
                    again.push(job);
                }
                _ => {}
            }
        }
        let line = Line::Answer(Box::new(line));
        ledger.take(&line)?;
        if let (Some(log), Line::Answer(line)) = (&self.asking.log, &line) {
            log.answer(line, tried)?;
        }
        for job in again.into_iter().rev() {
            state.queue.push_front(job);
        }
        if state.saved.elapsed() >= SAVE {
            ledger.save()?;
            state.saved = Instant::now();
        }
        Ok(())
    }

    /// A question without an answer.
    fn unanswered(&self, job: &Job, class: FailureKind, message: &str) -> Result<()> {
        let mut state = self.crew.state();
        let Some(ledger) = &mut state.ledger else {
            return Ok(());
        };
        let image = job.question.image;
        // What the service does not take of an image, it never takes.
        let for_good = class == FailureKind::BadRequest;
        let nouns = match for_good {
            true => ledger
                .state
                .open_pairs(&self.asking.predicted)
                .filter(|(at, _)| *at == image)
                .map(|(_, noun)| noun.to_owned())
                .collect(),
            false => job.question.nouns.clone(),
        };
        ledger.take(&Line::Unanswered {
            at: now(),
            image: ledger.state.meta.images[image].clone(),
            nouns,
            class,
            message: message.to_owned(),
            for_good,
        })
    }
}

impl Job {
    fn new(question: Question) -> Self {
        Self {
            question,
            longer: 1,
            repeated: false,
            refused: false,
        }
    }

    /// The same question about half of the nouns each.
    fn halves(self) -> Vec<Self> {
        let halves = self.question.halves().into_iter();
        let half = |question| Self { question, ..self };
        halves.map(half).collect()
    }
}
