//! The journal of a state: every answer that was paid for, one line of JSON
//! each, and the way of every batch.
//!
//! A line is on the disk before what it says counts, and is never changed.
//! Before the state file is written, its hash goes into the journal: whoever
//! opens a state finds that line by the hash of the file, and takes what
//! follows it. So nothing is lost and nothing counts twice, whenever a process
//! is killed. The journal is locked while a process writes the state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::batches::PendingBatch;
use super::failures::FailureKind;
use super::prompt::hex;
use super::state::{State, StateFormat};
use crate::annotate::error::{AnnotateError, Result};
use crate::store::write_file;

/// What the first line says the file is.
const NAME: &str = "answers for annotation";

/// Version of the file.
const FORMAT: u32 = 1;

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Journal {
        /// What the file is.
        novic: String,
        /// Its version.
        format: u32,
    },
    /// The state file gets the content of this hash, which has everything
    /// before this line.
    State {
        /// When.
        at: String,
        /// SHA-256 of the state file.
        sha256: String,
    },
    /// An answer.
    Answer(Box<AnswerLine>),
    /// Verdicts about nouns that nobody has to be asked about.
    Known {
        /// The image.
        image: String,
        /// The noun.
        noun: String,
        /// How often it was judged to be wrong.
        times: usize,
    },
    /// A question that got no answer.
    Unanswered {
        /// When.
        at: String,
        /// The image.
        image: String,
        /// The nouns.
        nouns: Vec<String>,
        /// Why.
        class: FailureKind,
        /// What was said.
        message: String,
        /// Whether they are asked about no more.
        for_good: bool,
    },
    /// Everything that failed may be asked again.
    Retry,
    /// A batch is about to be sent.
    BatchPlanned {
        /// When.
        at: String,
        /// Its mark at the service.
        marker: String,
        /// What it asks.
        batch: Box<PendingBatch>,
    },
    /// Its questions are at the service.
    BatchUploaded {
        /// Its mark.
        marker: String,
        /// Number of the file.
        file: String,
    },
    /// It is under way, and in the state.
    BatchCreated {
        /// Its mark.
        marker: String,
        /// Its number.
        batch: Box<PendingBatch>,
    },
    /// The service has told how far it is.
    BatchSeen {
        /// Its number.
        id: String,
        /// When and what.
        seen: Seen,
    },
    /// It was never created.
    BatchDropped {
        /// Its mark.
        marker: String,
    },
    /// Its results are in this journal.
    BatchEnded(Remains),
    /// These files are gone.
    BatchCleared {
        /// Number of the batch.
        id: String,
    },
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the service told it.
    pub at: String,
    /// In its words.
    pub status: String,
    /// Questions: all, answered and failed ones.
    pub counts: Option<[u64; 3]>,
}

/// What is left of a batch whose results were taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// Its number.
    pub id: String,
    /// Files at the service that can go.
    pub files: Vec<String>,
    /// Name of the local file.
    pub local: String,
}

/// An answer, of use or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AnswerLine {
    /// When it came.
    pub at: String,
    /// The image.
    pub image: String,
    /// The nouns, in the order of the question.
    pub nouns: Vec<String>,
    /// Whether they are right; none if the answer is of no use.
    pub verdicts: Option<Vec<bool>>,
    /// What the image shows.
    #[serde(default)]
    pub description: String,
    /// What is wrong with the answer, and with which of the nouns it counts.
    pub failed: Option<FailedAnswer>,
    /// Integers of its usage.
    pub usage: BTreeMap<String, u64>,
    /// USD.
    pub cost: f64,
    /// What was said.
    pub text: String,
    /// The model as it names itself.
    pub model: Option<String>,
    /// Number of the request at the service.
    pub request: Option<String>,
    /// Batch and number of the question in it.
    pub batch: Option<(String, usize)>,
}

/// Why an answer is of no use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedAnswer {
    /// What happened.
    pub class: FailureKind,
    /// In words.
    pub message: String,
    /// Whether it counts against the pairs.
    pub counts: bool,
    /// Whether they are asked about no more.
    pub for_good: bool,
}

