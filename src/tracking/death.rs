//! What the parent of a run's process says when the process was killed.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::replace_file;

use super::error::TrackingError;

const FORMAT: u32 = 1;

const FILE: &str = "death.json";

/// How the process of a run was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    format: u32,
    /// The signal.
    pub signal: i32,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Whether the system killed for want of memory just then.
    #[serde(default)]
    pub out_of_memory: bool,
}

impl Death {
    /// Death by `signal`, now.
    pub fn by(signal: i32, out_of_memory: bool) -> Death {
        Death {
            format: FORMAT,
            signal,
            at_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
            out_of_memory,
        }
    }

    /// What was said about the run in `dir`, if anything.
    pub(super) fn read(dir: &Path) -> Option<Death> {
        let text = fs::read(dir.join(FILE)).ok()?;
        let death: Death = serde_json::from_slice(&text).ok()?;
        (death.format <= FORMAT).then_some(death)
    }

    /// Says so beside the record in `dir`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), TrackingError> {
        let path = dir.join(FILE);
        let text = serde_json::to_vec(self)
            .map_err(|error| TrackingError::io("write", &path)(error.into()))?;
        Ok(replace_file(&path, &text)?)
    }
}
