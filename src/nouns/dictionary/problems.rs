//! Problems and warnings of a dictionary file, each with the entry it is in.

use std::fmt;

use thiserror::Error;

/// How many problems are shown.
const SHOWN: usize = 20;

/// What is wrong with an entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProblemKind {
    /// The entry is not an object.
    #[error("the entry must be an object")]
    NotAnObject,
    /// A key is missing.
    #[error("the key {0:?} is missing")]
    Missing(&'static str),
    /// A value has the wrong type or range.
    #[error("{key:?} must be {expected}, not {found}")]
    WrongValue {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The id occurred before.
    #[error("the id is already used by entry {first}")]
    RepeatedId {
        /// Index of the first entry with this id.
        first: usize,
    },
    /// The target noun is empty.
    #[error("\"target_noun\" is empty")]
    EmptyTarget,
    /// A list of spellings and its list of frequencies differ in length.
    #[error("{key:?} has {spellings} spellings, but {frequencies} frequencies")]
    LengthsDiffer {
        /// Key of the spellings.
        key: &'static str,
        /// Number of spellings.
        spellings: usize,
        /// Number of frequencies.
        frequencies: usize,
    },
    /// A frequency of 0.
    #[error("a frequency of {0:?} is 0; the least is 1")]
    ZeroFrequency(&'static str),
    /// No spelling at all.
    #[error("the noun has neither a singular nor a plural spelling")]
    NoSpelling,
    /// An empty spelling.
    #[error("{0:?} has an empty spelling")]
    EmptySpelling(&'static str),
    /// Leading, trailing, repeated or other than plain spaces.
    #[error("{key:?} has {text:?}, which needs single spaces and none at its ends")]
    Spaces {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
    },
    /// A NUL character, which would corrupt embedding caches.
    #[error("{key:?} has {text:?}, which contains a NUL character")]
    Nul {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
    },
    /// A spelling occurs twice in a list.
    #[error("{key:?} lists {text:?} twice")]
    RepeatedSpelling {
        /// The key.
        key: &'static str,
        /// The spelling.
        text: String,
    },
    /// The target noun of a kept entry occurred before.
    #[error("the target noun is already that of entry {first}")]
    RepeatedTarget {
        /// Index of the first entry with this target noun.
        first: usize,
    },
    /// A hypernym is listed twice.
    #[error("\"hypernyms\" lists the id {0} twice")]
    RepeatedHypernym(u64),
    /// A hypernym does not exist.
    #[error("\"hypernyms\" names the id {0}, which no entry has")]
    UnknownHypernym(u64),
    /// A noun is its own hypernym.
    #[error("the noun is its own hypernym")]
    OwnHypernym,
}

/// A problem and the entry it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryProblem {
    /// Index of the entry in the file, from 0.
    pub index: usize,
    /// Its id, if it has a valid one.
    pub id: Option<u64>,
    /// Its target noun, if it has one.
    pub target: Option<String>,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for DictionaryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.index)?;
        match (&self.id, &self.target) {
            (Some(id), Some(target)) => write!(f, " (id {id}, {target:?})")?,
            (Some(id), None) => write!(f, " (id {id})")?,
            (None, Some(target)) => write!(f, " ({target:?})")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.kind)
    }
}

/// All problems of a dictionary; the first 20 are kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct DictionaryProblems {
    file: String,
    shown: Vec<DictionaryProblem>,
    total: usize,
}

impl DictionaryProblems {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            shown: Vec::new(),
            total: 0,
        }
    }

    pub(super) fn push(&mut self, problem: DictionaryProblem) {
        self.total += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(problem);
        }
    }

    /// The first problems.
    pub fn shown(&self) -> &[DictionaryProblem] {
        &self.shown
    }

    /// Number of all problems.
    pub fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for DictionaryProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.total == 1 { "" } else { "s" };
        write!(f, "{} has {} problem{plural}:", self.file, self.total)?;
        for problem in &self.shown {
            write!(f, "\n  {problem}")?;
        }
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// What is unusual about an entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WarningKind {
    /// The target noun is not among the spellings, so that class names do not
    /// find it by its own name.
    #[error("the target noun is not one of the spellings")]
    TargetNotSpelled,
    /// The canonical form of a spelling is not a spelling, so that class
    /// names do not find it.
    #[error("{canonical:?}, the canonical form of {spelling:?}, is not one of the spellings")]
    CanonicalNotSpelled {
        /// The spelling.
        spelling: String,
        /// Its canonical form.
        canonical: String,
    },
}

/// A warning and the entry it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryWarning {
    /// Index of the entry in the file, from 0.
    pub index: usize,
    /// Its target noun.
    pub target: String,
    /// What is unusual.
    pub kind: WarningKind,
}

impl fmt::Display for DictionaryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} ({:?}): {}", self.index, self.target, self.kind)
    }
}
