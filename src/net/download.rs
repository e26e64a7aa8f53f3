//! One file from an address to its place: resumed, checked, published by
//! rename.
//!
//! What has arrived lies in a file ending in `.incomplete` beside the target
//! until it is whole; a file ending in `.lock` keeps other processes away.
//! Interrupted connections, overloaded servers and rate limits are tried again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{
    AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::tls::install_provider;

/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Time without any answer or byte after which a connection counts as dead.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a file did not arrive.
#[derive(Debug, Error)]
pub enum DownloadError {
    /// The server wants a token, or refuses the one it got.
    #[error("{address}: access refused ({status}); {advice}")]
    Refused {
        /// The address.
        address: String,
        /// What the server answered.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing is there.
    #[error("{address}: not found (404); check the name and the revision")]
    NotFound {
        /// The address.
        address: String,
    },
    /// The server answered something else.
    #[error("{address}: the server answered {status}")]
    Status {
        /// The address.
        address: String,
        /// What the server answered.
        status: u16,
    },
    /// No connection, or it broke too often.
    #[error("{address}: {reason} ({attempts} attempts); what has arrived is kept, try again later")]
    Connection {
        /// The address.
        address: String,
        /// What happened last.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The file is longer or shorter than it should be.
    #[error("{address}: {found} bytes arrived, {wanted} were announced; the file was removed")]
    Length {
        /// The address.
        address: String,
        /// Bytes that arrived.
        found: u64,
        /// Bytes that should have.
        wanted: u64,
    },
    /// More than allowed.
    #[error("{address}: larger than the limit of {limit} bytes")]
    TooLarge {
        /// The address.
        address: String,
        /// The limit.
        limit: u64,
    },
    /// The content is not the published one.
    #[error("{address}: SHA-256 is {found}, {wanted} was expected; the file was removed")]
    Hash {
        /// The address.
        address: String,
        /// Hash of what arrived.
        found: String,
        /// Hash it should have.
        wanted: String,
    },
    /// Another process downloads the same file.
    #[error("{path} is being downloaded by another process; wait for it")]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Told how far a download is.
pub trait Progress {
    /// A file begins, or begins anew: bytes that are there and bytes in all.
    fn begin(&mut self, name: &str, done: u64, total: Option<u64>);
    /// More bytes arrived.
    fn advance(&mut self, bytes: u64);
    /// Something is tried again.
    fn note(&mut self, text: &str);
}

/// Nobody is told.
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// How often and how long apart something is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts without progress in a row.
    pub attempts: u32,
    /// Wait after the first; doubled each time.
    pub first_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_secs(1),
        }
    }
}

/// What is fetched, and what is known of it.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// Where it lies.
    pub address: &'a str,
    /// Where it belongs.
    pub target: &'a Path,
    /// Bearer token for the first host.
    pub token: Option<&'a str>,
    /// SHA-256 it must have, in hexadecimal.
    pub sha256: Option<&'a str>,
    /// Bytes it must have.
    pub size: Option<u64>,
    /// Most bytes it may have.
    pub limit: u64,
}

/// Fetches files.
pub struct Downloader {
    client: Client,
    /// The same, but redirects are answers.
    direct: Client,
    patience: Patience,
}

