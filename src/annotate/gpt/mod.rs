//! Annotation by a model that looks at images (`annotation.md` 4–12).
//!
//! A [`State`] says which images there are and which opinions were given about
//! their nouns; a [`Ledger`] holds it with its journal. What is asked next
//! comes from [`State::questions`], what an answer says from [`read_answer`],
//! and what opinions make of a pair from an [`OpinionRule`].

mod batch_run;
mod batches;
mod begin;
mod deal;
mod estimate;
mod export;
mod failures;
mod grammar;
mod image_tokens;
mod journal;
mod judge;
mod log;
mod opinions;
mod pace;
mod prompt;
mod questions;
mod relax;
mod room;
mod run;
mod single;
mod small;
mod state;
mod unanswered;
mod visual;

pub use batch_run::{Batching, ask_in_batches, cancel, resolve};
pub use batches::{BatchLimits, OpenBatch, PendingBatch, Ring};
pub use begin::{NewState, Update, moved, parent, update};
pub use estimate::{Estimate, Range};
pub use export::{ExportWarning, Exported};
pub use failures::{Failed, FailureKind, Failures};
pub use grammar::{Refusal, Verdicts, read_answer, read_text};
pub use image_tokens::{Detail, ImageTokens};
pub use journal::{
    AnswerLine, FailedAnswer, Ledger, Line, Remains, Seen, Undone, journal_path, read_state,
};
pub use judge::judge;
pub use log::RequestLog;
pub use opinions::{OpinionRule, RuleError};
pub use pace::{Outlook, Pace};
pub use prompt::{DEFAULT_PROMPT, Prompt, Questioning};
pub use questions::{Dealing, Question, predicted_nouns};
pub use run::{Asking, FailedBatches, Outcome, Progress};
pub use single::ask_singly;
pub use small::{Copying, make_small_copies};
pub use state::{Asked, ImageRecord, Meta, State, StateFormat};
pub use visual::{same_image, same_picture};
