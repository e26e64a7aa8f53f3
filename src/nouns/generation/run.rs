//! Asking for captions until every noun has its own, several nouns at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::answer::{Answer, AnswerEnd};
use super::error::GenerationError;
use super::journal::{Journal, Record};
use super::question::Questions;
use super::work::{CaptionParser, LineCounts, Parked, WorkState};
use super::work_list::WorkList;
use crate::net::llm::{
    BadRequests, ChatAnswer, Crew, FailureClass, Finish, Halt, LlmClient, LlmError, Spent,
};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every noun was asked about.
    Finished,
    /// Something made all further questions useless, or somebody pressed
    /// Ctrl-C.
    Stopped(LlmError),
}

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Nouns that have all their captions now.
    pub completed: u64,
    /// Nouns that got no more, why, and what the service said.
    pub parked: Vec<(String, Parked, Option<String>)>,
    /// What became of the lines of answers.
    pub lines: LineCounts,
    /// Captions that were asked for.
    pub requested: u64,
    /// What was spent.
    pub spent: Spent,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Noun that was asked about last.
    pub noun: String,
    /// Nouns that are done with.
    pub done: u64,
    /// Nouns of the run.
    pub nouns: u64,
    /// Captions that were accepted.
    pub accepted: u64,
    /// Captions that were known already.
    pub duplicates: u64,
    /// Nouns that were done with when the file was written last.
    pub saved: u64,
    /// What was spent.
    pub spent: Spent,
    /// Why nothing is sent now.
    pub waits: Option<String>,
}

/// What the threads share.
struct Run {
    client: LlmClient,
    questions: Questions,
    parser: CaptionParser,
    save_every: u64,
    crew: Arc<Crew<State, GenerationError>>,
}

struct State {
    list: WorkList,
    /// None after the end.
    journal: Option<Journal>,
    open: VecDeque<usize>,
    nouns: u64,
    done: u64,
    saved: u64,
    noun: String,
    completed: u64,
    parked: Vec<(String, Parked, Option<String>)>,
    bad_requests: BadRequests,
    lines: LineCounts,
    requested: u64,
}

/// Asks for everything that is missing in `list` and writes it to the caption
/// file of `journal`, now and then and at the end. `threads` nouns are asked
/// about at a time.
///
/// # Errors
/// A file cannot be written. Answers that came before are in the journal.
pub fn generate(
    client: LlmClient,
    questions: Questions,
    (parser, threads, save_every): (CaptionParser, usize, u64),
    list: WorkList,
    mut journal: Journal,
    interrupted: impl Fn() -> bool,
    mut show: impl FnMut(&Progress),
) -> Result<Report, GenerationError> {
    journal.save(&list, client.spent())?;
    let open: VecDeque<usize> = list.open().map(|(at, _)| at).collect();
    let workers = threads.clamp(1, open.len().max(1));
    let run = Arc::new(Run {
        client,
        questions,
        parser,
        save_every: save_every.max(1),
        crew: Crew::new(State {
            list,
            journal: Some(journal),
            nouns: open.len() as u64,
            open,
            done: 0,
            saved: 0,
            noun: String::new(),
            completed: 0,
            parked: Vec::new(),
            bad_requests: BadRequests::default(),
            lines: LineCounts::default(),
            requested: 0,
        }),
    });
    let work = {
        let run = run.clone();
        move || run.work()
    };
    let (mut guard, halt, interrupted) = run.crew.run(workers, work, interrupted, |state| {
        show(&run.progress(state))
    });
    let state: &mut State = &mut guard;
    let ended = match halt {
        None if interrupted => Some(LlmError::Interrupted),
        None => None,
        Some(Halt::Service(error)) => Some(error),
        Some(Halt::Own(error)) => return Err(error),
    };
    if let Some(journal) = state.journal.take() {
        journal.end(&state.list)?;
    }
    Ok(Report {
        outcome: match ended {
            // Everything may have been answered all the same.
            Some(LlmError::Interrupted) if state.done == state.nouns => Outcome::Finished,
            Some(error) => Outcome::Stopped(error),
            None => Outcome::Finished,
        },
        completed: state.completed,
        parked: std::mem::take(&mut state.parked),
        lines: state.lines,
        requested: state.requested,
        spent: run.client.spent(),
    })
}

