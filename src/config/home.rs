//! Paths that begin with the home directory.

use std::path::PathBuf;

/// A path with `~` in the place of the home directory.
pub fn expanded(path: &str) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => std::env::home_dir().unwrap_or_default(),
        Some(rest) if rest.starts_with('/') => {
            std::env::home_dir().unwrap_or_default().join(&rest[1..])
        }
        _ => PathBuf::from(path),
    }
}
