//! Captions that a language model writes for the nouns of a dictionary
//! (`nouns-captions.md` section 8).
//!
//! [`WorkList`] is a caption file that is being written; each noun of it knows
//! its next [`Question`] and takes answers ([`CaptionWork`]). [`generate`] asks
//! them all. Every answer is in the [`Journal`] before it counts, so that
//! nothing is paid for twice.

mod answer;
mod error;
mod estimate;
mod journal;
mod matching;
mod original;
mod question;
mod run;
mod work;
mod work_list;

pub use answer::{Answer, AnswerEnd};
pub use error::GenerationError;
pub use estimate::{Estimate, Range};
pub use journal::Journal;
pub use question::{Question, Questions};
pub use run::{Outcome, Progress, Report, generate};
pub use work::{CaptionParser, CaptionWork, LineCounts, Parked, WorkState};
pub use work_list::{Wanted, WorkList};