impl State {
    /// Takes what a line says.
    pub fn apply(&mut self, line: &Line) {
        match line {
            Line::Answer(answer) => {
                self.count(&answer.usage, answer.cost);
                let Some(image) = self.image(&answer.image) else {
                    return;
                };
                if let Some(verdicts) = &answer.verdicts {
                    self.record(image, &answer.nouns, verdicts, &answer.description);
                }
                self.apply_failures(line);
            }
            Line::Known { image, noun, times } => {
                if let Some(at) = self.image(image) {
                    let opinions = &mut self.records[at].opinions;
                    let opinions = opinions.entry(noun.clone()).or_default();
                    opinions.extend(std::iter::repeat_n(false, *times));
                }
            }
            Line::BatchCreated { batch, .. } => self.pending.push(batch.json()),
            Line::BatchSeen { id, seen } => self.see(id, seen),
            Line::BatchEnded(Remains { id, .. }) => {
                self.pending
                    .retain(|batch| batch["remote_batch"] != id.as_str());
            }
            Line::Unanswered { .. } | Line::Retry => self.apply_failures(line),
            _ => {}
        }
    }

    /// The part of [`State::apply`] that the original's files have no place for.
    fn apply_failures(&mut self, line: &Line) {
        match line {
            Line::Answer(answer) => {
                let Some(image) = self.image(&answer.image) else {
                    return;
                };
                if let Some(failed) = answer.failed.as_ref().filter(|failed| failed.counts) {
                    let (class, for_good) = (failed.class, failed.for_good);
                    self.fail(image, &answer.nouns, class, &failed.message, for_good);
                }
                if answer.verdicts.is_some() {
                    for noun in &answer.nouns {
                        if self.need(image, noun) == 0 {
                            self.failures.forget(&answer.image, noun);
                        }
                    }
                }
            }
            Line::Unanswered {
                image,
                nouns,
                class,
                message,
                for_good,
                ..
            } => {
                if let Some(at) = self.image(image) {
                    self.fail(at, nouns, *class, message, *for_good);
                }
            }
            Line::Retry => self.failures.clear(),
            _ => {}
        }
    }

    /// Questions about pairs failed; only those count that need opinions.
    fn fail(
        &mut self,
        image: usize,
        nouns: &[String],
        class: FailureKind,
        message: &str,
        for_good: bool,
    ) {
        let name = self.meta.images[image].clone();
        for noun in nouns {
            if self.need(image, noun) > 0 {
                self.failures.add(&name, noun, class, message, for_good);
            }
        }
    }
}

/// What a killed run has left undone.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// Batches that may have been created, with their marks and uploaded files.
    pub planned: Vec<(String, PendingBatch, Option<String>)>,
    /// Batches whose files are still at the service.
    pub uncleared: Vec<Remains>,
    /// Questions of batches under way that have answers here.
    pub answered: HashMap<String, HashSet<usize>>,
    /// Answers that were not in the state file.
    pub answers: u64,
}

/// A state with its files, held by this process alone.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    journal_path: PathBuf,
    journal: File,
    format: StateFormat,
    /// The state.
    pub state: State,
}

impl Ledger {
    /// Makes the files of a new state.
    ///
    /// # Errors
    /// They exist, or cannot be written.
    pub fn create(path: &Path, state: State, format: StateFormat) -> Result<Self> {
        let (journal_path, mut journal) = open_journal(path)?;
        let length = journal.seek(SeekFrom::End(0));
        if length.map_err(AnnotateError::io("read", &journal_path))? > 0 {
            return Err(AnnotateError::StrayJournal { path: journal_path });
        }
        let mut ledger = Self {
            path: path.to_owned(),
            journal_path,
            journal,
            format,
            state,
        };
        ledger.head()?;
        ledger.save()?;
        Ok(ledger)
    }

