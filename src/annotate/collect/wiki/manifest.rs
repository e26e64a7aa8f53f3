//! `manifest.jsonl`: a line of JSON for every stored picture, with where it is
//! from and under which licence.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::error::CollectError;
use super::name::number_of;
use crate::store::{append_line, publish_file};

/// Name of the file.
pub const MANIFEST: &str = "manifest.jsonl";
/// How every line begins.
const LINE_BEGIN: &[u8] = b"{\"file\":";

/// A stored picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Name of the file in the folder.
    pub file: String,
    /// Nouns whose pages show it.
    pub nouns: Vec<String>,
    /// Title of the page.
    pub title: String,
    /// Number of the page.
    pub page_id: Option<i64>,
    /// Revision of the page.
    pub revision: Option<i64>,
    /// Address of the picture at the service.
    pub source: String,
    /// Address of the page about the picture.
    pub file_page: Option<String>,
    /// Short name of its licence.
    pub licence: Option<String>,
    /// Address of the licence.
    pub licence_url: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// SHA-256 of the stored file.
    pub sha256: String,
    /// Bytes of the stored file.
    pub bytes: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// The manifest of a folder.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    found: Vec<Found>,
}

impl Manifest {
    /// The pictures that the manifest of `folder` tells of.
    pub(super) fn read(folder: &Path) -> Result<Vec<Found>, CollectError> {
        Self::parse(&folder.join(MANIFEST)).map(|(found, _)| found)
    }

    /// The manifest of `folder`, empty if there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, CollectError> {
        let path = folder.join(MANIFEST);
        let (found, is_whole) = Self::parse(&path)?;
        let manifest = Self { path, found };
        if !is_whole {
            manifest.rewrite()?;
        }
        Ok(manifest)
    }

    fn parse(path: &Path) -> Result<(Vec<Found>, bool), CollectError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(CollectError::file("read", path)(error)),
        };
        // What follows the last line end was cut off with the process.
        let whole = text
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |end| end + 1);
        let foreign = |line: usize| CollectError::NotAManifest {
            path: path.to_owned(),
            line,
        };
        let (lines, rest) = text.split_at(whole);
        if !rest.starts_with(LINE_BEGIN) && !LINE_BEGIN.starts_with(rest) {
            return Err(foreign(lines.iter().filter(|&&b| b == b'\n').count() + 1));
        }
        let mut found = Vec::new();
        for (number, line) in lines.split(|&b| b == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            found.push(serde_json::from_slice(line).map_err(|_| foreign(number + 1))?);
        }
        Ok((found, whole == text.len()))
    }

    pub(super) fn found(&self) -> &[Found] {
        &self.found
    }

    /// A number that is larger than those of all pictures.
    pub(super) fn next_number(&self) -> u64 {
        let numbers = self.found.iter().filter_map(|found| number_of(&found.file));
        numbers.max().unwrap_or(0) + 1
    }

    /// Adds a picture.
    pub(super) fn add(&mut self, found: Found) -> Result<(), CollectError> {
        append_line(&self.path, &to_line(&found)).map_err(|error| CollectError::File {
            what: "write",
            path: self.path.clone(),
            source: std::io::Error::other(error),
        })?;
        self.found.push(found);
        Ok(())
    }

    /// Adds nouns that have been found to lead to pages whose pictures are
    /// stored.
    pub(super) fn add_nouns_of(
        &mut self,
        by_title: &HashMap<String, Vec<String>>,
    ) -> Result<(), CollectError> {
        let mut is_changed = false;
        for found in &mut self.found {
            for noun in by_title.get(&found.title).into_iter().flatten() {
                if !found.nouns.contains(noun) {
                    found.nouns.push(noun.clone());
                    is_changed = true;
                }
            }
        }
        if is_changed { self.rewrite() } else { Ok(()) }
    }

    /// Adds nouns to the picture at `place`.
    pub(super) fn add_nouns(&mut self, place: usize, nouns: &[String]) -> Result<(), CollectError> {
        let known = &mut self.found[place].nouns;
        let new: Vec<String> = nouns
            .iter()
            .filter(|noun| !known.contains(noun))
            .cloned()
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        known.extend(new);
        self.rewrite()
    }

    fn rewrite(&self) -> Result<(), CollectError> {
        publish_file(&self.path, |file| {
            for found in &self.found {
                writeln!(file, "{}", to_line(found))?;
            }
            Ok(())
        })
        .map_err(CollectError::file("write", &self.path))
    }
}

fn to_line(found: &Found) -> String {
    serde_json::json!(found).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str) -> Found {
        Found {
            file: file.to_owned(),
            nouns: vec!["fox".to_owned()],
            title: "Fox".to_owned(),
            page_id: None,
            revision: None,
            source: "http://h/fox.png".to_owned(),
            file_page: None,
            licence: None,
            licence_url: None,
            author: None,
            sha256: String::new(),
            bytes: 1,
            width: 1,
            height: 1,
        }
    }

    #[test]
    fn a_cut_line_is_dropped_and_what_is_foreign_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST);
        let line = format!("{}\n", to_line(&found("000007-Fox.jpg")));
        for cut in 1..line.len() - 1 {
            std::fs::write(&path, format!("{line}{}", &line[..cut])).unwrap();
            let manifest = Manifest::open(folder.path()).unwrap();
            assert_eq!((manifest.found.len(), manifest.next_number()), (1, 8));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        }
        for text in [
            "my notes",
            "my notes\n",
            "{\"files\": 3}",
            &format!("{line}my notes"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Manifest::open(folder.path()).unwrap_err();
            let lines = text.lines().count();
            assert!(
                matches!(error, CollectError::NotAManifest { line, .. } if line == lines),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