impl Downloader {
    /// A downloader that follows redirects. Proxies are those of the
    /// environment.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(patience: Patience) -> Result<Self, DownloadError> {
        install_provider();
        let client = |redirects| {
            Client::builder()
                .user_agent(concat!("novic/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(SILENCE)
                .timeout(SILENCE)
                .redirect(redirects)
                .build()
                .map_err(|error| DownloadError::Connection {
                    address: "TLS".to_owned(),
                    reason: plain(&error),
                    attempts: 0,
                })
        };
        Ok(Self {
            client: client(Policy::limited(10))?,
            direct: client(Policy::none())?,
            patience,
        })
    }

    /// Headers of a file, not those of the host it is redirected to.
    ///
    /// # Errors
    /// As for files.
    pub fn headers(&self, address: &str, token: Option<&str>) -> Result<HeaderMap, DownloadError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let request = with_token(self.direct.head(address), token);
            let failed = match request.send() {
                Ok(response) if response.status().is_redirection() => {
                    return Ok(response.headers().clone());
                }
                Ok(response) => match judge(response, address, token) {
                    Ok(response) => return Ok(response.headers().clone()),
                    Err(failed) => failed,
                },
                Err(error) => not_sent(&error, address),
            };
            self.wait(failed, address, attempt, &mut Silent)?;
        }
    }

    /// The text at an address (at most 64 MiB).
    ///
    /// # Errors
    /// As for files.
    pub fn text(&self, address: &str, token: Option<&str>) -> Result<String, DownloadError> {
        const LIMIT: u64 = 64 << 20;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failed = match self.ask(address, token, None) {
                Ok(response) => {
                    let mut text = String::new();
                    match response.take(LIMIT).read_to_string(&mut text) {
                        Ok(_) => return Ok(text),
                        Err(error) => Failed::again(plain(&error)),
                    }
                }
                Err(failed) => failed,
            };
            self.wait(failed, address, attempt, &mut Silent)?;
        }
    }

    /// Fetches a file unless it is there already. Returns its SHA-256.
    ///
    /// # Errors
    /// No connection in the end, refusals, wrong content.
    pub fn fetch(
        &self,
        request: &Fetch<'_>,
        progress: &mut dyn Progress,
    ) -> Result<String, DownloadError> {
        let write_error = |path: &Path| {
            let path = path.to_owned();
            move |source| DownloadError::Write { path, source }
        };
        if let Some(folder) = request.target.parent() {
            std::fs::create_dir_all(folder).map_err(write_error(folder))?;
        }
        let lock_path = beside(request.target, "lock");
        let lock = File::create(&lock_path).map_err(write_error(&lock_path))?;
        if lock.try_lock().is_err() {
            return Err(DownloadError::Busy {
                path: request.target.to_owned(),
            });
        }
        let partial = beside(request.target, "incomplete");
        let result = self.transfer(request, &partial, progress).and_then(|()| {
            let found = checked(request, &partial)?;
            std::fs::rename(&partial, request.target).map_err(write_error(request.target))?;
            Ok(found)
        });
        if !partial.exists() {
            let _ = std::fs::remove_file(beside(&partial, "etag"));
        }
        let _ = std::fs::remove_file(&lock_path);
        result
    }

    /// Brings the missing bytes.
    fn transfer(
        &self,
        request: &Fetch<'_>,
        partial: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), DownloadError> {
        let name = request
            .target
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let before = length(partial);
            if request.size.is_some_and(|size| before == size && size > 0) {
                progress.begin(&name, before, Some(before));
                return Ok(());
            }
            let failed = match self.continue_at(request, partial, before, &name, progress) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if matches!(failed, Failed::Anew) {
                let _ = std::fs::remove_file(partial);
            }
            // Whatever arrived is progress.
            if length(partial) > before {
                attempt = 1;
            }
            self.wait(failed, request.address, attempt, progress)?;
        }
    }

    fn continue_at(
        &self,
        request: &Fetch<'_>,
        partial: &Path,
        before: u64,
        name: &str,
        progress: &mut dyn Progress,
    ) -> Result<(), Failed> {
        let tag_file = beside(partial, "etag");
        let tag = std::fs::read_to_string(&tag_file).ok();
        let resume = (before > 0).then(|| (before, tag.clone()));
        let mut response = self.ask(request.address, request.token, resume)?;
        let write_error = |source| {
            Failed::Ever(DownloadError::Write {
                path: partial.to_owned(),
                source,
            })
        };
        let starts_at = match response.status() {
            StatusCode::PARTIAL_CONTENT => range_start(&response).filter(|start| *start == before),
            _ => Some(0),
        };
        let Some(done) = starts_at else {
            // Another range than asked for: begin anew.
            return Err(Failed::Anew);
        };
        let total = response.content_length().map(|rest| done + rest);
        let total = total.or(request.size);
        if total.is_some_and(|total| total > request.limit) {
            return Err(Failed::Ever(DownloadError::TooLarge {
                address: request.address.to_owned(),
                limit: request.limit,
            }));
        }
        let tag = response
            .headers()
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok());
        if let Some(tag) = tag.filter(|tag| !tag.starts_with("W/")) {
            std::fs::write(&tag_file, tag).map_err(write_error)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(done > 0)
            .write(true)
            .truncate(done == 0)
            .open(partial)
            .map_err(write_error)?;
        progress.begin(name, done, total);
        let mut arrived = done;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = match response.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Failed::again(plain(&error))),
            };
            arrived += count as u64;
            if arrived > request.limit {
                drop(file);
                let _ = std::fs::remove_file(partial);
                return Err(Failed::Ever(DownloadError::TooLarge {
                    address: request.address.to_owned(),
                    limit: request.limit,
                }));
            }
            file.write_all(&buffer[..count]).map_err(write_error)?;
            progress.advance(count as u64);
        }
        file.sync_all().map_err(write_error)?;
        match total {
            Some(total) if arrived < total => {
                Err(Failed::again("the connection ended early".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Asks for a file or for the rest of one.
    fn ask(
        &self,
        address: &str,
        token: Option<&str>,
        resume: Option<(u64, Option<String>)>,
    ) -> Result<Response, Failed> {
        let mut request = with_token(self.client.get(address), token);
        if let Some((start, tag)) = resume {
            request = request.header(RANGE, format!("bytes={start}-"));
            if let Some(tag) = tag {
                request = request.header(IF_RANGE, tag);
            }
        }
        let response = request.send().map_err(|error| not_sent(&error, address))?;
        judge(response, address, token)
    }

    /// Waits before another attempt, or gives up.
    fn wait(
        &self,
        failed: Failed,
        address: &str,
        attempt: u32,
        progress: &mut dyn Progress,
    ) -> Result<(), DownloadError> {
        let (reason, asked) = match failed {
            Failed::Ever(error) => return Err(error),
            Failed::Anew => ("what had arrived was of another file".to_owned(), None),
            Failed::Again { reason, wait } => (reason, wait),
        };
        if attempt >= self.patience.attempts {
            return Err(DownloadError::Connection {
                address: address.to_owned(),
                reason,
                attempts: attempt,
            });
        }
        let doubled = self.patience.first_wait * 2u32.saturating_pow(attempt - 1);
        let wait = asked.unwrap_or(doubled).min(LONGEST_WAIT);
        progress.note(&format!("{reason}; trying again"));
        std::thread::sleep(wait);
        Ok(())
    }
}

fn with_token(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

fn not_sent(error: &reqwest::Error, address: &str) -> Failed {
    if error.is_builder() || error.is_redirect() {
        Failed::Ever(DownloadError::Connection {
            address: address.to_owned(),
            reason: plain(error),
            attempts: 1,
        })
    } else {
        Failed::again(plain(error))
    }
}

/// What an answer means.
fn judge(response: Response, address: &str, token: Option<&str>) -> Result<Response, Failed> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let refused = |advice| {
        Failed::Ever(DownloadError::Refused {
            address: address.to_owned(),
            status: status.as_u16(),
            advice,
        })
    };
    Err(match status.as_u16() {
        401 | 403 if token.is_none() => {
            refused("set HF_TOKEN to a token of your account, or accept the terms on its page")
        }
        401 | 403 => refused("the token has no access; accept the terms on its page"),
        404 | 410 => Failed::Ever(DownloadError::NotFound {
            address: address.to_owned(),
        }),
        // The range is not satisfiable: what lies here is not this file.
        416 => Failed::Anew,
        408 | 425 | 429 | 500 | 502..=504 => Failed::Again {
            reason: format!("the server answered {}", status.as_u16()),
            wait: retry_after(&response),
        },
        other => Failed::Ever(DownloadError::Status {
            address: address.to_owned(),
            status: other,
        }),
    })
}

/// What became of an attempt.
enum Failed {
    /// Another may succeed, at the earliest after this time.
    Again {
        reason: String,
        wait: Option<Duration>,
    },
    /// It must begin with the first byte.
    Anew,
    /// None will succeed.
    Ever(DownloadError),
}

impl Failed {
    fn again(reason: String) -> Self {
        Self::Again { reason, wait: None }
    }
}

/// Compares length and hash; a wrong file is removed.
fn checked(request: &Fetch<'_>, partial: &Path) -> Result<String, DownloadError> {
    let found = length(partial);
    if let Some(wanted) = request.size.filter(|wanted| *wanted != found) {
        let _ = std::fs::remove_file(partial);
        return Err(DownloadError::Length {
            address: request.address.to_owned(),
            found,
            wanted,
        });
    }
    let hash = sha256(partial).map_err(|source| DownloadError::Write {
        path: partial.to_owned(),
        source,
    })?;
    match request.sha256 {
        Some(wanted) if wanted != hash => {
            let _ = std::fs::remove_file(partial);
            Err(DownloadError::Hash {
                address: request.address.to_owned(),
                found: hash,
                wanted: wanted.to_owned(),
            })
        }
        _ => Ok(hash),
    }
}

/// SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The path with another ending added.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes, without the address.
fn plain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
