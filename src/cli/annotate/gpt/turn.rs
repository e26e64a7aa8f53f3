//! Several runs of one state: one of them asks, the others wait for their turn.

use std::thread;
use std::time::{Duration, Instant};

use super::failed;
use super::questions::{QuestionArgs, Settings};
use super::run::Shown;
use crate::annotate::AnnotateError;
use crate::annotate::gpt::{Ledger, StateFormat, Undone, read_state};
use crate::cli::CliError;
use crate::cli::llm::llm_error;
use crate::net::llm::LlmError;
use crate::runner::Interrupt;

/// How often it is tried whether the state is free.
const TRY: Duration = Duration::from_millis(200);

/// How often the state of the other process is shown.
const SHOW: Duration = Duration::from_secs(2);

/// Opens a state as soon as no other process writes it. Until then it is only
/// read, to show how far the other one is.
pub(super) fn open_in_turn(
    questions: &QuestionArgs,
    settings: &Settings,
    format: Option<StateFormat>,
    interrupt: &Interrupt,
) -> Result<(Ledger, Undone), CliError> {
    let mut onlooker = None;
    loop {
        match Ledger::open(&settings.path, format) {
            Err(AnnotateError::InUse { .. }) => {}
            opened => return opened.map_err(failed),
        }
        if interrupt.is_raised() {
            return Err(llm_error(&LlmError::Interrupted));
        }
        onlooker
            .get_or_insert_with(|| Onlooker::new(questions, settings))
            .look();
        thread::sleep(TRY);
    }
}

/// Whoever waits for another process.
struct Onlooker<'a> {
    questions: &'a QuestionArgs,
    settings: &'a Settings,
    shown: Shown,
    last: Option<Instant>,
}

impl<'a> Onlooker<'a> {
    fn new(questions: &'a QuestionArgs, settings: &'a Settings) -> Self {
        eprintln!(
            "{} is in use by another process; waiting for it to end",
            settings.path.display()
        );
        Self {
            questions,
            settings,
            shown: Shown::new(),
            last: None,
        }
    }

    /// Shows how far the other process is, now and then.
    fn look(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < SHOW) {
            return;
        }
        self.last = Some(Instant::now());
        // What cannot be shown now is said when it is this process's turn.
        if let Ok(state) = read_state(&self.settings.path)
            && let Ok(asking) = self.questions.asking(self.settings, &state)
        {
            let spent = self.settings.spent(&state);
            self.shown.show(&asking.progress(&state, spent, None));
        }
    }
}

impl Drop for Onlooker<'_> {
    fn drop(&mut self) {
        self.shown.clear();
    }
}
