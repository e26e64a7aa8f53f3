//! Comparing the configuration in use with the one a checkpoint was made with
//! (`training.md` 3.4, 3.5). What a difference means follows from the schema:
//! no list of keys to ignore.

use std::fmt;

use serde_json::{Map, Value};

use super::schema::{self, Action, Config, Key, Kind};

/// What a difference between checkpoint and configuration means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Shapes or meaning of the weights depend on it: the checkpoint's counts.
    Structural,
    /// The checkpoint's counts unless another is given.
    Restored,
    /// Results differ from those of the checkpoint's own settings.
    Relevant,
    /// Nothing that was or will be computed depends on it.
    Irrelevant,
}

impl fmt::Display for Weight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Structural => "structural",
            Self::Restored => "restored",
            Self::Relevant => "relevant",
            Self::Irrelevant => "irrelevant",
        })
    }
}

/// A key with different values.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The key.
    pub key: &'static Key,
    /// What it means.
    pub weight: Weight,
    /// Value in the checkpoint.
    pub loaded: Value,
    /// Value in use.
    pub used: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} was {}, now {} (default {})",
            self.key.path,
            self.loaded,
            self.used,
            (self.key.default)()
        )
    }
}

/// Sections whose values shape what a training learns.
const TRAINING: &[&str] = &[
    "embedder", "data", "nouns", "target", "model", "train", "noise",
];
/// Sections whose values shape what a trained model does.
const USE: &[&str] = &["embedder", "target", "model"];

/// What a difference of `key` means for `action`.
pub fn weight(key: &Key, action: Action) -> Weight {
    let section = key.path.split('.').next().unwrap_or(key.path);
    let sections = if action == Action::Train {
        TRAINING
    } else {
        USE
    };
    let reads = |action| key.readers.contains(&action);
    // Sizes of batches of the embedder and places of files change no result,
    // and which data there are shows in the nouns.
    let is_handling = match section {
        "embedder" => key.kind == Kind::Int,
        "data" => key.path != "data.batch_size",
        _ => key.kind == Kind::Path,
    };
    if key.structural {
        Weight::Structural
    } else if key.restored {
        Weight::Restored
    } else if sections.contains(&section)
        && reads(Action::Train)
        && reads(action)
        && !key.cosmetic
        && !is_handling
        && !key.path.starts_with("model.init.")
    {
        Weight::Relevant
    } else {
        Weight::Irrelevant
    }
}

/// All keys whose values differ, those that matter most first. Keys that only
/// one side has are left out: the schema of the program that wrote the file
/// had others.
pub fn differences(loaded: &Map<String, Value>, used: &Config, action: Action) -> Vec<Difference> {
    let used_flat = used.flat();
    let mut differences: Vec<Difference> = used_flat
        .into_iter()
        .filter_map(|(name, used)| {
            let key = schema::key_by_flat_name(&name)?;
            let loaded = loaded.get(&name)?;
            (!same(loaded, &used)).then(|| Difference {
                key,
                weight: weight(key, action),
                loaded: loaded.clone(),
                used,
            })
        })
        .collect();
    differences.sort_by_key(|difference| difference.weight);
    differences
}

/// Whole and floating-point forms of a number are the same value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

/// The configuration under which a checkpoint's weights are used: structural
/// keys are the checkpoint's, restored ones too unless they are `given`. Also
/// says in words which configured values gave way.
pub fn with_checkpoint(
    used: &Config,
    loaded: &Config,
    given: impl Fn(&Key) -> bool,
) -> (Config, Vec<String>) {
    let mut effective = used.clone();
    let mut taken = Vec::new();
    for key in schema::keys() {
        let (Some(own), Some(stored)) = (used.get(key.path), loaded.get(key.path)) else {
            continue;
        };
        let takes = key.structural || key.restored && !given(key);
        if takes
            && !same(&own, &stored)
            && effective.set(key.path, &stored).is_ok()
            && differs_from_default(used, key)
        {
            taken.push(format!(
                "{} is {stored} as in the checkpoint, not {own}",
                key.path
            ));
        }
    }
    (effective, taken)
}

/// Whether a configuration gives a key another value than the default, which
/// is how stages see that it was given.
pub fn differs_from_default(config: &Config, key: &Key) -> bool {
    let value = config.get(key.path);
    value.is_some_and(|value| !same(&value, &(key.default)()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_weighed_by_the_schema() {
        let mut loaded = Config::default();
        loaded.model.hidden_dim = 16;
        loaded.model.num_end_loss = 2;
        loaded.train.gradient_clip = 0.5;
        loaded.data.batch_size = 8;
        loaded.embedder.batch_text = 7;
        loaded.tables.runs.sort = "x".to_owned();
        let weights = |action| -> Vec<(&str, Weight)> {
            differences(&loaded.flat(), &Config::default(), action)
                .iter()
                .map(|difference| (difference.key.path, difference.weight))
                .collect()
        };
        let train = weights(Action::Train);
        assert!(train.contains(&("model.hidden_dim", Weight::Structural)));
        assert!(train.contains(&("model.num_end_loss", Weight::Restored)));
        assert!(train.contains(&("train.gradient_clip", Weight::Relevant)));
        assert!(train.contains(&("data.batch_size", Weight::Relevant)));
        assert!(train.contains(&("embedder.batch_text", Weight::Irrelevant)));
        assert!(train.contains(&("tables.runs.sort", Weight::Irrelevant)));
        assert!(weights(Action::Eval).contains(&("data.batch_size", Weight::Irrelevant)));
        assert!(weights(Action::Eval).contains(&("train.gradient_clip", Weight::Irrelevant)));
        let first = &differences(&loaded.flat(), &Config::default(), Action::Train)[0];
        assert_eq!(
            first.to_string(),
            "model.hidden_dim was 16, now 512 (default 512)"
        );
    }

    #[test]
    fn whole_numbers_and_floats_are_one_value() {
        let mut loaded = Config::default().flat();
        loaded.insert("loss_ewa_halflife".to_owned(), 4.0.into());
        loaded.insert("num_encoder_layers".to_owned(), 3.into());
        let found = differences(&loaded, &Config::default(), Action::Train);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_checkpoint_gives_structure_and_what_was_not_given() {
        let mut loaded = Config::default();
        loaded.model.layers = 2;
        loaded.model.num_end_loss = 3;
        loaded.model.label_smoothing = 0.1;
        loaded.model.input_dropout = 0.5;
        let mut used = Config::default();
        used.model.layers = 5;
        used.model.label_smoothing = 0.2;
        let given = |key: &Key| differs_from_default(&used, key);
        let (effective, taken) = with_checkpoint(&used, &loaded, given);
        assert_eq!(effective.model.layers, 2);
        assert_eq!(effective.model.num_end_loss, 3);
        assert_eq!(effective.model.label_smoothing, 0.2);
        assert_eq!(effective.model.input_dropout, 0.1);
        assert_eq!(taken, ["model.layers is 2 as in the checkpoint, not 5"]);
    }
}
