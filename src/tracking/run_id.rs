//! Run ids: `ovod_YYYYMMDD_HHMMSS`, local time of the start.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Zoned;

use super::error::TrackingError;

/// Name of a run, unique within its project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// Takes the id of a run that starts at `now` by making its directory in
    /// `runs`; `_2`, `_3`, … are appended when taken. A name is also taken when
    /// `outputs` has a directory of it.
    pub fn take(
        runs: &Path,
        outputs: &Path,
        now: &Zoned,
    ) -> Result<(RunId, PathBuf), TrackingError> {
        let base = now.strftime("ovod_%Y%m%d_%H%M%S").to_string();
        let name = |number: u32| match number {
            1 => base.clone(),
            _ => format!("{base}_{number}"),
        };
        let is_taken = |number: u32| {
            let id = name(number);
            runs.join(&id).exists() || outputs.join(&id).exists()
        };
        for number in first_free(is_taken).. {
            let id = name(number);
            if outputs.join(&id).exists() {
                continue;
            }
            let dir = runs.join(&id);
            match fs::create_dir(&dir) {
                Ok(()) => return Ok((RunId(id), dir)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TrackingError::io("make", &dir)(error)),
            }
        }
        Err(TrackingError::io("make a run in", runs)(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first free number after those that are taken one after the other; in few
/// steps, because thousands of runs may start in one second.
fn first_free(is_taken: impl Fn(u32) -> bool) -> u32 {
    let mut free = 1;
    while free < 1 << 30 && is_taken(free) {
        free *= 2;
    }
    let mut taken = free / 2;
    while taken + 1 < free {
        let middle = taken.midpoint(free);
        match is_taken(middle) {
            true => taken = middle,
            false => free = middle,
        }
    }
    free
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> Result<RunId, ()> {
        let mut parts = text.strip_prefix("ovod_").ok_or(())?.split('_');
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let date = parts
            .next()
            .is_some_and(|part| part.len() == 8 && digits(part));
        let time = parts
            .next()
            .is_some_and(|part| part.len() == 6 && digits(part));
        let number = parts.next().is_none_or(digits);
        if date && time && number && parts.next().is_none() {
            Ok(RunId(text.to_owned()))
        } else {
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_second_gets_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let now: Zoned = "2026-11-24T17:05:09[UTC]".parse().unwrap();
        let outputs = dir.path().join("outputs");
        let take = || {
            RunId::take(dir.path(), &outputs, &now)
                .unwrap()
                .0
                .to_string()
        };
        assert_eq!(take(), "ovod_20261124_170509");
        assert_eq!(take(), "ovod_20261124_170509_2");
        fs::create_dir_all(outputs.join("ovod_20261124_170509_3")).unwrap();
        assert_eq!(take(), "ovod_20261124_170509_4");
    }

    #[test]
    fn the_first_free_number_is_found() {
        for taken in [0, 1, 2, 3, 4, 7, 8, 1000] {
            assert_eq!(first_free(|number| number <= taken), taken + 1);
        }
    }

    #[test]
    fn ids_are_recognised() {
        for good in ["ovod_20240323_152830", "ovod_20240323_152830_12"] {
            assert!(good.parse::<RunId>().is_ok(), "{good}");
        }
        for bad in [
            "ovod_20240323",
            "latest",
            "ovod_20240323_152830_",
            "ovod_20240323_152830_2_3",
            "../ovod",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
