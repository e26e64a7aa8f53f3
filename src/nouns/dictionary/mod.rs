//! The object noun dictionary (`nouns-captions.md` section 1).
//!
//! [`Dictionary`] is a checked dictionary file, [`Vocabulary`] the part of it
//! above a frequency threshold, in file order: everything derived (target
//! ids, sample numbers, tie-breaking) follows that order. Files of other
//! people are data: all problems are collected and shown together.

mod load;
mod parse;
mod problems;
mod summary;

pub(in crate::nouns) use load::read_json;
pub use load::{Dictionary, EMBEDDED, Vocabulary, identity};
pub use problems::{
    DictionaryProblem, DictionaryProblems, DictionaryWarning, ProblemKind, WarningKind,
};
pub use summary::DictionarySummary;