    /// Opens the state at `path` and takes what a killed run has left.
    ///
    /// # Errors
    /// Another process holds it, a file cannot be read, or they do not belong
    /// together.
    pub fn open(path: &Path, format: Option<StateFormat>) -> Result<(Self, Undone)> {
        // Before anything is made beside it.
        std::fs::metadata(path).map_err(AnnotateError::io("read", path))?;
        let (journal_path, mut journal) = open_journal(path)?;
        let text = std::fs::read(path).map_err(AnnotateError::io("read", path))?;
        let (state, own_format) = State::of_bytes(path, &text)?;
        let lines = read_lines(&mut journal, &journal_path)?;
        let mut ledger = Self {
            path: path.to_owned(),
            journal_path,
            journal,
            format: format.unwrap_or(own_format),
            state,
        };
        if lines.is_empty() {
            ledger.head()?;
            ledger.append(&ledger.mark(&text))?;
            return Ok((ledger, Undone::default()));
        }
        let mark = catch_up(&mut ledger.state, own_format, &text, &lines);
        let Some(mark) = mark else {
            return Err(AnnotateError::ForeignState {
                path: ledger.path,
                journal: ledger.journal_path,
            });
        };
        let mut undone = Undone::default();
        for line in &lines[mark..] {
            undone.answers += u64::from(matches!(line, Line::Answer(_)));
        }
        for line in &lines {
            undone.follow(line);
        }
        Ok((ledger, undone))
    }

    /// Takes a line: first into the journal, then into the state.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn take(&mut self, line: &Line) -> Result<()> {
        self.append(line)?;
        self.state.apply(line);
        Ok(())
    }

    /// Writes the state file, which is complete or as it was before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&mut self) -> Result<()> {
        let text = self.state.text(self.format);
        let mark = self.mark(text.as_bytes());
        self.append(&mark)?;
        Ok(write_file(&self.path, text.as_bytes())?)
    }

    /// The state file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the state file.
    pub fn beside(&self) -> &Path {
        super::begin::parent(&self.path)
    }

    fn mark(&self, text: &[u8]) -> Line {
        Line::State {
            at: now(),
            sha256: hex(&Sha256::digest(text)),
        }
    }

    fn head(&mut self) -> Result<()> {
        self.append(&head())
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let mut file = &self.journal;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&text)?;
            file.sync_data()
        };
        write().map_err(AnnotateError::io("write", &self.journal_path))
    }
}

/// Takes what follows the content of the state file. Returns its place; none if
/// the journal does not know it.
fn catch_up(state: &mut State, format: StateFormat, text: &[u8], lines: &[Line]) -> Option<usize> {
    let hash = hex(&Sha256::digest(text));
    let is_mark = |line: &Line| matches!(line, Line::State { sha256, .. } if *sha256 == hash);
    let mark = lines.iter().rposition(is_mark)?;
    if format == StateFormat::One {
        state.failures.clear();
        for line in &lines[..mark] {
            state.apply_failures(line);
        }
    }
    for line in &lines[mark..] {
        state.apply(line);
    }
    Some(mark)
}

/// The state at `path` with what its journal knows more, to look at: nothing is
/// locked or changed.
///
/// # Errors
/// A file cannot be read, or they do not belong together.
pub fn read_state(path: &Path) -> Result<State> {
    // The state first: the journal knows all that it ever was.
    let text = std::fs::read(path).map_err(AnnotateError::io("read", path))?;
    let (mut state, format) = State::of_bytes(path, &text)?;
    let journal_path = journal_path(path);
    let bytes = match std::fs::read(&journal_path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(state),
        Err(error) => return Err(AnnotateError::io("read", &journal_path)(error)),
    };
    let (lines, _) = whole_lines(&bytes, &journal_path)?;
    if !lines.is_empty() && catch_up(&mut state, format, &text, &lines).is_none() {
        return Err(AnnotateError::ForeignState {
            path: path.to_owned(),
            journal: journal_path,
        });
    }
    Ok(state)
}

impl Undone {
    fn follow(&mut self, line: &Line) {
        match line {
            Line::BatchPlanned { marker, batch, .. } => {
                let planned = (marker.clone(), (**batch).clone(), None);
                self.planned.push(planned);
            }
            Line::BatchUploaded { marker, file } => {
                let plan = self.planned.iter_mut().find(|(known, ..)| known == marker);
                if let Some((.., uploaded)) = plan {
                    *uploaded = Some(file.clone());
                }
            }
            Line::BatchCreated { marker, .. } | Line::BatchDropped { marker } => {
                self.planned.retain(|(known, ..)| known != marker);
            }
            Line::Answer(answer) => {
                if let Some((id, number)) = &answer.batch {
                    self.answered.entry(id.clone()).or_default().insert(*number);
                }
            }
            Line::BatchEnded(remains) => {
                self.answered.remove(&remains.id);
                self.uncleared.push(remains.clone());
            }
            Line::BatchCleared { id } => self.uncleared.retain(|known| known.id != *id),
            _ => {}
        }
    }
}

