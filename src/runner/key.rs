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
    let mut resources = Vec::new();
    for resource in parts.resources {
        let Some(identity) = &resource.identity else {
            return Ok(None);
        };
        resources.push(json!([resource.role, identity]));
    }
    let inputs: Vec<_> = parts
        .inputs
        .iter()
        .map(|(key, repeat)| json!([key, repeat]))
        .collect();
    let text = json!({
        "form": FORM,
        "kind": parts.kind,
        "code_version": parts.code_version,
        "values": parts.values,
        "inputs": inputs,
        "resources": resources,
    });
    Ok(Some(Key::of(text.to_string().as_bytes())))
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