impl Run {
    fn progress(&self, state: &State) -> Progress {
        Progress {
            noun: state.noun.clone(),
            done: state.done,
            nouns: state.nouns,
            accepted: state.lines.accepted,
            duplicates: state.lines.duplicate,
            saved: state.saved,
            spent: self.client.spent(),
            waits: self.client.waits(),
        }
    }

    /// One thread: noun after noun.
    fn work(&self) {
        loop {
            let at = {
                let mut state = self.crew.state();
                if state.is_halted() {
                    return;
                }
                match state.open.pop_front() {
                    Some(at) => at,
                    None => return,
                }
            };
            if let Err(why) = self.noun(at) {
                self.crew.state().halt(why);
                return;
            }
        }
    }

    /// Everything about one noun. Fails if nothing more is to be asked at all.
    fn noun(&self, at: usize) -> Result<(), Halt<GenerationError>> {
        loop {
            let question = {
                let mut guard = self.crew.state();
                if guard.is_halted() {
                    return Ok(());
                }
                let state: &mut State = &mut guard;
                let work = state.list.work(at);
                let question = work.and_then(|work| work.question(self.questions.per_call));
                match &question {
                    None => {
                        self.close(state, at, None).map_err(Halt::Own)?;
                        return Ok(());
                    }
                    Some(question) => {
                        state.noun.clone_from(&question.noun);
                        state.requested += question.count as u64;
                    }
                }
                question
            };
            let Some(question) = question else {
                return Ok(());
            };
            match self.client.chat(&self.questions.request(&question), 0) {
                Ok(answer) => self.take(at, answer).map_err(Halt::Own)?,
                Err(LlmError::Failed(failure)) if failure.status != Some(404) => {
                    let mut guard = self.crew.state();
                    let state: &mut State = &mut guard;
                    let too_many =
                        failure.class == FailureClass::BadRequest && state.bad_requests.add(at);
                    if let Some(work) = state.list.work_mut(at) {
                        work.park(Parked::Failed);
                    }
                    self.close(state, at, Some(failure.to_string()))
                        .map_err(Halt::Own)?;
                    return match too_many {
                        true => Err(Halt::Service(LlmError::Failed(failure))),
                        false => Ok(()),
                    };
                }
                Err(error) => return Err(Halt::Service(error)),
            }
        }
    }

    /// An answer: first into the journal, then into the list.
    fn take(&self, at: usize, answer: ChatAnswer) -> Result<(), GenerationError> {
        let usage = answer.usage.unwrap_or_default();
        let cost = self.client.cost(&usage);
        let said = Answer {
            end: match &answer.finish {
                Finish::Stop | Finish::Unsaid => AnswerEnd::Stop,
                Finish::Length => AnswerEnd::Length,
                Finish::Refused(_) => AnswerEnd::Refused,
                Finish::Other(_) => AnswerEnd::Nothing,
            },
            text: answer.text,
        };
        let mut guard = self.crew.state();
        let state: &mut State = &mut guard;
        state.bad_requests.end();
        let target = state.list.target(at).to_owned();
        let (Some(journal), Some(work)) = (&mut state.journal, state.list.work_mut(at)) else {
            return Ok(());
        };
        let record = Record {
            at: jiff::Timestamp::now().to_string(),
            noun: target,
            before: work.captions().each_ref().map(|list| list.len() as u64),
            end: said.end,
            text: said.text,
            usage,
            cost,
            model: answer.model,
            request: answer.request_id,
        };
        journal.add(&record)?;
        let said = Answer {
            text: record.text,
            end: record.end,
        };
        let counts = work.take(&said, self.parser);
        state.lines += counts;
        Ok(())
    }

    /// A noun is done with; now and then the file is written.
    fn close(
        &self,
        state: &mut State,
        at: usize,
        message: Option<String>,
    ) -> Result<(), GenerationError> {
        match state.list.work(at).map(|work| work.state()) {
            Some(WorkState::Parked(why)) => {
                let noun = state.list.target(at).to_owned();
                state.parked.push((noun, why, message));
            }
            _ => state.completed += 1,
        }
        state.done += 1;
        if state.done - state.saved >= self.save_every
            && let Some(journal) = &mut state.journal
        {
            journal.save(&state.list, self.client.spent())?;
            state.saved = state.done;
        }
        Ok(())
    }
}
