//! The journal of an annotation file, `<file>.journal`: a line of JSON for
//! everything that is done, the first one about the file. A line is on the disk
//! before the deed counts. Whoever holds the journal holds the annotation file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::HumanError;
use super::history::Event;

const NAME: &str = "annotations";
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    novic: String,
    format: u32,
}

/// The journal of an annotation file, held by this process alone.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// The file beside an annotation file whose name goes on with `ending`.
pub(super) fn beside(annotations: &Path, ending: &str) -> PathBuf {
    let mut name = annotations.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    annotations.with_file_name(name)
}

/// Where the journal of an annotation file lies.
fn path_of(annotations: &Path) -> PathBuf {
    beside(annotations, ".journal")
}

impl Journal {
    /// Opens the journal of an annotation file, and reads what is in it.
    pub(super) fn open(annotations: &Path) -> Result<(Self, Vec<Event>), HumanError> {
        let path = path_of(annotations);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HumanError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HumanError::InUse {
                    path: annotations.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(HumanError::file("lock", &path)(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(HumanError::file("read", &path))?;
        let (events, whole) = parse(&path, &text)?;
        file.set_len(whole as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(HumanError::file("write", &path))?;
        let mut journal = Self { path, file };
        if whole == 0 {
            journal.write(&Head {
                novic: NAME.to_owned(),
                format: FORMAT,
            })?;
        }
        Ok((journal, events))
    }

    /// What the journal of an annotation file says, if there is one.
    pub(super) fn read(annotations: &Path) -> Result<Vec<Event>, HumanError> {
        let path = path_of(annotations);
        match std::fs::read(&path) {
            Ok(text) => Ok(parse(&path, &text)?.0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(HumanError::file("read", &path)(error)),
        }
    }

    /// Adds a line. It is on the disk when this returns.
    pub(super) fn add(&mut self, event: &Event) -> Result<(), HumanError> {
        self.write(event)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), HumanError> {
        let failed = |error| HumanError::file("write", &self.path)(error);
        let mut text = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let end = self.file.stream_position().map_err(failed)?;
        let written = self
            .file
            .write_all(&text)
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            // No half of a line stays before the next one.
            let _ = self.file.set_len(end);
            let _ = self.file.seek(SeekFrom::Start(end));
            HumanError::file("write", &self.path)(error)
        })
    }
}

/// Events of the whole lines, and how many bytes these have.
fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Event>, usize), HumanError> {
    let foreign = |line: usize| HumanError::NotAJournal {
        path: path.to_owned(),
        line,
    };
    // What follows the last line end was never told to anybody.
    let whole = text
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |end| end + 1);
    if whole == 0 && !text.is_empty() && !text.starts_with(b"{\"novic\"") {
        return Err(foreign(1));
    }
    let mut events = Vec::new();
    for (number, line) in text[..whole].split(|&b| b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        if number == 0 {
            let head: Head = serde_json::from_slice(line).map_err(|_| foreign(1))?;
            if head.novic != NAME || head.format > FORMAT {
                return Err(foreign(1));
            }
        } else {
            events.push(serde_json::from_slice(line).map_err(|_| foreign(number + 1))?);
        }
    }
    Ok((events, whole))
}
