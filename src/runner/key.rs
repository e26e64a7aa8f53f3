//! Keys: what a stage's output depends on, and nothing else.

use serde_json::{Map, Value, json};

use crate::store::{Key, StoreError};

use super::resource::Resource;

/// To be increased when the form below changes: all keys then change.
const FORM: u32 = 1;

/// What a stage's output depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyParts<'a> {
    /// Stage kind.
    pub kind: &'a str,
    /// Its code version.
    pub code_version: u32,
    /// Values it reads, by dotted path, sorted.
    pub values: &'a Map<String, Value>,
    /// Keys of its inputs in order, and how often each counts.
    pub inputs: &'a [(Key, usize)],
    /// External inputs; roles and contents count, names and paths do not.
    pub resources: &'a [Resource],
}

/// The key; `None` while the content of a resource is unknown.
pub(super) fn key_of(parts: &KeyParts<'_>) -> Result<Option<Key>, StoreError> {
    let Some(resources) = resources_text(parts.resources) else {
        return Ok(None);
    };
    let values = json!(parts.values).to_string();
    let texts = KeyTexts {
        kind: parts.kind,
        code_version: parts.code_version,
        values: &values,
        resources: &resources,
    };
    Ok(Some(texts.key(parts.inputs)))
}

/// The same as JSON texts, for many keys that differ in their inputs only.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyTexts<'a> {
    pub kind: &'a str,
    pub code_version: u32,
    pub values: &'a str,
    pub resources: &'a str,
}

impl KeyTexts<'_> {
    /// The key with inputs.
    pub(super) fn key(&self, inputs: &[(Key, usize)]) -> Key {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(key, repeat)| json!([key, repeat]))
            .collect();
        let text = format!(
            "{{\"form\":{FORM},\"kind\":{},\"code_version\":{},\"values\":{},\"inputs\":{},\"resources\":{}}}",
            json!(self.kind),
            self.code_version,
            self.values,
            json!(inputs),
            self.resources,
        );
        Key::of(text.as_bytes())
    }
}

/// Roles and identities of resources as a JSON text; `None` while one is
/// unknown.
pub(super) fn resources_text(resources: &[Resource]) -> Option<String> {
    let pairs: Option<Vec<_>> = resources
        .iter()
        .map(|resource| Some(json!([resource.role, resource.identity.as_ref()?])))
        .collect();
    pairs.map(|pairs| json!(pairs).to_string())
}

#[cfg(test)]
mod tests {
    use crate::store::ContentHash;

    use super::*;

    #[test]
    fn everything_that_matters_changes_the_key_and_nothing_else() {
        let values = json!({ "a.b": 1, "a.c": 0.5 }).as_object().unwrap().clone();
        let other = json!({ "a.b": 1, "a.c": 0.25 })
            .as_object()
            .unwrap()
            .clone();
        let inputs = [(Key::of(b"x"), 1), (Key::of(b"y"), 4)];
        let turned = [inputs[1], inputs[0]];
        let repeated = [inputs[0], (inputs[1].0, 3)];
        let resource = |role: &str, name: &str, content: &[u8]| {
            vec![Resource::present(
                role,
                name,
                None,
                ContentHash::of(content),
            )]
        };
        let (weights, renamed) = (
            resource("weights", "a", b"1"),
            resource("weights", "b", b"1"),
        );
        let (retrained, tokenizer) = (
            resource("weights", "a", b"2"),
            resource("tokenizer", "a", b"1"),
        );
        let base = KeyParts {
            kind: "train",
            code_version: 1,
            values: &values,
            inputs: &inputs,
            resources: &weights,
        };
        let key = |parts: KeyParts<'_>| key_of(&parts).unwrap().unwrap();
        let all = [
            base,
            KeyParts {
                kind: "eval",
                ..base
            },
            KeyParts {
                code_version: 2,
                ..base
            },
            KeyParts {
                values: &other,
                ..base
            },
            KeyParts {
                inputs: &turned,
                ..base
            },
            KeyParts {
                inputs: &repeated,
                ..base
            },
            KeyParts {
                inputs: &inputs[..1],
                ..base
            },
            KeyParts {
                resources: &retrained,
                ..base
            },
            KeyParts {
                resources: &tokenizer,
                ..base
            },
            KeyParts {
                resources: &[],
                ..base
            },
        ];
        let keys: std::collections::HashSet<_> = all.into_iter().map(key).collect();
        assert_eq!(keys.len(), 10);
        assert_eq!(
            key(base),
            key(KeyParts {
                resources: &renamed,
                ..base
            })
        );
    }
}
