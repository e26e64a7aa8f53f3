//! Specificity lists: noun → number from 0 (coarse) to 1 (fine).

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::reports::predictions::{PredictionsError, normal_form};

/// Names the list in the program.
pub const EMBEDDED: &str = "embedded";

/// Made by `extras/makers` of WordNet; README and licence lie beside it.
static COMPRESSED: &[u8] = include_bytes!("../../../extras/specificity/specificity.json.zst");
/// No list we ship unpacks to more bytes than this.
const SIZE_LIMIT: usize = 16 << 20;

/// What counts for a noun without specificity that is worth points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingSpecificity {
    /// Nothing is scored; all such nouns are named.
    #[default]
    Error,
    /// As if it were not specific at all.
    Zero,
    /// As if it were as specific as can be.
    Fine,
}

impl FromStr for MissingSpecificity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "zero" => Ok(Self::Zero),
            "fine" => Ok(Self::Fine),
            other => Err(format!("`{other}` is none of error, zero, fine")),
        }
    }
}

/// A specificity list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Specificity {
    name: String,
    values: HashMap<String, f64>,
}

impl Specificity {
    /// Reads a list.
    ///
    /// # Errors
    /// The file cannot be read, or is no object of numbers from 0 to 1.
    pub fn read(path: &Path) -> Result<Self, PredictionsError> {
        let text = fs::read_to_string(path).map_err(|source| PredictionsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |reason| PredictionsError::Specificity {
            path: path.to_owned(),
            reason,
        };
        let entries: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Self::of(path.display().to_string(), &entries).map_err(wrong)
    }

    /// The list in the program: 0.5 for nouns with many kinds below them in
    /// WordNet, 1 for others.
    ///
    /// # Errors
    /// The program is damaged.
    pub fn embedded() -> Result<Self, PredictionsError> {
        let wrong = |reason: String| PredictionsError::Specificity {
            path: EMBEDDED.into(),
            reason,
        };
        let text = zstd::bulk::decompress(COMPRESSED, SIZE_LIMIT)
            .map_err(|error| wrong(error.to_string()))?;
        let entries: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        Self::of(EMBEDDED.to_owned(), &entries).map_err(wrong)
    }

    /// Takes noun → number, or says what is wrong.
    pub fn of(name: String, entries: &Map<String, Value>) -> Result<Self, String> {
        let mut values = HashMap::with_capacity(entries.len());
        for (noun, value) in entries {
            let number = value.as_f64().filter(|value| (0.0..=1.0).contains(value));
            let number = number.ok_or_else(|| {
                format!("the specificity of `{noun}` is {value}, not a number from 0 to 1")
            })?;
            values.insert(normal_form(noun), number);
        }
        Ok(Self { name, values })
    }

    /// Which list it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of nouns.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no nouns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How specific a noun is.
    pub fn get(&self, noun: &str) -> Option<f64> {
        self.values.get(noun).copied()
    }

    /// Nouns with their numbers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let values = self.values.iter();
        values.map(|(noun, value)| (noun.as_str(), *value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_embedded_list_tells_coarse_nouns_from_fine_ones() {
        let list = Specificity::embedded().unwrap();
        assert_eq!(list.name(), "embedded");
        for coarse in [
            "",
            "shrub",
            "musical instrument",
            "whale",
            "land",
            "dog",
            "vehicle",
        ] {
            assert_eq!(list.get(coarse), Some(0.5), "{coarse}");
        }
        for fine in [
            "flagship",
            "glove",
            "token",
            "riot gun",
            "dalmatian",
            "violin",
        ] {
            assert_eq!(list.get(fine), Some(1.0), "{fine}");
        }
        let coarse = list.iter().filter(|(_, value)| *value == 0.5).count();
        assert!(coarse * 20 < list.len() && list.len() > 50_000);
    }

    #[test]
    fn numbers_outside_are_errors() {
        for value in [json!(1.5), json!(-0.1), json!("1"), json!(null)] {
            let entries = json!({ "fox": value });
            let error = Specificity::of("list".to_owned(), entries.as_object().unwrap());
            let error = error.unwrap_err();
            assert!(error.contains("`fox`"), "{error}");
        }
    }
}
