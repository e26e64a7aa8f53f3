//! Names of entries: a stage kind and the key of one configuration of it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Identity of what a stage computes: the first 128 bits of a BLAKE3 hash,
/// written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key([u8; 16]);

impl Key {
    /// The key of some bytes that name everything the result depends on.
    pub fn of(bytes: &[u8]) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Key(key)
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl FromStr for Key {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Key, StoreError> {
        let bad = || StoreError::BadName {
            text: text.to_owned(),
            what: "a key (32 hexadecimal digits)",
        };
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        let mut key = [0; 16];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Key(key))
    }
}

impl TryFrom<String> for Key {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Key, StoreError> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

/// Name of an entry of the store: `<kind>/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId {
    kind: String,
    key: Key,
}

impl EntryId {
    /// The entry of `kind` with `key`.
    ///
    /// # Errors
    /// A kind that is not made of lower-case letters, digits, `_` and `-`: it
    /// names a directory.
    pub fn new(kind: &str, key: Key) -> Result<EntryId, StoreError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if kind.is_empty() || kind.len() > 64 || !kind.bytes().all(fits) {
            return Err(StoreError::BadName {
                text: kind.to_owned(),
                what: "a stage kind",
            });
        }
        Ok(EntryId {
            kind: kind.to_owned(),
            key,
        })
    }

    /// The stage kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The key within the kind.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Where the entry lies, relative to the store.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(&self.kind).join(self.key.to_string())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_form() {
        let key = Key::of(b"some stage");
        assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        assert_eq!(
            serde_json::from_str::<Key>(&serde_json::to_string(&key).unwrap()).unwrap(),
            key
        );
    }

    #[test]
    fn odd_names_are_refused() {
        assert!("xyz".parse::<Key>().is_err());
        assert!("+1".repeat(16).parse::<Key>().is_err());
        for kind in ["", "..", "a/b", ".partial", "Train"] {
            assert!(EntryId::new(kind, Key::of(b"")).is_err(), "{kind}");
        }
    }
}
