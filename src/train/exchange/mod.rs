//! Checkpoints in either form: the native file, and the `.train` and `.model`
//! files of the original, which are read and written here (`training.md` 3.2).
//!
//! Both become one [`Checkpoint`], so that nothing else needs to know which
//! form a file has. A file of the original that becomes a native one keeps, in
//! the section `original` of its header, the entries that training does not
//! use; a native checkpoint that becomes a `.train` file keeps what the
//! original does not know in the entry `novic`, which the original ignores.
//! Nothing is lost on the way forth and back.

mod model;
mod optimizer;
mod plain;
mod read;
mod scaler;
mod schedule;
#[cfg(test)]
mod tests;
mod verify;
mod write;

use std::path::Path;

use crate::cache::TargetConfig;
use crate::decoder::DecoderError;
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader};
use crate::pickle::{Archive, Dict, Fault, PickleError};

/// Section of a header with the entries of the original that training does not
/// use.
pub const ORIGINAL: &str = "original";
/// Entry of a `.train` file with what the original does not know.
const OWN_ENTRY: &str = "novic";
/// Section of a header with the run's output directory, as the original's
/// loop configuration names it.
pub const RUN_DIR: &str = "run_dir";

/// Form of a checkpoint file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One safetensors file with a JSON header.
    Native,
    /// The original's archive (`.train`, `.model`).
    Original,
}

impl Form {
    /// Form that a file name stands for, by its ending.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "safetensors" => Some(Self::Native),
            "train" | "model" => Some(Self::Original),
            _ => None,
        }
    }

    /// Form of an existing file, by its content.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, DecoderError> {
        if embedded(path).is_some() {
            return Ok(Self::Native);
        }
        match Archive::is_archive(path) {
            Ok(true) => Ok(Self::Original),
            Ok(false) => Ok(Self::Native),
            Err(error) => Err(read_error(path, error)),
        }
    }
}

/// The decoder in the program; `extras/decoder/README.md` tells how it was
/// trained.
static EMBEDDED: &[u8] = include_bytes!("../../../extras/decoder/embedded.safetensors");

/// What stands for the decoder in the program where a checkpoint is named.
pub const EMBEDDED_NAME: &str = "embedded";

/// The file of the decoder in the program, if a path stands for it.
pub fn embedded(path: &Path) -> Option<&'static [u8]> {
    (path == Path::new(EMBEDDED_NAME)).then_some(EMBEDDED)
}

/// Reads a checkpoint of either form; `embedded` is the one in the program.
///
/// # Errors
/// Missing, truncated and foreign files; files of a newer program; files whose
/// configuration does not belong to their weights.
pub fn load(path: &Path) -> Result<Checkpoint, DecoderError> {
    if let Some(content) = embedded(path) {
        return Checkpoint::from_bytes(path, content);
    }
    match Form::of_file(path)? {
        Form::Native => Checkpoint::load(path),
        Form::Original => {
            let archive = open(path)?;
            read::checkpoint(&archive, true).map_err(|fault| failed(&archive, fault))
        }
    }
}

/// Reads the header of a checkpoint of either form; weights and moments stay
/// unread.
///
/// # Errors
/// As [`load`].
pub fn load_header(path: &Path) -> Result<CheckpointHeader, DecoderError> {
    match Form::of_file(path)? {
        Form::Native if embedded(path).is_some() => Ok(load(path)?.header),
        Form::Native => CheckpointHeader::load(path),
        Form::Original => {
            let archive = open(path)?;
            let checkpoint = read::checkpoint(&archive, false);
            Ok(checkpoint.map_err(|fault| failed(&archive, fault))?.header)
        }
    }
}

/// Writes a checkpoint in a form; the file appears at once or not at all.
///
/// # Errors
/// A file that cannot be written; a checkpoint that the form cannot hold.
pub fn save(path: &Path, checkpoint: &Checkpoint, form: Form) -> Result<(), DecoderError> {
    match form {
        Form::Native => checkpoint.save(path),
        Form::Original => write::file(path, checkpoint),
    }
}

/// Reads everything in a checkpoint and checks that its parts belong together.
///
/// # Errors
/// What is wrong first.
pub fn verify(path: &Path) -> Result<(), DecoderError> {
    if Form::of_file(path)? == Form::Original {
        let archive = open(path)?;
        archive
            .verify()
            .map_err(|error| read_error(path, error.fault))?;
    }
    verify::parts(&load(path)?).map_err(|reason| read_error(path, reason))
}

/// The target configuration among the entries of a file of the original.
pub(super) fn target_config(archive: &Archive, top: &Dict) -> Result<TargetConfig, String> {
    let read = || -> Result<TargetConfig, Problem> {
        let dict = top.require("target_config", "the file")?;
        let fields = read::target_config(archive, dict.dict("target_config")?)?;
        serde_json::from_value(fields).map_err(|error| Problem::content(error.to_string()))
    };
    read().map_err(|problem| problem.to_string())
}

fn open(path: &Path) -> Result<Archive, DecoderError> {
    Archive::open(path).map_err(|error| read_error(path, error.fault))
}

fn failed(archive: &Archive, fault: Problem) -> DecoderError {
    match fault {
        Problem::File(fault) => read_error(archive.path(), fault),
        Problem::Decoder(error) => read_error(archive.path(), error),
    }
}

fn read_error(path: &Path, reason: impl ToString) -> DecoderError {
    DecoderError::Checkpoint {
        action: "read",
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

/// Why an archive is no checkpoint, or a checkpoint no archive.
enum Problem {
    File(Fault),
    Decoder(DecoderError),
}

impl Problem {
    fn content(reason: impl Into<String>) -> Self {
        Self::File(Fault::Content {
            reason: reason.into(),
        })
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(fault) => fault.fmt(formatter),
            Self::Decoder(error) => error.fmt(formatter),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::File(fault)
    }
}

impl From<PickleError> for Problem {
    fn from(error: PickleError) -> Self {
        Self::File(error.fault)
    }
}

impl From<DecoderError> for Problem {
    fn from(error: DecoderError) -> Self {
        Self::Decoder(error)
    }
}

impl From<candle_core::Error> for Problem {
    fn from(error: candle_core::Error) -> Self {
        Self::Decoder(error.into())
    }
}
