//! A search that is kept: every trial is a line of a file, so that it goes on
//! after a kill.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::space::Parameter;
use super::tpe::{Tpe, Trial};
use crate::store::StoreError;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    values: Vec<f64>,
    /// None: it came to nothing.
    loss: Option<f64>,
}

/// A search with the trials so far.
#[derive(Debug)]
pub struct Study {
    path: PathBuf,
    file: File,
    space: Vec<Parameter>,
    tpe: Tpe,
    seed: u64,
    trials: Vec<Trial>,
}

impl Study {
    /// The search that is kept in `path`, which is made where it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(
        path: &Path,
        space: Vec<Parameter>,
        tpe: Tpe,
        seed: u64,
    ) -> Result<Study, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        let mut trials = Vec::new();
        let mut whole = 0;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        while reader
            .read_line(&mut line)
            .map_err(StoreError::io("read", path))?
            > 0
        {
            // What a killed process did not finish is no trial.
            let Some(parsed) = line
                .ends_with('\n')
                .then(|| serde_json::from_str::<Line>(&line).ok())
                .flatten()
                .filter(|parsed| parsed.values.len() == space.len())
            else {
                break;
            };
            whole += line.len() as u64;
            trials.push(Trial {
                values: parsed.values,
                loss: parsed.loss.unwrap_or(f64::NAN),
            });
            line.clear();
        }
        file.set_len(whole).map_err(StoreError::io("write", path))?;
        Ok(Study {
            path: path.to_owned(),
            file,
            space,
            tpe,
            seed,
            trials,
        })
    }

    /// The trials so far.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// What to try next: the same for the same trials so far.
    pub fn ask(&self) -> Vec<f64> {
        suggestion(&self.tpe, &self.space, &self.trials, self.seed)
    }

    /// Keeps what a trial came to; a loss that is no number is a failure.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tell(&mut self, values: Vec<f64>, loss: f64) -> Result<(), StoreError> {
        let line = Line {
            loss: loss.is_finite().then_some(loss),
            values,
        };
        let text = serde_json::to_string(&line)
            .map_err(|error| StoreError::io("write", &self.path)(error.into()))?;
        self.file
            .write_all(format!("{text}\n").as_bytes())
            .map_err(StoreError::io("write", &self.path))?;
        self.trials.push(Trial {
            values: line.values,
            loss,
        });
        Ok(())
    }
}

/// The trial after `trials`: drawn from a generator of its own, so that a search
/// that was interrupted goes on as if it had not been.
pub(crate) fn suggestion(tpe: &Tpe, space: &[Parameter], trials: &[Trial], seed: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(trials.len() as u64);
    tpe.suggest(space, trials, &mut random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_search_goes_on_as_if_it_had_not_been() {
        let dir = tempfile::tempdir().unwrap();
        let space = vec![Parameter::Interval {
            low: 0.0,
            high: 1.0,
            log: false,
            step: None,
        }];
        let open = |name: &str| {
            Study::open(&dir.path().join(name), space.clone(), Tpe::default(), 3).unwrap()
        };
        let go_on = |study: &mut Study, count: usize| {
            for _ in 0..count {
                let values = study.ask();
                let loss = (values[0] - 0.3).abs();
                study.tell(values, loss).unwrap();
            }
        };
        let mut whole = open("whole");
        go_on(&mut whole, 40);
        let mut first = open("parts");
        go_on(&mut first, 25);
        drop(first);
        let path = dir.path().join("parts");
        let mut text = std::fs::read(&path).unwrap();
        text.truncate(text.len() - 5);
        std::fs::write(&path, text).unwrap();
        let mut second = open("parts");
        assert_eq!(second.trials().len(), 24);
        go_on(&mut second, 16);
        assert_eq!(second.trials(), whole.trials());
    }
}
