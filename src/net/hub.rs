//! Files of the model hub in the standard cache that Python tools share:
//! `models--owner--name/{blobs, refs, snapshots}`.

use std::path::{Path, PathBuf};

use reqwest::header::ETAG;
use serde_json::Value;
use thiserror::Error;

use super::addresses::hub_endpoint;
use super::download::{DownloadError, Downloader, Fetch, Progress};

/// Largest file of a model.
const MAX_FILE: u64 = 64 << 30;

/// Why a repository did not arrive.
#[derive(Debug, Error)]
pub enum HubError {
    /// The hub may not be asked.
    #[error(
        "{repository}: not in the cache, and HF_HUB_OFFLINE forbids asking the hub; unset it, or \
         copy the repository's folder into the cache"
    )]
    Offline {
        /// `owner/name`.
        repository: String,
    },
    /// A file did not arrive.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The hub's answer makes no sense.
    #[error("{address}: {reason}")]
    Answer {
        /// The address.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The cache could not be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How the hub is reached.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Its address; `HF_ENDPOINT` names a mirror.
    pub endpoint: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// Token of the user's account.
    pub token: Option<String>,
    /// Whether it may not be asked.
    pub offline: bool,
}

/// Files of a repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// Names of its files.
    pub files: Vec<String>,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_TOKEN` or the token file,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub fn from_environment(cache: PathBuf) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_set = |name| {
            variable(name).is_some_and(|value| {
                matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
            })
        };
        Self {
            endpoint: hub_endpoint(),
            cache,
            token: variable("HF_TOKEN").or_else(token_file),
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
        }
    }

    fn folder(&self, repository: &str) -> PathBuf {
        self.cache
            .join(format!("models--{}", repository.replace('/', "--")))
    }

    fn check_online(&self, repository: &str) -> Result<(), HubError> {
        if self.offline {
            return Err(HubError::Offline {
                repository: repository.to_owned(),
            });
        }
        Ok(())
    }

    /// What a repository holds at a branch, tag or commit.
    ///
    /// # Errors
    /// Offline; no such repository; no connection.
    pub fn list(
        &self,
        downloader: &Downloader,
        repository: &str,
        revision: &str,
    ) -> Result<Listing, HubError> {
        self.check_online(repository)?;
        let address = format!(
            "{}/api/models/{repository}/revision/{revision}",
            self.endpoint
        );
        let text = downloader.text(&address, self.token.as_deref())?;
        let wrong = |reason: &str| HubError::Answer {
            address: address.clone(),
            reason: reason.to_owned(),
        };
        let answer: Value =
            serde_json::from_str(&text).map_err(|_| wrong("the answer is not JSON"))?;
        let commit = answer["sha"].as_str().filter(|commit| is_plain(commit));
        let commit = commit.ok_or_else(|| wrong("the answer names no commit"))?;
        let files = answer["siblings"]
            .as_array()
            .ok_or_else(|| wrong("the answer lists no files"))?
            .iter()
            .filter_map(|file| file["rfilename"].as_str())
            .filter(|file| file.split('/').all(is_plain))
            .map(str::to_owned)
            .collect();
        Ok(Listing {
            commit: commit.to_owned(),
            files,
        })
    }

    /// Fetches files of a repository at a listed commit into the cache and
    /// names the commit by the revision. Returns the snapshot's folder.
    ///
    /// # Errors
    /// Offline; no connection; wrong content; a cache that cannot be written.
    pub fn fetch(
        &self,
        downloader: &Downloader,
        repository: &str,
        revision: &str,
        listing: &Listing,
        files: &[String],
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, HubError> {
        self.check_online(repository)?;
        let folder = self.folder(repository);
        let snapshot = folder.join("snapshots").join(&listing.commit);
        for file in files {
            let link = snapshot.join(file);
            if link.is_file() {
                continue;
            }
            let address = format!(
                "{}/{repository}/resolve/{}/{file}",
                self.endpoint, listing.commit
            );
            let described = Described::ask(downloader, &address, self.token.as_deref())?;
            let blob = folder.join("blobs").join(&described.tag);
            if !blob.is_file() {
                downloader.fetch(
                    &Fetch {
                        address: &address,
                        target: &blob,
                        token: self.token.as_deref(),
                        sha256: described.sha256(),
                        size: described.size,
                        limit: MAX_FILE,
                    },
                    progress,
                )?;
            }
            place(&blob, &link, file.split('/').count())?;
        }
        if revision != listing.commit {
            write(
                &folder.join("refs").join(revision),
                listing.commit.as_bytes(),
            )?;
        }
        Ok(snapshot)
    }
}

/// What the hub says about a file before it is fetched.
struct Described {
    /// Name of its blob.
    tag: String,
    size: Option<u64>,
}

impl Described {
    fn ask(downloader: &Downloader, address: &str, token: Option<&str>) -> Result<Self, HubError> {
        let headers = downloader.headers(address, token)?;
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let tag = text("x-linked-etag").or_else(|| text(ETAG.as_str()));
        let tag = tag.map(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(&tag);
            tag.trim_matches('"').to_owned()
        });
        let tag = tag.filter(|tag| is_plain(tag));
        Ok(Self {
            tag: tag.ok_or_else(|| HubError::Answer {
                address: address.to_owned(),
                reason: "the answer has no usable tag (ETag)".to_owned(),
            })?,
            size: text("x-linked-size")
                .or_else(|| text("content-length"))
                .and_then(|size| size.parse().ok()),
        })
    }

    /// Tags of large files are their hashes.
    fn sha256(&self) -> Option<&str> {
        let is_hash = self.tag.len() == 64 && self.tag.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(self.tag.as_str())
    }
}

/// Lets a file of a snapshot point to its blob, relative to the snapshot; a copy
/// where links do not work.
fn place(blob: &Path, link: &Path, depth: usize) -> Result<(), HubError> {
    let write_error = |source| HubError::Write {
        path: link.to_owned(),
        source,
    };
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent).map_err(write_error)?;
    }
    let up = "../".repeat(depth + 1);
    let name = blob.file_name().unwrap_or_default().display().to_string();
    #[cfg(unix)]
    {
        let _ = std::fs::remove_file(link);
        if std::os::unix::fs::symlink(format!("{up}blobs/{name}"), link).is_ok() {
            return Ok(());
        }
    }
    #[cfg(not(unix))]
    let _ = (up, name);
    std::fs::copy(blob, link).map(|_| ()).map_err(write_error)
}

fn write(path: &Path, content: &[u8]) -> Result<(), HubError> {
    let write_error = |source| HubError::Write {
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(write_error)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(write_error)?;
    std::io::Write::write_all(&mut file, content).map_err(write_error)?;
    file.persist(path)
        .map(|_| ())
        .map_err(|error| write_error(error.error))
}

/// One component of a path and nothing else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

/// The token that `huggingface-cli login` left.
fn token_file() -> Option<String> {
    let home = std::env::var_os("HF_HOME").filter(|home| !home.is_empty());
    let path = match std::env::var_os("HF_TOKEN_PATH").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match home {
            Some(home) => PathBuf::from(home).join("token"),
            None => std::env::home_dir()?.join(".cache/huggingface/token"),
        },
    };
    let token = std::fs::read_to_string(path).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}
