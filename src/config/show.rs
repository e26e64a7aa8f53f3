//! A resolved experiment as text: TOML that gives the same experiment, with
//! origins if wanted, JSON, or the flat dictionary.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::experiment::Experiment;
use super::interpolate::escaped;
use super::origin::Origins;
use super::schema::{self, Config, Key, Kind, ModelPrice, SECTIONS, Section};
use super::secret::remove_passwords;
use super::stage::{StageInput, StageSpec};

/// What is shown of an experiment as TOML.
#[derive(Debug, Clone, Default)]
pub struct Show {
    /// Where every value comes from, with the values it replaces.
    pub origins: bool,
    /// Only these sections and keys (dotted names); empty: everything.
    pub sections: Vec<String>,
    /// Only values that differ from these.
    pub against: Option<Config>,
}

impl Show {
    /// The experiment as TOML. Without restrictions it is an experiment file
    /// that gives the same experiment.
    pub fn experiment(&self, experiment: &Experiment) -> String {
        let mut printer = Printer {
            show: self,
            text: String::new(),
        };
        for section in DOCUMENT_SECTIONS {
            printer.document(section, experiment);
        }
        for (model, price) in &experiment.prices {
            printer.price(model, price);
        }
        printer.config(&experiment.config, &experiment.origins);
        for stage in &experiment.stages {
            printer.stage(stage, &experiment.config);
        }
        for cell in &experiment.cells {
            printer.cell(cell);
        }
        printer.text
    }

    /// The whole configuration of one stage as TOML.
    pub fn stage(&self, stage: &StageSpec) -> String {
        let mut printer = Printer {
            show: self,
            text: String::new(),
        };
        printer.config(&stage.config, &stage.origins);
        printer.text
    }

    fn wants(&self, key: &Key, config: &Config) -> bool {
        self.lists(key.path) && self.differs(key, config)
    }

    /// Whether a dotted name is asked for.
    fn lists(&self, path: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|section| is_within(path, section))
    }

    fn differs(&self, key: &Key, config: &Config) -> bool {
        let other = self.against.as_ref();
        other.is_none_or(|other| config.get(key.path) != other.get(key.path))
    }
}

/// Whether a dotted name is a section or key, or stands in it.
pub fn is_within(path: &str, section: &str) -> bool {
    let rest = path.strip_prefix(section);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Sections that describe the experiment itself, in the order they are shown.
const DOCUMENT_SECTIONS: &[&str] = &[
    "experiment",
    "store",
    "slots",
    "hooks",
    "launcher",
    "annotate.gpt",
];

struct Printer<'a> {
    show: &'a Show,
    text: String,
}

/// A line with what stands in comments beside and below it.
struct Line {
    text: String,
    origins: Vec<String>,
}

