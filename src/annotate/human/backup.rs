//! The copy of an annotation file as it was before the last session that
//! changed it, `<file>.bak`. Only copies that the journal knows are replaced:
//! whatever else has that name is somebody's own.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::HumanError;
use super::history::Event;
use super::journal::beside;
use crate::store::publish_file;

/// The backup of an annotation file.
#[derive(Debug)]
pub(super) struct Backup {
    path: PathBuf,
    /// Hashes of the copies that sessions have made.
    known: HashSet<String>,
    is_done: bool,
}

impl Backup {
    /// The backup of a file with this journal.
    pub(super) fn of(annotations: &Path, events: &[Event]) -> Self {
        let known = events.iter().filter_map(|event| match event {
            Event::Backup { hash } => Some(hash.clone()),
            _ => None,
        });
        Self {
            path: beside(annotations, ".bak"),
            known: known.collect(),
            is_done: false,
        }
    }

    /// Whether a backup may be made of `text`: nothing is there, a copy of a
    /// session, or the same text.
    ///
    /// # Errors
    /// Something else is there.
    pub(super) fn check(&self, text: &str) -> Result<(), HumanError> {
        match std::fs::read(&self.path) {
            Ok(found) if found == text.as_bytes() || self.known.contains(&hash(&found)) => Ok(()),
            Ok(_) => Err(HumanError::ForeignBackup {
                path: self.path.clone(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(HumanError::file("read", &self.path)(error)),
        }
    }

    /// Whether this session needs no more backup.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Makes the backup of this session, of the text of the file if there is
    /// one. `record` writes to the journal, before the copy is there: one that
    /// the journal did not know would be taken for somebody's own.
    ///
    /// # Errors
    /// Something else is there, or it cannot be written.
    pub(super) fn make(
        &mut self,
        text: Option<&str>,
        record: impl FnOnce(&Event) -> Result<(), HumanError>,
    ) -> Result<(), HumanError> {
        if let Some(text) = text {
            self.check(text)?;
            self.copy(text, record)?;
        }
        self.is_done = true;
        Ok(())
    }

    fn copy(
        &mut self,
        text: &str,
        record: impl FnOnce(&Event) -> Result<(), HumanError>,
    ) -> Result<(), HumanError> {
        if std::fs::read(&self.path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(());
        }
        let hash = hash(text.as_bytes());
        record(&Event::Backup { hash: hash.clone() })?;
        self.known.insert(hash);
        publish_file(&self.path, |file| file.write_all(text.as_bytes()))
            .map_err(HumanError::file("write", &self.path))
    }
}

/// The hash by which texts of files are known.
pub(super) fn hash(text: &[u8]) -> String {
    blake3::hash(text).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_copies_of_sessions_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let annotations = folder.path().join("a.json");
        let copy = folder.path().join("a.json.bak");
        let read = || std::fs::read_to_string(&copy).unwrap();
        let mut events = Vec::new();
        let mut make = |text: &str| {
            let mut backup = Backup::of(&annotations, &events);
            backup.check(text)?;
            backup.make(Some(text), |event| {
                events.push(event.clone());
                Ok(())
            })
        };
        make("first").unwrap();
        assert_eq!(read(), "first");
        make("second").unwrap();
        assert_eq!(read(), "second");
        // What somebody has put there stays, even if it is a copy of the file.
        std::fs::write(&copy, "third").unwrap();
        make("third").unwrap();
        for text in ["fourth", "second"] {
            let error = make(text).unwrap_err();
            assert!(matches!(error, HumanError::ForeignBackup { .. }), "{error}");
        }
        assert_eq!(read(), "third");
        assert_eq!(events.len(), 2);
    }
}
