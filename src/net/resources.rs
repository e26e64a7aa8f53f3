//! The downloads of the table: their state on this disk, and how they get
//! there.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::addresses::{Form, KnownResource, Root, mirrored};
use super::download::{DownloadError, Downloader, Fetch, Progress, beside};
use super::unpack::{UnpackError, UnpackLimits, unpack};

/// Largest download.
const MAX_BYTES: u64 = 200 << 30;

/// Why a resource is not there.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// The download failed.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The archive cannot be used.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// People have to do it themselves.
    #[error("{id} ({address}) cannot be fetched by this program: {advice}; it belongs at {target}")]
    ByHand {
        /// Its id.
        id: &'static str,
        /// Where it comes from.
        address: String,
        /// What to do.
        advice: &'static str,
        /// Where it belongs.
        target: PathBuf,
    },
    /// The listing of a release has no such file.
    #[error("{address} lists no file whose name contains {wanted:?}")]
    NoAsset {
        /// The listing.
        address: String,
        /// What was looked for.
        wanted: &'static str,
    },
    /// It is another file than last time.
    #[error(
        "{target}: SHA-256 is {found}, {record} says {wanted}; if the change is meant, remove the \
         record"
    )]
    Changed {
        /// Where it belongs.
        target: PathBuf,
        /// Hash of what arrived.
        found: String,
        /// The file with the hash of the first download.
        record: PathBuf,
        /// That hash.
        wanted: String,
    },
    /// A file could not be moved or written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where downloads belong.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The working directory.
    pub project: PathBuf,
    /// The folder of the datasets.
    pub datasets: PathBuf,
}

/// Whether a resource is on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Complete.
    Present,
    /// A download was interrupted.
    Partial,
    /// Nothing of it.
    Missing,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Partial => "partial",
            Self::Missing => "missing",
        }
    }
}

impl KnownResource {
    /// Where it belongs.
    pub fn place(&self, roots: &Roots) -> PathBuf {
        match self.root {
            Root::Project => roots.project.join(self.target),
            Root::Datasets => roots.datasets.join(self.target),
        }
    }

    /// Whether it is there.
    pub fn state(&self, roots: &Roots) -> State {
        let place = self.place(roots);
        if place.exists() {
            State::Present
        } else if beside(&self.download_place(&place), "incomplete").exists() {
            State::Partial
        } else {
            State::Missing
        }
    }

    /// Where the download itself lies until it is unpacked.
    fn download_place(&self, place: &Path) -> PathBuf {
        match self.form {
            Form::File => place.to_owned(),
            _ => beside(place, "archive"),
        }
    }