/// The journal of a state file.
pub fn journal_path(state: &Path) -> PathBuf {
    let mut name = OsString::from(state.file_name().unwrap_or_default());
    name.push(".journal");
    state.with_file_name(name)
}

/// Now, as files tell it.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn open_journal(state: &Path) -> Result<(PathBuf, File)> {
    let path = journal_path(state);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(AnnotateError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok((path, file)),
        Err(TryLockError::WouldBlock) => Err(AnnotateError::InUse {
            path: state.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(AnnotateError::File {
            action: "lock",
            path,
            source,
        }),
    }
}

/// All whole lines. What follows the last line end never counted, and goes.
fn read_lines(file: &mut File, path: &Path) -> Result<Vec<Line>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(AnnotateError::io("read", path))?;
    let (lines, whole) = whole_lines(&bytes, path)?;
    if whole < bytes.len() {
        file.set_len(whole as u64)
            .map_err(AnnotateError::io("write", path))?;
    }
    Ok(lines)
}

/// The first line of every journal.
fn head() -> Line {
    Line::Journal {
        novic: NAME.to_owned(),
        format: FORMAT,
    }
}

/// Whether a file without a whole line can be a journal that was begun.
fn is_begun(bytes: &[u8]) -> bool {
    serde_json::to_vec(&head()).is_ok_and(|head| head.starts_with(bytes))
}

/// All whole lines, and where they end.
fn whole_lines(bytes: &[u8], path: &Path) -> Result<(Vec<Line>, usize)> {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    let whole = end.map_or(0, |end| end + 1);
    let foreign = || AnnotateError::NotJournal {
        path: path.to_owned(),
    };
    let mut lines = Vec::new();
    for line in bytes[..whole].split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            lines.push(serde_json::from_slice(line).map_err(|_| foreign())?);
        }
    }
    match lines.first() {
        // Nothing, or what a process wrote that was killed over the first line.
        None if is_begun(bytes) => Ok((lines, whole)),
        None => Err(foreign()),
        Some(Line::Journal { novic, format }) if novic == NAME && *format <= FORMAT => {
            Ok((lines, whole))
        }
        Some(_) => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotate::gpt::state::tests::state_of;

    #[test]
    fn only_what_was_begun_as_a_journal_is_one() {
        let path = Path::new("s.json.journal");
        let head = serde_json::to_string(&head()).unwrap();
        for begun in ["", &head[..1], &head[..20], &head] {
            let (lines, whole) = whole_lines(begun.as_bytes(), path).unwrap();
            assert!(lines.is_empty() && whole == 0, "{begun}");
        }
        let torn = format!("{head}\n{{\"line\":\"ret");
        let (lines, whole) = whole_lines(torn.as_bytes(), path).unwrap();
        assert_eq!((lines.len(), whole), (1, head.len() + 1));
        for foreign in [
            "my notes",
            "\n",
            "{\"line\":\"retry\"}\n",
            "{}\n",
            "{\"a\": 1",
        ] {
            let read = whole_lines(foreign.as_bytes(), path);
            assert!(
                matches!(read, Err(AnnotateError::NotJournal { .. })),
                "{foreign:?}"
            );
        }
    }

    #[test]
    fn a_foreign_file_in_place_of_a_journal_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let state = state_of(&["a.png"]);
        std::fs::write(&path, state.text(StateFormat::Two)).unwrap();
        let journal = journal_path(&path);
        std::fs::write(&journal, "my notes").unwrap();
        assert!(Ledger::open(&path, None).is_err());
        assert_eq!(std::fs::read_to_string(&journal).unwrap(), "my notes");
    }
}
