//! One value for one key, as a sweep gives it: its canonical name and text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compose::nested;
use super::layer::{Content, LayerReader, Slot};
use super::node::{Field, Node};
use super::overrides::KeyPart;
use super::problem::Problem;
use super::show::inputs_json;
use super::source::{Location, Source};
use super::toml;

/// A value for a key, in canonical form: equal settings have equal texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Dotted name of the key, such as `noise.vec_norm`, `stage.train.model.layers`,
    /// `stage.merged.inputs` or `use.embedder`.
    pub path: String,
    /// The value as JSON.
    pub value: Value,
    /// The value as an override has it.
    pub text: String,
}

impl Setting {
    /// Reads the value of a key. `None` if it is wrong, which is then told in
    /// `problems`, or if it is something that points of sweeps cannot change.
    pub fn read(
        source: &Arc<Source>,
        key: &[KeyPart],
        value: &Node,
        problems: &mut Vec<Problem>,
    ) -> Option<Setting> {
        let span = key.first()?.span.start..key.last()?.span.end;
        let names: Vec<_> = key.iter().map(|part| part.name.as_str()).collect();
        if let ["use", group] = names.as_slice() {
            let Some(name) = value.text() else {
                let title = format!("use.{group}: expected a name, found {}", value.describe());
                let place = Location::new(source, value.span.clone());
                problems.push(
                    Problem::error(title).at(place, "expected the name of a file of the group"),
                );
                return None;
            };
            return Some(Setting::of(format!("use.{group}"), name.into()));
        }
        let before = problems.len();
        let field = nested(key, value);
        let mut entries = LayerReader::read(source, std::slice::from_ref(&field), problems);
        if problems.len() > before {
            return None;
        }
        let refuse = |title: String, help: &str| {
            Problem::error(title)
                .at(Location::new(source, span.clone()), "")
                .help(help)
        };
        let header = |slot: &Slot| matches!(slot, Slot::StageHeader(_) | Slot::CellHeader(..));
        entries.retain(|entry| !header(&entry.slot));
        let entry = match (entries.pop(), entries.is_empty()) {
            (Some(entry), true) => entry,
            _ => {
                let title = format!("`{}` is no single key", names.join("."));
                problems.push(refuse(title, "name the keys below it one by one"));
                return None;
            }
        };
        let value = match (entry.content, &entry.slot) {
            (Content::Value(value), _) => value,
            (Content::Kind(kind), _) => kind.as_str().into(),
            (Content::Inputs(inputs), _) => inputs_json(&inputs),
            (Content::Template(_) | Content::Required, slot) => {
                let title = format!("{}: references are not possible here", slot.path());
                problems.push(refuse(title, "write the value out"));
                return None;
            }
            (_, slot) => {
                let title = format!("`{}` is nothing that stages read", slot.path());
                problems.push(refuse(title, "name keys of the configuration"));
                return None;
            }
        };
        Some(Setting::of(entry.slot.path(), value))
    }

    /// Reads `key=value`.
    pub fn parse(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Setting> {
        match super::overrides::parse(&source.text) {
            Ok(change) => Setting::read(source, &change.key, change.value.as_ref()?, problems),
            Err(error) => {
                let place = Location::new(source, error.span);
                problems.push(Problem::error(error.message).at(place, "").help(error.help));
                None
            }
        }
    }

    /// The setting of a key to a value in canonical form.
    pub fn of(path: String, value: Value) -> Setting {
        let text = value_text(&value);
        Setting { path, value, text }
    }

    /// As an override: `key=value`.
    pub fn as_override(&self) -> String {
        format!("{}={}", self.path, self.text)
    }

    /// The key without the stage it is for.
    pub fn key(&self) -> &str {
        shared_path(&self.path)
    }
}

/// A dotted name without `stage.NAME.`.
pub(super) fn shared_path(path: &str) -> &str {
    let inner = path.strip_prefix("stage.").and_then(|r| r.split_once('.'));
    inner.map_or(path, |(_, key)| key)
}

/// The fields of a TOML text.
///
/// # Errors
/// It is no TOML.
pub fn parse_fields(source: &Arc<Source>) -> Result<Vec<Field>, Problem> {
    toml::parse(source)
}

/// A value as overrides write it.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text_text(text),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        Value::Bool(value) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(value_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", text_text(key), value_text(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// A text, in quotes where a bare word would be something else.
fn text_text(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./@+%*:".contains(c);
    let mut first = text.chars();
    let begins = first
        .next()
        .is_some_and(|c| c.is_alphanumeric() || "_./*".contains(c));
    if begins
        && text.chars().all(plain)
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(": ")
    {
        return text.to_owned();
    }
    let mut quoted = String::from("'");
    let mut slashes = 0;
    for c in text.chars() {
        match c {
            '\\' => slashes += 1,
            '\'' => {
                // Before a quote, backslashes count double.
                quoted.extend(std::iter::repeat_n('\\', slashes + 1));
                slashes = 0;
            }
            _ => slashes = 0,
        }
        quoted.push(c);
    }
    quoted.extend(std::iter::repeat_n('\\', slashes));
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceKind;
    use super::*;

    fn setting(text: &str) -> Result<Setting, String> {
        let source = Source::new(SourceKind::Argument, text);
        let mut problems = Vec::new();
        let setting = Setting::parse(&source, &mut problems);
        setting.ok_or_else(|| super::super::render(&problems, false))
    }

    #[test]
    fn equal_values_have_equal_texts() {
        for (written, canonical) in [
            ("noise.vec_norm=2.0", "noise.vec_norm=2"),
            ("noise_vec_norm=2", "noise.vec_norm=2"),
            ("train.lr.init=1e-3", "train.lr.init=0.001"),
            ("stage.train.model.layers=3", "stage.train.model.layers=3"),
            ("use.embedder=so400m", "use.embedder=so400m"),
            ("multiset.freq=[1, 1]", "multiset.freq=[1,1]"),
            ("nouns.vocab_path=\"a b\"", "nouns.vocab_path='a b'"),
            ("nouns.vocab_path=it\\'s", "nouns.vocab_path='it\\'s'"),
            (
                "stage.m.inputs=[a, {stage: b, repeat: 4}]",
                "stage.m.inputs=[a,{stage: b, repeat: 4}]",
            ),
        ] {
            let setting = setting(written).unwrap();
            assert_eq!(setting.as_override(), canonical);
            assert_eq!(self::setting(canonical).unwrap(), setting, "{canonical}");
        }
    }

    #[test]
    fn what_is_no_setting_is_told() {
        for wrong in [
            "noise.vec_nrom=2",
            "noise.vec_norm=many",
            "noise={vec_norm: 1, angle_min: 2}",
            "table.summary.title=x",
            "noise.vec_norm=${train.lr.init}",
        ] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}
