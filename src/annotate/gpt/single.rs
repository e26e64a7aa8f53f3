//! Questions one by one, several at a time (`annotation.md` 9, 12).

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failures::FailureKind;
use super::journal::{Ledger, Line};
use super::judge::judge;
use super::log::Tried;
use super::questions::Question;
use super::room::{Room, Rooms};
use super::run::{Asking, Outcome, Progress};
use super::unanswered::Unanswered;
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{
    BadRequests, ChatAnswer, Crew, Failure, FailureClass, Halt, LlmClient, LlmError,
};

/// How often the state file is written.
const SAVE: Duration = Duration::from_secs(30);

/// A question with what was tried.
#[derive(Clone, Debug)]
struct Job {
    question: Question,
    /// The room that its answer gets.
    room: Room,
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
    /// Questions that were sent and have no answer yet, by image.
    in_flight: HashMap<usize, usize>,
    /// Images whose last answer was of use.
    useful: HashSet<usize>,
    rooms: Rooms,
    unanswered: Unanswered,
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
            in_flight: HashMap::new(),
            useful: HashSet::new(),
            rooms: Rooms::default(),
            unanswered: Unanswered::default(),
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
    let unanswered = std::mem::take(&mut state.unanswered);
    drop(state);
    ledger.save()?;
    let outcome = match halt {
        Some(Halt::Own(error)) => return Err(error),
        Some(Halt::Service(error)) => Outcome::Stopped(error),
        None if interrupted => Outcome::Stopped(LlmError::Interrupted),
        None => match unanswered.why(|image, noun| ledger.state.is_open(image, noun)) {
            Some(failure) => Outcome::Unanswered(failure),
            None => Outcome::Finished,
        },
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
            let image = job.question.image;
            let ended = self.ask(job);
            let mut state = self.crew.state();
            state.has_landed(image);
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
            if self.asking.most.is_some_and(|most| state.asked >= most) {
                return None;
            }
            if let Some(job) = state.send_next() {
                return Some(job);
            }
            if !state.in_flight.is_empty() {
                guard = self.crew.wait(guard);
                continue;
            }
            // Only a whole round without a question is the end.
            if !state.begin_round(&self.asking) {
                return None;
            }
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
            .request(&jpeg, &job.question.nouns, job.room.longer());
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
            Err(LlmError::Failed(failure)) if failure.status != Some(404) => match failure.class {
                FailureClass::BadRequest => self.not_taken(&job, failure),
                _ => {
                    self.crew.state().unanswered.add(&job.question, failure);
                    Ok(())
                }
            },
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
        state.unanswered.answered(&job.question);
        match line.failed {
            None => state.useful.insert(job.question.image),
            Some(_) => state.useful.remove(&job.question.image),
        };
        let mut again = None;
        if let Some(failed) = &mut line.failed {
            match failed.class {
                FailureKind::Truncated => {
                    let (image, nouns) = (job.question.image, job.question.nouns.len());
                    let has_more = state.rooms.cut(image, job.room, nouns);
                    (failed.counts, failed.for_good) = (!has_more, !has_more);
                    again = has_more.then_some(job);
                }
                FailureKind::Refused if job.refused => failed.for_good = true,
                FailureKind::Refused => {
                    failed.counts = false;
                    job.refused = true;
                    again = Some(job);
                }
                // In another order, for models stumble over some.
                FailureKind::Invalid if !job.repeated => {
                    job.repeated = true;
                    if self.asking.dealing.seed.is_some() {
                        job.question.nouns.reverse();
                    }
                    again = Some(job);
                }
                _ => {}
            }
        }
        let line = Line::Answer(Box::new(line));
        ledger.take(&line)?;
        if let (Some(log), Line::Answer(line)) = (&self.asking.log, &line) {
            log.answer(line, tried)?;
        }
        if let Some(job) = again {
            state.queue.push_front(job);
        }
        if state.saved.elapsed() >= SAVE {
            ledger.save()?;
            state.saved = Instant::now();
        }
        Ok(())
    }

    /// What the service does not take of an image, it never takes. Fails if that
    /// happens too often.
    fn not_taken(
        &self,
        job: &Job,
        failure: Failure,
    ) -> std::result::Result<(), Halt<AnnotateError>> {
        let mut guard = self.crew.state();
        let state: &mut Work = &mut guard;
        let Some(ledger) = &mut state.ledger else {
            return Ok(());
        };
        let image = job.question.image;
        if let Some(line) = self.asking.not_taken(&ledger.state, image, &failure) {
            ledger.take(&line).map_err(Halt::Own)?;
        }
        match state.bad_requests.add(image) {
            true => Err(Halt::Service(LlmError::Failed(failure))),
            false => Ok(()),
        }
    }
}

impl Work {
    /// The next question, which counts as sent. None if there is none, or if
    /// all of them wait for answers about their images.
    fn send_next(&mut self) -> Option<Job> {
        let ledger = self.ledger.as_ref()?;
        while let Some(at) = self.queue.iter().position(|job| self.may_go(job)) {
            let job = self.queue.remove(at)?;
            // It may have been answered or given up in the meantime.
            if !asks_something(ledger, &self.unanswered, &job.question) {
                continue;
            }
            let (image, room) = (job.question.image, job.room);
            let mut fitting = self.rooms.fitting(job.question, room).into_iter();
            let (question, room) = fitting.next()?;
            for (question, room) in fitting.rev() {
                self.queue.push_front(Job {
                    question,
                    room,
                    ..job
                });
            }
            *self.in_flight.entry(image).or_default() += 1;
            self.asked += 1;
            return Some(Job {
                question,
                room,
                ..job
            });
        }
        None
    }

    /// Until an answer about an image is of use, one question about it is asked
    /// at a time: what is wrong with one answer is wrong with the next ones, too,
    /// which are paid for.
    fn may_go(&self, job: &Job) -> bool {
        let image = &job.question.image;
        self.useful.contains(image) || !self.in_flight.contains_key(image)
    }

    /// A question about an image is in flight no more.
    fn has_landed(&mut self, image: usize) {
        if let Some(count) = self.in_flight.get_mut(&image) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&image);
            }
        }
    }

    /// Puts all open questions into the queue. Whether there are any.
    fn begin_round(&mut self, asking: &Asking) -> bool {
        let Some(ledger) = &self.ledger else {
            return false;
        };
        let (predicted, dealing) = (&asking.predicted, asking.dealing);
        let state = &ledger.state;
        let (mut questions, _) = state.questions_between(predicted, dealing, 0, 0, self.round);
        questions.retain(|question| asks_something(ledger, &self.unanswered, question));
        self.round += 1;
        self.queue.extend(questions.into_iter().map(Job::new));
        !self.queue.is_empty()
    }
}

/// Whether a question is about a pair that is open, and that is asked about in
/// this run.
fn asks_something(ledger: &Ledger, unanswered: &Unanswered, question: &Question) -> bool {
    let image = question.image;
    question
        .nouns
        .iter()
        .any(|noun| ledger.state.is_open(image, noun) && !unanswered.is_given_up(image, noun))
}

impl Job {
    fn new(question: Question) -> Self {
        Self {
            question,
            room: Room::default(),
            repeated: false,
            refused: false,
        }
    }
}
