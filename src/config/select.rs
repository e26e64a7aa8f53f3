//! What a stage reads of a configuration, and nothing else.

use serde_json::{Map, Value};

use super::names::is_section;
use super::schema::{self, Config, Key};

/// The part of a configuration that a stage declares to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Its values by dotted path, sorted by path: the canonical form that keys
    /// of stages hash.
    pub values: Map<String, Value>,
    /// A configuration with these values, everything else being the default: a
    /// stage that gets it cannot depend on a value it did not declare.
    pub config: Config,
}

/// A stage declares to read what does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key or section `{0}` to read")]
pub struct UnknownRead(pub String);

/// Keys that are listed or lie in a listed section, sorted by path. `""` lists
/// everything.
pub fn keys_read(reads: &[&str]) -> Result<Vec<&'static Key>, UnknownRead> {
    let mut keys: Vec<&'static Key> = Vec::new();
    for &read in reads {
        match schema::key(read) {
            Some(key) => keys.push(key),
            None if read.is_empty() => keys.extend(schema::keys()),
            None if is_section(read) => keys.extend(schema::keys().iter().filter(|key| {
                key.path
                    .strip_prefix(read)
                    .is_some_and(|rest| rest.starts_with('.'))
            })),
            None => return Err(UnknownRead(read.to_owned())),
        }
    }
    keys.sort_by_key(|key| key.path);
    keys.dedup_by_key(|key| key.path);
    Ok(keys)
}

/// The part of a configuration at the listed keys and sections.
pub fn select(config: &Config, reads: &[&str]) -> Result<Selection, UnknownRead> {
    let mut values = Map::new();
    let mut selected = Config::default();
    for key in keys_read(reads)? {
        let unknown = || UnknownRead(key.path.to_owned());
        let value = config.get(key.path).ok_or_else(unknown)?;
        selected.set(key.path, &value).map_err(|_| unknown())?;
        values.insert(key.path.to_owned(), value);
    }
    Ok(Selection {
        values,
        config: selected,
    })
}
