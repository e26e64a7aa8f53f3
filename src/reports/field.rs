//! Names of fields as tables write them. Keys of the configuration have two
//! names, the nested one and that of the original; a field of either finds
//! records with the other.

use serde_json::Value;

use super::record::Record;
use super::spec::reading::Problems;
use crate::config::{Location, Problem, nearest, schema};

/// The name of a field. Equal names are equal, wherever they stand.
#[derive(Clone, Debug)]
pub struct Field {
    name: String,
    other: Option<String>,
    place: Option<Location>,
}

impl PartialEq for Field {
    fn eq(&self, other: &Field) -> bool {
        self.name == other.name
    }
}

impl Eq for Field {}

/// Where keys of the configuration stand in records.
pub const CONFIGURATIONS: [&str; 2] = ["config.", "train.config."];

impl Field {
    /// The field of this name.
    pub fn new(name: &str) -> Self {
        let other = CONFIGURATIONS.iter().find_map(|prefix| {
            let key = name.strip_prefix(prefix)?;
            match schema::key(key) {
                Some(known) => known.flat.map(|flat| format!("{prefix}{flat}")),
                None => schema::key_by_flat_name(key).map(|key| format!("{prefix}{}", key.path)),
            }
        });
        Self {
            name: name.to_owned(),
            other,
            place: None,
        }
    }

    /// The field of this name, written at a place. Names that belong to runs,
    /// models and configurations are known; an unknown one is a problem.
    pub fn checked(name: &str, location: &Location, problems: &Problems) -> Self {
        if let Some(help) = unknown(name) {
            let problem = Problem::error(format!("unknown field `{name}`"))
                .at(location.clone(), "")
                .help(help);
            problems.borrow_mut().push(problem);
        }
        Self {
            place: Some(location.clone()),
            ..Self::new(name)
        }
    }

    /// Where it was written, if that is known.
    pub fn place(&self) -> Option<&Location> {
        self.place.as_ref()
    }

    /// Whether both are names of the same field.
    pub fn is_same(&self, other: &Field) -> bool {
        self.name == other.name || self.other.as_ref() == Some(&other.name)
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Both its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.other.as_deref())
    }

    /// Its value in a record; null and absent are the same.
    pub fn of<'r>(&self, record: &'r Record) -> Option<&'r Value> {
        record
            .get(&self.name)
            .or_else(|| record.get(self.other.as_deref()?))
    }
}

/// Fields of every record, beside the keys of configurations.
const COMMON: [&str; 16] = [
    "run.id",
    "run.name",
    "run.action",
    "run.state",
    "run.created_at",
    "run.host",
    "run.tag",
    "model.spec",
    "model.dir",
    "model.name",
    "model.family",
    "train.host",
    "train.tag",
    "train.command",
    "train.created_at",
    "train.seed",
];

/// Measured values that rows of stages may lack, and numbers as in `top5`.
const MEASURED: [&str; 18] = [
    "stage",
    "seed",
    "dataset",
    "dataset.split",
    "dataset.classes",
    "gencfg",
    "classes",
    "num_samples",
    "uncovered_classes",
    "loss",
    "direct_correct",
    "direct_valid",
    "guided_correct",
    "valid",
    "invalid",
    "DirectValidGuidedCorrect",
    "elapsed_time",
    "file",
];

/// Whether rows can have a field of this name, as far as the program knows:
/// fields of every record, and what stages measure.
pub fn is_known(name: &str) -> bool {
    let ranked = name.trim_start_matches("noun_").strip_prefix("top");
    let ranked = ranked.is_some_and(|k| !k.is_empty() && k.bytes().all(|b| b.is_ascii_digit()));
    let known = ["run.", "model.", "train.", "config.", "gencfg.", "pred."];
    ranked || MEASURED.contains(&name) || known.iter().any(|prefix| name.starts_with(prefix))
}

/// A way out, if the name looks like a known kind of field and is none.
fn unknown(name: &str) -> Option<String> {
    if let Some(prefix) = CONFIGURATIONS
        .iter()
        .find(|prefix| name.starts_with(**prefix))
    {
        let key = &name[prefix.len()..];
        let derived = ["effective_batch"];
        if schema::key(key).is_some()
            || schema::key_by_flat_name(key).is_some()
            || derived.contains(&key)
        {
            return None;
        }
        let keys = schema::keys().iter();
        let names = keys.flat_map(|key| [Some(key.path), key.flat]).flatten();
        return Some(match nearest(key, names.chain(derived)) {
            Some(near) => format!("did you mean `{prefix}{near}`?"),
            None => "`novic config --flat` lists the keys of the configuration".to_owned(),
        });
    }
    let structured = ["run.", "model.", "train."];
    if !structured.iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("train.summary.")
        || COMMON.contains(&name)
    {
        return None;
    }
    Some(match nearest(name, COMMON) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", COMMON.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_key_find_it() {
        let nested = Record::new().with("train.config.model.layers", 6);
        let flat = Record::new().with("train.config.num_layers", 6);
        for name in ["train.config.model.layers", "train.config.num_layers"] {
            let field = Field::new(name);
            assert_eq!(field.of(&nested), Some(&Value::from(6)), "{name}");
            assert_eq!(field.of(&flat), Some(&Value::from(6)), "{name}");
        }
        assert_eq!(Field::new("config.nothing").of(&nested), None);
    }
}
