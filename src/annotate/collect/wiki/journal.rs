//! The journal of a collection: what the service said, so that nothing is asked
//! twice.
//!
//! A line of JSON each, the first one about the file. What failed for want of
//! an answer is recorded for the report, and tried again by the next run.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::error::CollectError;

const NAME: &str = "collection of pictures";
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    novic: String,
    format: u32,
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// A noun has been searched.
    Noun {
        noun: String,
        title: Option<String>,
        why: Option<String>,
    },
    /// These titles come next, in this order.
    Titles(Vec<String>),
    /// A page has been worked on.
    Page {
        title: String,
        file: Option<String>,
        why: Option<String>,
    },
}

/// The journal, held by this process alone.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    known: Known,
}

/// What is in a journal.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Titles by noun; none where a search found nothing.
    pub(super) nouns: HashMap<String, Option<String>>,
    /// Titles in the order of work.
    pub(super) titles: Vec<String>,
    /// Pages that are done.
    pub(super) pages: HashSet<String>,
}

impl Known {
    /// What the whole lines of a journal say, and how many bytes these have.
    /// Fails with the number of a line that is something else.
    fn parse(text: &[u8]) -> Result<(Self, usize), usize> {
        let whole = text
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |end| end + 1);
        if whole == 0 && !text.is_empty() && !text.starts_with(b"{\"novic\"") {
            return Err(1);
        }
        let mut known = Self::default();
        for (number, line) in text[..whole].split(|&b| b == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            if number == 0 {
                let head: Head = serde_json::from_slice(line).map_err(|_| 1usize)?;
                if head.novic != NAME || head.format > FORMAT {
                    return Err(1);
                }
            } else {
                known.take(serde_json::from_slice(line).map_err(|_| number + 1)?);
            }
        }
        Ok((known, whole))
    }

    /// What the journal at `path` says; nothing if there is none.
    pub(super) fn read(path: &Path) -> Result<Self, CollectError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(CollectError::file("read", path)(error)),
        };
        let parsed = Self::parse(&text).map_err(|line| CollectError::NotAJournal {
            path: path.to_owned(),
            line,
        })?;
        Ok(parsed.0)
    }

    fn take(&mut self, step: Step) {
        match step {
            // Without an answer: to be asked again.
            Step::Noun { why: Some(_), .. } => {}
            Step::Noun { noun, title, .. } => {
                self.nouns.insert(noun, title);
            }
            Step::Titles(titles) => self.titles.extend(titles),
            Step::Page {
                title,
                file: Some(_),
                ..
            }
            | Step::Page {
                title, why: None, ..
            } => {
                self.pages.insert(title);
            }
            Step::Page { .. } => {}
        }
    }
}

impl Journal {
    /// Opens the journal and reads what is in it.
    pub(super) fn open(path: &Path) -> Result<Self, CollectError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(CollectError::file("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CollectError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(CollectError::file("lock", path)(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(CollectError::file("read", path))?;
        let (known, whole) = Known::parse(&text).map_err(|line| CollectError::NotAJournal {
            path: path.to_owned(),
            line,
        })?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            known,
        };
        journal
            .file
            .set_len(whole as u64)
            .and_then(|()| journal.file.seek(SeekFrom::End(0)))
            .map_err(CollectError::file("write", path))?;
        if whole == 0 {
            journal.write(&Head {
                novic: NAME.to_owned(),
                format: FORMAT,
            })?;
        }
        Ok(journal)
    }

    /// What is in it.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Records a step.
    pub(super) fn add(&mut self, step: Step) -> Result<(), CollectError> {
        self.write(&step)?;
        self.known.take(step);
        Ok(())
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), CollectError> {
        let mut text = serde_json::to_vec(line)
            .map_err(std::io::Error::from)
            .map_err(CollectError::file("write", &self.path))?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .map_err(CollectError::file("write", &self.path))
    }
}
