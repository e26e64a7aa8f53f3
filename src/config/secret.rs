//! Command lines without the secrets that overrides may hold.

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
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(without_secret(word), recorded);
        }
    }
}
