//! Names of keys: which there are, and which one was probably meant.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::nearest::nearest;
use super::schema::{self, Key, SECTIONS, document_keys};

/// Tables of an experiment file beside the sections of the configuration.
pub(super) const TABLES: &[&str] = &[
    "experiment",
    "use",
    "stage",
    "table",
    "plot",
    "store",
    "slots",
    "hooks",
    "launcher",
    "annotate",
];
/// Keys outside of tables.
pub(super) const LOOSE: &[&str] = &["version", "extends", "unset"];

/// Every dotted name that stands for a section, not for a value.
static PREFIXES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let mut prefixes = BTreeSet::new();
    for key in schema::keys().iter().chain(document_keys()) {
        let mut rest = key.path;
        while let Some((prefix, _)) = rest.rsplit_once('.') {
            prefixes.insert(prefix);
            rest = prefix;
        }
    }
    prefixes
});

/// Whether a dotted name is that of a section.
pub(super) fn is_section(path: &str) -> bool {
    PREFIXES.contains(path)
}

/// What stands directly in a section: names of keys and of sections in it.
fn children(prefix: &str) -> BTreeSet<&'static str> {
    let inside = |path: &'static str| {
        let rest = path.strip_prefix(prefix)?.strip_prefix('.')?;
        Some(rest.split('.').next().unwrap_or(rest))
    };
    schema::keys()
        .iter()
        .chain(document_keys())
        .filter_map(|key| inside(key.path))
        .collect()
}

/// Ways out for a name that does not exist. `extra` are further names that are
/// allowed in this place.
pub(super) fn suggest(prefix: &str, name: &str, extra: &[&'static str]) -> Vec<String> {
    if prefix.is_empty() {
        return suggest_top(name, extra);
    }
    let did_you_mean = |name: &str| vec![format!("did you mean `{name}`?")];
    let siblings = children(prefix);
    if let Some(near) = nearest(name, siblings.iter().copied()) {
        return did_you_mean(&format!("{prefix}.{near}"));
    }
    let section = prefix.split('.').next().unwrap_or(prefix);
    if let Some(key) = by_last_part(name, |key| {
        key.path
            .strip_prefix(section)
            .is_some_and(|rest| rest.starts_with('.'))
    })
    .or_else(|| by_last_part(name, |_| true))
    {
        return did_you_mean(key.path);
    }
    if let Some(key) = schema::key_by_flat_name(name) {
        return did_you_mean(key.path);
    }
    let names: Vec<_> = siblings.into_iter().collect();
    vec![format!("`{prefix}` has {}", names.join(", "))]
}

fn suggest_top(name: &str, extra: &[&'static str]) -> Vec<String> {
    let tables = SECTIONS.iter().chain(extra).copied();
    if let Some(near) = nearest(name, tables) {
        return vec![format!("did you mean `{near}`?")];
    }
    let flat = schema::keys().iter().filter_map(|key| key.flat);
    if let Some(near) = nearest(name, flat)
        && let Some(key) = schema::key_by_flat_name(near)
    {
        return vec![format!(
            "did you mean `{near}`, which is `{}` here?",
            key.path
        )];
    }
    if let Some(key) = by_last_part(name, |_| true) {
        return vec![format!("did you mean `{}`?", key.path)];
    }
    let names: Vec<_> = extra.iter().chain(SECTIONS).copied().collect();
    vec![format!("keys and sections are {}", names.join(", "))]
}

fn by_last_part(name: &str, allowed: impl Fn(&Key) -> bool) -> Option<&'static Key> {
    let last = |key: &Key| key.path.rsplit('.').next().unwrap_or(key.path);
    let candidates = || schema::keys().iter().copied().filter(|key| allowed(key));
    candidates().find(|key| last(key) == name).or_else(|| {
        let near = nearest(name, candidates().map(last))?;
        candidates().find(|key| last(key) == near)
    })
}
