//! Answers that are not in the caption file yet, beside it: what a killed run
//! has paid for.
//!
//! A line of JSON each, the first one about the run. An answer is in the file,
//! and on the disk, before it counts. Whoever goes on takes the answers whose
//! noun has as many captions as it had before the answer; the others are in the
//! caption file already.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::{Answer, AnswerEnd};
use super::error::GenerationError;
use super::work::{CaptionParser, Parked};
use super::work_list::WorkList;
use crate::net::llm::{Spent, Usage};

/// What the first line says the file is.
const NAME: &str = "answers for captions";

/// Version of the file.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    novic: String,
    format: u32,
    /// What the run has spent.
    spent: Spent,
    /// Nouns that are not as they were at the begin of the run.
    nouns: BTreeMap<String, Standing>,
}

/// How far a noun is.
#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    fruitless: u32,
    parked: Option<Parked>,
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it came.
    pub(super) at: String,
    /// Target noun.
    pub(super) noun: String,
    /// Captions of the noun before, `[singular, plural]`.
    pub(super) before: [u64; 2],
    /// Why it ends.
    pub(super) end: AnswerEnd,
    /// What it says.
    pub(super) text: String,
    /// Tokens.
    pub(super) usage: Usage,
    /// USD.
    pub(super) cost: f64,
    /// The model as it names itself.
    pub(super) model: Option<String>,
    /// Number of the request at the service.
    pub(super) request: Option<String>,
}

/// The journal of a caption file, held by this process alone.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    captions: PathBuf,
}

impl Journal {
    /// The journal of the caption file `captions`, made if there is none.
    ///
    /// # Errors
    /// Another process holds it, or it cannot be opened.
    pub fn open(captions: &Path) -> Result<Self, GenerationError> {
        let mut name = captions.file_name().unwrap_or_default().to_owned();
        name.push(".journal");
        let path = captions.with_file_name(name);
        let failed = |what, source| GenerationError::File {
            what,
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| failed("open", source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file,
                captions: captions.to_owned(),
                path,
            }),
            Err(TryLockError::WouldBlock) => Err(GenerationError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(failed("lock", source)),
        }
    }

    /// Takes what a killed run left into `list`. Returns what that run had
    /// spent, and how many of its answers were taken.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn replay(
        &mut self,
        list: &mut WorkList,
        parser: CaptionParser,
    ) -> Result<(Spent, u64), GenerationError> {
        let mut text = Vec::new();
        let read = |file: &mut File, text: &mut Vec<u8>| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(text)?;
            Ok(())
        };
        read(&mut self.file, &mut text).map_err(|source| self.failed("read", source))?;
        // What follows the last line end was never counted.
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let mut lines = text[..whole]
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let Some(head) = lines.next() else {
            return Ok((Spent::default(), 0));
        };
        let foreign = || GenerationError::NotAJournal {
            path: self.path.clone(),
        };
        let head: Head = serde_json::from_slice(head).map_err(|_| foreign())?;
        if head.novic != NAME || head.format > FORMAT {
            return Err(foreign());
        }
        for (noun, standing) in head.nouns {
            let place = list.place(&noun);
            if let Some(work) = place.and_then(|at| list.work_mut(at)) {
                work.resume(standing.fruitless, standing.parked);
            }
        }
        let (mut spent, mut taken) = (head.spent, 0);
        for line in lines {
            let record: Record = serde_json::from_slice(line).map_err(|_| foreign())?;
            spent.requests += 1;
            spent.answers += 1;
            spent.usage += record.usage;
            spent.cost += record.cost;
            let place = list.place(&record.noun);
            let Some(work) = place.and_then(|at| list.work_mut(at)) else {
                continue;
            };
            let has = work.captions().each_ref().map(|list| list.len() as u64);
            if has == record.before {
                let answer = Answer {
                    text: record.text,
                    end: record.end,
                };
                work.take(&answer, parser);
                taken += 1;
            }
        }
        Ok((spent, taken))
    }

    /// Adds an answer. It is on the disk when this returns.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), GenerationError> {
        let write = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            let mut file = &self.file;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&line)?;
            file.sync_data()
        };
        write().map_err(|source| self.failed("write", source))
    }

    /// Writes the caption file and begins anew.
    pub(super) fn save(&mut self, list: &WorkList, spent: Spent) -> Result<(), GenerationError> {
        list.save(&self.captions)?;
        let mut nouns = BTreeMap::new();
        for at in 0..list.len() {
            let Some(work) = list.work(at) else { continue };
            let parked = match work.state() {
                super::work::WorkState::Parked(why) => Some(why),
                _ => None,
            };
            if parked.is_some() || work.fruitless() > 0 {
                let fruitless = work.fruitless();
                nouns.insert(list.target(at).to_owned(), Standing { fruitless, parked });
            }
        }
        let head = Head {
            novic: NAME.to_owned(),
            format: FORMAT,
            spent,
            nouns,
        };
        let write = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(&head)?;
            line.push(b'\n');
            let mut file = &self.file;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&line)?;
            file.sync_data()
        };
        write().map_err(|source| self.failed("write", source))
    }

    /// Ends the run: everything is in the caption file.
    pub(super) fn end(self, list: &WorkList) -> Result<(), GenerationError> {
        list.save(&self.captions)?;
        std::fs::remove_file(&self.path).map_err(|source| self.failed("remove", source))
    }

    fn failed(&self, what: &'static str, source: std::io::Error) -> GenerationError {
        GenerationError::File {
            what,
            path: self.path.clone(),
            source,
        }
    }
}