impl Printer<'_> {
    fn config(&mut self, config: &Config, origins: &Origins) {
        for &section in SECTIONS {
            let mut lines = Vec::new();
            for key in schema::keys()
                .iter()
                .filter(|key| self.show.wants(key, config))
            {
                let Some(name) = key
                    .path
                    .strip_prefix(section)
                    .and_then(|r| r.strip_prefix('.'))
                else {
                    continue;
                };
                let value = config.get(key.path).unwrap_or(Value::Null);
                lines.push(Line {
                    text: format!("{name} = {}", toml_plain(&value, key.kind)),
                    origins: self.origin_lines(key, origins),
                });
            }
            self.table(section, lines);
        }
    }

    /// The lines of a stage: what its table and overrides of it give.
    fn stage(&mut self, stage: &StageSpec, shared: &Config) {
        let mut lines = Vec::new();
        let table = format!("stage.{}", stage.name);
        if self.show.lists(&table) {
            let kind = Value::from(stage.kind.as_str());
            lines.push(plain("kind", &kind));
            if !stage.inputs.is_empty() {
                lines.push(plain("inputs", &inputs_json(&stage.inputs)));
            }
        }
        for key in own_keys(stage, shared) {
            let listed =
                self.show.lists(key.path) || self.show.lists(&format!("{table}.{}", key.path));
            if !listed || !self.show.differs(key, &stage.config) {
                continue;
            }
            let value = stage.config.get(key.path).unwrap_or(Value::Null);
            lines.push(Line {
                text: format!("{} = {}", key.path, toml_plain(&value, key.kind)),
                origins: self.origin_lines(key, &stage.origins),
            });
        }
        self.table(&table, lines);
    }

    /// A section that describes the experiment: what is not the default, and
    /// all of it where it is asked for by name.
    fn document(&mut self, section: &str, experiment: &Experiment) {
        let by_name = !self.show.sections.is_empty() && self.show.against.is_none();
        let mut lines = Vec::new();
        for key in schema::document_keys() {
            let field = key.path.strip_prefix(section);
            let Some(field) = field.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let Some(value) = experiment.document_value(key.path) else {
                continue;
            };
            if self.show.lists(key.path) && (by_name || value != (key.default)()) {
                lines.push(Line {
                    text: format!("{field} = {}", toml_text(&value, key.kind)),
                    origins: self.origin_lines(key, &experiment.origins),
                });
            }
        }
        self.table(section, lines);
    }

    fn price(&mut self, model: &str, price: &ModelPrice) {
        if !self.show.lists("annotate.gpt.price") {
            return;
        }
        let line = |key: &Key| {
            let name = key.path.rsplit('.').next()?;
            let value = price.get(name).filter(|value| !value.is_null())?;
            Some(plain(name, &value))
        };
        let lines = schema::price_keys().into_iter().filter_map(line).collect();
        self.table(&format!("annotate.gpt.price.{}", toml_key(model)), lines);
    }

    fn cell(&mut self, cell: &Cell) {
        if !self.show.lists(&cell.path()) {
            return;
        }
        let lines = cell
            .fields
            .iter()
            .map(|field| plain(&toml_key(&field.key), &field.value.to_json()));
        self.table(
            &format!("{}.{}", cell.kind.as_str(), cell.name),
            lines.collect(),
        );
    }

    fn table(&mut self, name: &str, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "[{name}]");
        let width = |line: &Line| line.text.chars().count();
        let widest = lines
            .iter()
            .map(width)
            .filter(|&w| w <= 60)
            .max()
            .unwrap_or(0);
        for line in lines {
            let mut origins = line.origins.iter();
            match origins.next() {
                Some(origin) => {
                    let _ = writeln!(self.text, "{:widest$}  # {origin}", line.text);
                }
                None => {
                    let _ = writeln!(self.text, "{}", line.text);
                }
            }
            for origin in origins {
                let _ = writeln!(self.text, "{:widest$}  #   {origin}", "");
            }
        }
    }

    fn origin_lines(&self, key: &Key, origins: &Origins) -> Vec<String> {
        if !self.show.origins {
            return Vec::new();
        }
        let stack = origins.stack(key.path);
        let mut lines = Vec::new();
        for (value, origin) in stack.iter().rev() {
            lines.push(if lines.is_empty() {
                origin.to_string()
            } else {
                format!("over {} ({origin})", toml_text(value, key.kind))
            });
        }
        lines
    }
}

/// Keys that a stage gives itself or that differ from what all stages share.
pub fn own_keys<'a>(
    stage: &'a StageSpec,
    shared: &'a Config,
) -> impl Iterator<Item = &'static Key> + 'a {
    let sections = stage.config.unequal_sections(shared);
    schema::keys().iter().copied().filter(move |key| {
        let section = key.path.split('.').next().unwrap_or_default();
        sections.contains(&section)
            && key.path != "run.action"
            && stage.config.get(key.path) != shared.get(key.path)
    })
}

fn plain(name: &str, value: &Value) -> Line {
    Line {
        text: format!("{name} = {}", toml_value(value)),
        origins: Vec::new(),
    }
}

/// Inputs of a stage as they may be written.
pub fn inputs_json(inputs: &[StageInput]) -> Value {
    inputs
        .iter()
        .map(|input| match input.repeat {
            1 => Value::from(input.stage.as_str()),
            repeat => json!({ "stage": input.stage, "repeat": repeat }),
        })
        .collect()
}

/// A value of a key as TOML; null as its word.
pub(super) fn toml_text(value: &Value, kind: Kind) -> String {
    match (value, kind) {
        (Value::Null, Kind::Bool) => "\"auto\"".to_owned(),
        (Value::Null, _) => "\"none\"".to_owned(),
        (value, _) => toml_value(value),
    }
}

/// A value of a key as a file must have it, so that no text in it is a reference.
pub(super) fn toml_plain(value: &Value, kind: Kind) -> String {
    fn plain(value: &Value) -> Value {
        match value {
            Value::String(text) => escaped(text).into(),
            Value::Array(items) => items.iter().map(plain).collect(),
            value => value.clone(),
        }
    }
    toml_text(&plain(value), kind)
}

