//! Stages on their way from a command of the original to an experiment file.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::schema::{Action, Key};

/// Where the noun dictionary of the original belongs.
pub(super) const DICTIONARY: &str = "data/object_nouns.json";

/// A value of a stage, by the key's nested name.
pub(super) type Values = BTreeMap<&'static str, Drafted>;

/// A value with what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drafted {
    /// The value, of the key's type.
    pub value: Value,
    /// Comment behind it.
    pub note: Option<String>,
}

/// One command of the original.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// What was imported, for the head of the file.
    pub origin: String,
    /// What it does.
    pub action: Action,
    /// Values that it gives.
    pub values: Values,
    /// The cache that it writes.
    pub output: Option<String>,
    /// End of the name of its stage.
    pub label: Option<String>,
    /// Comments above the stage.
    pub notes: Vec<String>,
}

/// A stage of the experiment file.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// Its name.
    pub name: String,
    /// Other stages whose outputs it takes, and how often each.
    pub inputs: Vec<(String, usize)>,
    /// Everything else.
    pub draft: Draft,
}

impl Draft {
    /// A command without values.
    pub fn new(origin: String, action: Action) -> Self {
        Self {
            origin,
            action,
            values: Values::new(),
            output: None,
            label: None,
            notes: Vec::new(),
        }
    }

    /// Sets a value without a comment.
    pub fn set(&mut self, path: &'static str, value: impl Into<Value>) {
        let value = value.into();
        self.values.insert(path, Drafted { value, note: None });
    }

    /// Whether the action reads a key: under some setting of the others, or,
    /// for what only the noun dataset needs, under this one.
    pub fn reads(&self, key: &Key) -> bool {
        key.readers.contains(&self.action)
            && !(key.path.starts_with("nouns.") && self.has_no_nouns())
    }

    /// Whether it opens an embedding cache, or nothing, instead of the noun
    /// dataset.
    fn has_no_nouns(&self) -> bool {
        use Action::{Eval, FixCheckpoints, Infer, TestDataLoader, Train};
        let given = |path| self.values.get(path).map(|drafted| &drafted.value);
        match self.action {
            Train | TestDataLoader => {
                given("data.dataset").is_some_and(|value| !is_noun_dataset(value))
            }
            Eval => match given("data.datasets").and_then(Value::as_array) {
                Some(several) if !several.is_empty() => !several.iter().any(is_noun_dataset),
                _ => given("data.dataset").is_some_and(|value| !is_noun_dataset(value)),
            },
            FixCheckpoints => given("checkpoint.fix_force_vocab") != Some(&Value::Bool(true)),
            Infer => given("infer.guide_dataset").is_none_or(|value| !is_noun_dataset(value)),
            _ => false,
        }
    }
}

/// What the original has for a key that a command does not give, as it is
/// written here.
pub(super) fn unsaid(key: &Key) -> Value {
    match key.path {
        "nouns.vocab_path" => DICTIONARY.into(),
        _ => (key.default)(),
    }
}

fn is_noun_dataset(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.eq_ignore_ascii_case("NounDataset"))
}

/// Names the stages, and lets those that read the cache of an earlier one take
/// its output.
pub(super) fn linked(drafts: Vec<Draft>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for mut draft in drafts {
        let inputs = inputs(&mut draft, &stages);
        let usual = usual_name(draft.action);
        let name = match &draft.label {
            Some(label) => free_name(&format!("{usual}_{label}"), &stages),
            None => free_name(usual, &stages),
        };
        stages.push(Stage {
            name,
            inputs,
            draft,
        });
    }
    stages
}

/// The stages that make the caches a command reads, if others make all of them.
fn inputs(draft: &mut Draft, stages: &[Stage]) -> Vec<(String, usize)> {
    let path = match draft.values.get("data.datasets") {
        Some(drafted)
            if drafted
                .value
                .as_array()
                .is_some_and(|list| !list.is_empty()) =>
        {
            "data.datasets"
        }
        _ => "data.dataset",
    };
    let Some(drafted) = draft.values.get(path) else {
        return Vec::new();
    };
    let single = std::slice::from_ref(&drafted.value);
    let names = drafted.value.as_array().map_or(single, Vec::as_slice);
    let maker = |name: &Value| {
        let made = |stage: &&Stage| stage.draft.output.as_deref() == name.as_str();
        stages.iter().rev().find(made).map(|stage| &stage.name)
    };
    let mut inputs: Vec<(String, usize)> = Vec::new();
    for name in names {
        let Some(stage) = maker(name) else {
            return Vec::new();
        };
        match inputs.last_mut().filter(|(last, _)| last == stage) {
            Some((_, repeat)) => *repeat += 1,
            None => inputs.push((stage.clone(), 1)),
        }
    }
    draft.values.remove("data.dataset");
    draft.values.remove("data.datasets");
    inputs
}

/// What the shipped experiments call such a stage.
fn usual_name(action: Action) -> &'static str {
    match action {
        Action::ConvertNounDataset | Action::CacheNounMultiset => "nouns",
        Action::CacheCaptions => "captions",
        Action::MergeCaches => "merged",
        other => other.as_str(),
    }
}

fn free_name(wanted: &str, stages: &[Stage]) -> String {
    let taken = |name: &str| stages.iter().any(|stage| stage.name == name);
    let numbered = (2..).map(|number| format!("{wanted}_{number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_default()
}