    /// Fetches, checks, unpacks and publishes it; `mirror` stands in for all
    /// hosts. Returns its place.
    ///
    /// # Errors
    /// What has to be done by hand; failed downloads; unusable archives.
    pub fn get(
        &self,
        downloader: &Downloader,
        roots: &Roots,
        mirror: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, ResourceError> {
        let place = self.place(roots);
        if place.exists() {
            return Ok(place);
        }
        let mut address = mirrored(self.address, mirror);
        if let Form::ByHand(advice) = self.form {
            return Err(ResourceError::ByHand {
                id: self.id,
                address,
                advice,
                target: place,
            });
        }
        if let Some(wanted) = self.asset {
            address = mirrored(&asset(downloader, &address, wanted)?, mirror);
        }
        let download = self.download_place(&place);
        let hash = downloader.fetch(
            &Fetch {
                address: &address,
                target: &download,
                token: None,
                sha256: None,
                size: None,
                limit: MAX_BYTES,
            },
            progress,
        )?;
        check_record(&place, &hash).inspect_err(|_| {
            let _ = std::fs::remove_file(&download);
        })?;
        if self.form == Form::File {
            return Ok(place);
        }
        let result = publish(&download, &place, self.form);
        // A damaged archive is of no use either.
        let _ = std::fs::remove_file(&download);
        result.map(|()| place)
    }
}

/// Address of the file of a release whose name contains `wanted`.
fn asset(
    downloader: &Downloader,
    address: &str,
    wanted: &'static str,
) -> Result<String, ResourceError> {
    let text = downloader.text(address, None)?;
    let listing: Value = serde_json::from_str(&text).unwrap_or_default();
    let assets = listing["assets"].as_array();
    let found = assets.into_iter().flatten().find_map(|asset| {
        let name = asset["name"].as_str()?;
        name.contains(wanted)
            .then(|| asset["browser_download_url"].as_str())
            .flatten()
    });
    found
        .map(str::to_owned)
        .ok_or_else(|| ResourceError::NoAsset {
            address: address.to_owned(),
            wanted,
        })
}

/// Compares with the hash of the first download, or records this one.
fn check_record(place: &Path, hash: &str) -> Result<(), ResourceError> {
    let record = beside(place, "sha256");
    match std::fs::read_to_string(&record) {
        Ok(text) => {
            let wanted = text.split_whitespace().next().unwrap_or_default();
            if wanted == hash {
                return Ok(());
            }
            Err(ResourceError::Changed {
                target: place.to_owned(),
                found: hash.to_owned(),
                wanted: wanted.to_owned(),
                record,
            })
        }
        Err(_) => {
            let name = place.file_name().unwrap_or_default().display();
            std::fs::write(&record, format!("{hash}  {name}\n")).map_err(|source| {
                ResourceError::Write {
                    path: record.clone(),
                    source,
                }
            })
        }
    }
}

/// Unpacks beside the place and moves the result there.
fn publish(archive: &Path, place: &Path, form: Form) -> Result<(), ResourceError> {
    let write_error = |source| ResourceError::Write {
        path: place.to_owned(),
        source,
    };
    let parent = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(write_error)?;
    let room = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(parent)
        .map_err(write_error)?;
    unpack(archive, room.path(), UnpackLimits::default())?;
    let own = room.path().join(place.file_name().unwrap_or_default());
    if own.is_dir() {
        return std::fs::rename(own, place).map_err(write_error);
    }
    if form == Form::Folder {
        // A single folder of another name, or the content itself.
        let entries: Vec<PathBuf> = std::fs::read_dir(room.path())
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(write_error)?;
        let from = match entries.as_slice() {
            [only] if only.is_dir() => only.clone(),
            _ => room.path().to_owned(),
        };
        return std::fs::rename(from, place).map_err(write_error);
    }
    let entries = std::fs::read_dir(room.path()).map_err(write_error)?;
    for entry in entries {
        let entry = entry.map_err(write_error)?;
        std::fs::rename(entry.path(), parent.join(entry.file_name())).map_err(write_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::addresses::KNOWN_RESOURCES;
    use super::super::download::{Patience, Silent};
    use super::super::loopback::{Reply, Server};
    use super::*;

    fn zip_of(members: &[&str]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for member in members {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored);
            zip.start_file(*member, options).unwrap();
            std::io::Write::write_all(&mut zip, member.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn roots() -> (tempfile::TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots {
            project: folder.path().join("project"),
            datasets: folder.path().join("datasets"),
        };
        (folder, roots)
    }

    fn downloader() -> Downloader {
        Downloader::new(Patience {
            attempts: 2,
            first_wait: Duration::ZERO,
        })
        .unwrap()
    }

    #[test]
    fn every_resource_arrives_from_a_mirror() {
        for resource in KNOWN_RESOURCES {
            let last = Path::new(resource.target).file_name().unwrap();
            let last = last.to_str().unwrap().to_owned();
            let server = Server::start(move |_, request| {
                if request.path.contains("/releases/tags/") {
                    return Reply::ok(
                        format!(
                            r#"{{"assets": [{{"name": "x_{last}.zip",
                                "browser_download_url": "https://files.example/{last}.zip"}}]}}"#
                        )
                        .as_bytes(),
                    );
                }
                Reply::part_of(
                    &zip_of(&[&format!("{last}/a.txt"), &format!("{last}/b/c")]),
                    request,
                )
            });
            let (_folder, roots) = roots();
            assert_eq!(resource.state(&roots), State::Missing);
            let mirror = Some(server.address.as_str());
            let got = resource.get(&downloader(), &roots, mirror, &mut Silent);
            if let Form::ByHand(_) = resource.form {
                assert!(matches!(got, Err(ResourceError::ByHand { .. })));
                continue;
            }
            let place = got.unwrap();
            assert_eq!(resource.state(&roots), State::Present, "{}", resource.id);
            assert!(beside(&place, "sha256").is_file());
            assert!(!beside(&place, "archive").exists());
            if resource.form != Form::File {
                assert!(place.join("b/c").is_file(), "{}", resource.id);
            }
        }
    }

    #[test]
    fn files_at_the_top_become_the_target() {
        let world = super::super::addresses::known_resource("world").unwrap();
        let server = Server::start(|_, _| Reply::ok(&zip_of(&["a.jpg", "b.jpg"])));
        let (_folder, roots) = roots();
        let mirror = Some(server.address.as_str());
        let place = world
            .get(&downloader(), &roots, mirror, &mut Silent)
            .unwrap();
        assert!(place.join("a.jpg").is_file() && place.join("b.jpg").is_file());
        // Another archive than the first time.
        std::fs::remove_dir_all(&place).unwrap();
        let server = Server::start(|_, _| Reply::ok(&zip_of(&["other.jpg"])));
        let mirror = Some(server.address.as_str());
        let error = world
            .get(&downloader(), &roots, mirror, &mut Silent)
            .unwrap_err();
        assert!(matches!(error, ResourceError::Changed { .. }), "{error}");
        assert_eq!(world.state(&roots), State::Missing);
    }

    #[test]
    fn damaged_archives_leave_nothing() {
        let wiki = super::super::addresses::known_resource("wiki").unwrap();
        let server = Server::start(|_, _| Reply::ok(b"<html>moved</html>"));
        let (_folder, roots) = roots();
        let mirror = Some(server.address.as_str());
        let error = wiki
            .get(&downloader(), &roots, mirror, &mut Silent)
            .unwrap_err();
        assert!(matches!(error, ResourceError::Unpack(_)), "{error}");
        assert_eq!(wiki.state(&roots), State::Missing);
        assert!(!beside(&wiki.place(&roots), "archive").exists());
    }
}