/// A value as TOML.
pub(super) fn toml_value(value: &Value) -> String {
    toml_edit_value(value).to_string().trim().to_owned()
}

fn toml_edit_value(value: &Value) -> toml_edit::Value {
    match value {
        Value::Null => "none".into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => toml_edit::Value::Array(items.iter().map(toml_edit_value).collect()),
        Value::Object(fields) => toml_edit::Value::InlineTable(
            fields
                .iter()
                .map(|(key, value)| (key.as_str(), toml_edit_value(value)))
                .collect(),
        ),
    }
}

/// A key as it must be written.
pub(super) fn toml_key(key: &str) -> String {
    toml_edit::Key::new(key).to_string()
}

/// The experiment as JSON: what all stages share in nested form, and of every
/// stage what it has different. With origins, a list per key of what the layers
/// give, lowest first.
pub fn experiment_json(experiment: &Experiment, origins: bool) -> Value {
    let stages: Vec<Value> = experiment
        .stages
        .iter()
        .map(|stage| {
            let config: Map<String, Value> = own_keys(stage, &experiment.config)
                .filter_map(|key| Some((key.path.to_owned(), stage.config.get(key.path)?)))
                .collect();
            let mut object = json!({
                "name": stage.name,
                "kind": stage.kind.as_str(),
                "inputs": inputs_json(&stage.inputs),
                "config": config,
            });
            if origins {
                object["origins"] = origins_json(&stage.origins);
            }
            object
        })
        .collect();
    let cells: Vec<Value> = experiment
        .cells
        .iter()
        .map(|cell| json!({"kind": cell.kind.as_str(), "name": cell.name, "keys": cell.to_json()}))
        .collect();
    let mut object = json!({
        "file": experiment.file,
        "files": experiment.files,
        "experiment": experiment.info,
        "store": experiment.store,
        "slots": experiment.slots,
        "hooks": without_secrets("hooks", experiment),
        "launcher": experiment.launcher,
        "annotate": {"gpt": experiment.annotate_gpt, "price": experiment.prices},
        "config": experiment.config,
        "stages": stages,
        "cells": cells,
    });
    if origins {
        object["origins"] = origins_json(&experiment.origins);
    }
    remove_passwords(&mut object);
    object
}

/// A section that describes the experiment; what is secret in it is only said
/// to be there.
fn without_secrets(section: &str, experiment: &Experiment) -> Value {
    let keys = schema::document_keys().iter();
    let shown = keys.filter_map(|key| {
        let name = key.path.strip_prefix(section)?.strip_prefix('.')?;
        let value = experiment.document_value(key.path)?;
        Some((name.to_owned(), without_secret(key, value)))
    });
    Value::Object(shown.collect())
}

/// The value of a key, or that there is one if it is secret.
fn without_secret(key: &Key, value: Value) -> Value {
    if key.secret && value != (key.default)() {
        "(secret)".into()
    } else {
        value
    }
}

fn origins_json(origins: &Origins) -> Value {
    let keys = schema::keys().iter().chain(schema::document_keys());
    let given = keys.filter(|key| origins.is_given(key.path));
    let entries = given.map(|key| (key.path.to_owned(), stack_json(key, origins)));
    Value::Object(entries.collect())
}

/// What the layers give for a key, lowest first.
pub fn stack_json(key: &Key, origins: &Origins) -> Value {
    let layers = origins.stack(key.path).into_iter();
    layers
        .map(|(value, origin)| {
            json!({"value": without_secret(key, value), "origin": origin.to_string()})
        })
        .collect()
}

/// The value of a key of the experiment or of its own sections, without what
/// is secret.
pub fn shown_value(key: &Key, experiment: &Experiment) -> Value {
    let own = experiment.document_value(key.path);
    let value = own.or_else(|| experiment.config.get(key.path));
    without_secret(key, value.unwrap_or_default())
}

/// The flat dictionary as YAML, one key a line.
pub fn flat_yaml(config: &Config) -> String {
    let mut text = String::new();
    for (key, value) in config.flat() {
        let mut shown = value.to_string();
        // YAML 1.1 reads 1e-5 as a text, 1.0e-5 as a number.
        if value.is_f64() && shown.contains('e') && !shown.contains('.') {
            shown = shown.replace('e', ".0e");
        }
        let _ = writeln!(text, "{key}: {shown}");
    }
    text
}
