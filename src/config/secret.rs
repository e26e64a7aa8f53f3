//! Command lines and configurations without the secrets that they may hold.

use serde_json::Value;

use super::schema::{self, Key};

/// A word of a command line as it may be recorded: the value of an override of a
/// key that is a secret, or of a section that has one, is only said to be there.
pub fn without_secret(word: &str) -> String {
    let Some((name, _)) = word.split_once('=') else {
        return word.to_owned();
    };
    let path = name.trim_start_matches('+').trim();
    let is_meant = |key: &Key| {
        let rest = key.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut keys = schema::keys().iter().chain(schema::document_keys());
    match keys.any(|key| key.secret && is_meant(key)) {
        true => format!("{name}=(secret)"),
        false => without_password(word).unwrap_or_else(|| word.to_owned()),
    }
}

/// A text without the user and password of the address in it; none if there are
/// none.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, _) = host.rsplit_once('@')?;
    Some(format!("{scheme}://{}", &rest[user.len() + 1..]))
}

/// Removes users and passwords from all addresses in a value.
pub(super) fn remove_passwords(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(public) = without_password(text) {
                *text = public;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(remove_passwords),
        Value::Object(fields) => fields.values_mut().for_each(remove_passwords),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recorded_without_passwords() {
        let mut value = serde_json::json!({"a": ["s3://me@b/c", "x"], "b": {"c": "http://u:p@h"}});
        remove_passwords(&mut value);
        assert_eq!(
            value,
            serde_json::json!({"a": ["s3://b/c", "x"], "b": {"c": "http://h"}})
        );
    }

    #[test]
    fn secrets_are_only_said_to_be_there() {
        for (word, recorded) in [
            ("hooks.finish=http://a.example/x", "hooks.finish=(secret)"),
            ("++hooks.nan=[a, b]", "++hooks.nan=(secret)"),
            ("+hooks={finish: x}", "+hooks=(secret)"),
            ("hooks.timeout=3", "hooks.timeout=3"),
            ("noise.vec_norm=3", "noise.vec_norm=3"),
            ("--force=hooks", "--force=hooks"),
            ("hooks.finish", "hooks.finish"),
            (
                "tracking.wandb.base_url=http://me:pass@host:80/x@y",
                "tracking.wandb.base_url=http://host:80/x@y",
            ),
            (
                "infer.images=http://host/a@b",
                "infer.images=http://host/a@b",
            ),
        ] {
            assert_eq!(without_secret(word), recorded);
        }
    }
}
