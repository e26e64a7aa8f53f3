//! The downloads of the table: their state on this disk, and how they get
//! there.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::addresses::{Form, KnownResource, Root, mirrored};
use super::download::{DownloadError, Downloader, Fetch, Progress, beside, sha256};
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
         record, or use --refresh"
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
    /// Something is at its place.
    #[error("{place} is there already; remove it first")]
    IsThere {
        /// Its place.
        place: PathBuf,
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
    /// hosts. What is there stays, unless it is to be `renewed` and has changed.
    /// Returns its place.
    ///
    /// # Errors
    /// What has to be done by hand; failed downloads; unusable archives.
    pub fn get(
        &self,
        downloader: &Downloader,
        roots: &Roots,
        mirror: Option<&str>,
        renewed: bool,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, ResourceError> {
        let place = self.place(roots);
        if place.exists() && !renewed {
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
        let renewed = renewed && place.exists();
        let download = match renewed {
            true => beside(&place, "renewed"),
            false => self.download_place(&place),
        };
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
        if renewed && recorded(&place).as_deref() == Some(hash.as_str()) {
            let _ = std::fs::remove_file(&download);
            return Ok(place);
        }
        if !renewed {
            check_record(&place, &hash).inspect_err(|_| {
                let _ = std::fs::remove_file(&download);
            })?;
        }
        if self.form == Form::File && !renewed {
            return Ok(place);
        }
        let result = match renewed {
            true => self.replace(&download, &place, &hash),
            false => publish(&download, &place, self.form),
        };
        // A damaged archive is of no use either.
        let _ = std::fs::remove_file(&download);
        result.map(|()| place)
    }

    /// Makes it of an archive or file that is on this disk already, as it was
    /// downloaded.
    ///
    /// # Errors
    /// What has to be done by hand; unusable archives; something is there.
    pub fn make_of(&self, from: &Path, roots: &Roots) -> Result<PathBuf, ResourceError> {
        let place = self.place(roots);
        if place.exists() {
            return Err(ResourceError::IsThere { place });
        }
        if let Form::ByHand(advice) = self.form {
            return Err(ResourceError::ByHand {
                id: self.id,
                address: self.address.to_owned(),
                advice,
                target: place,
            });
        }
        let write_error = |source| ResourceError::Write {
            path: place.clone(),
            source,
        };
        let hash = sha256(from).map_err(|source| ResourceError::Write {
            path: from.to_owned(),
            source,
        })?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(write_error)?;
        }
        if self.form == Form::File {
            let copy = beside(&place, "copy");
            std::fs::copy(from, &copy).map_err(write_error)?;
            std::fs::rename(&copy, &place).map_err(write_error)?;
        } else {
            publish(from, &place, self.form)?;
        }
        record(&place, &hash)?;
        Ok(place)
    }

    /// Puts a new version in the place of what is there, which goes when the
    /// new one is complete.
    fn replace(&self, download: &Path, place: &Path, hash: &str) -> Result<(), ResourceError> {
        let write_error = |source| ResourceError::Write {
            path: place.to_owned(),
            source,
        };
        let old = beside(place, "old");
        std::fs::rename(place, &old).map_err(write_error)?;
        let made = match self.form {
            Form::File => std::fs::rename(download, place).map_err(write_error),
            form => publish(download, place, form),
        };
        if let Err(error) = made {
            std::fs::rename(&old, place).map_err(write_error)?;
            return Err(error);
        }
        let removed = match old.is_dir() {
            true => std::fs::remove_dir_all(&old),
            false => std::fs::remove_file(&old),
        };
        removed.map_err(write_error)?;
        record(place, hash)
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

/// The hash of the first download, if it was recorded.
fn recorded(place: &Path) -> Option<String> {
    let text = std::fs::read_to_string(beside(place, "sha256")).ok()?;
    Some(
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Records the hash of a download beside its place.
fn record(place: &Path, hash: &str) -> Result<(), ResourceError> {
    let path = beside(place, "sha256");
    let name = place.file_name().unwrap_or_default().display();
    std::fs::write(&path, format!("{hash}  {name}\n"))
        .map_err(|source| ResourceError::Write { path, source })
}

/// Compares with the hash of the first download, or records this one.
fn check_record(place: &Path, hash: &str) -> Result<(), ResourceError> {
    match recorded(place) {
        None => record(place, hash),
        Some(wanted) if wanted == hash => Ok(()),
        Some(wanted) => Err(ResourceError::Changed {
            target: place.to_owned(),
            found: hash.to_owned(),
            wanted,
            record: beside(place, "sha256"),
        }),
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
            let got = resource.get(&downloader(), &roots, mirror, false, &mut Silent);
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
            .get(&downloader(), &roots, mirror, false, &mut Silent)
            .unwrap();
        assert!(place.join("a.jpg").is_file() && place.join("b.jpg").is_file());
        // Another archive than the first time.
        std::fs::remove_dir_all(&place).unwrap();
        let server = Server::start(|_, _| Reply::ok(&zip_of(&["other.jpg"])));
        let mirror = Some(server.address.as_str());
        let error = world
            .get(&downloader(), &roots, mirror, false, &mut Silent)
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
            .get(&downloader(), &roots, mirror, false, &mut Silent)
            .unwrap_err();
        assert!(matches!(error, ResourceError::Unpack(_)), "{error}");
        assert_eq!(wiki.state(&roots), State::Missing);
        assert!(!beside(&wiki.place(&roots), "archive").exists());
    }

    #[test]
    fn what_has_changed_is_renewed_when_asked_for() {
        let world = super::super::addresses::known_resource("world").unwrap();
        let (_folder, roots) = roots();
        let get = |members: &'static [&'static str], renewed| {
            let server = Server::start(move |_, request| Reply::part_of(&zip_of(members), request));
            let mirror = Some(server.address.as_str());
            world.get(&downloader(), &roots, mirror, renewed, &mut Silent)
        };
        let place = get(&["a.jpg"], true).unwrap();
        get(&["a.jpg", "b.jpg"], false).unwrap();
        assert!(!place.join("b.jpg").exists(), "nobody asked");
        get(&["a.jpg", "b.jpg"], true).unwrap();
        assert!(place.join("b.jpg").is_file());
        std::fs::write(place.join("own"), "note").unwrap();
        get(&["a.jpg", "b.jpg"], true).unwrap();
        assert!(place.join("own").is_file(), "the same is left alone");
        // What is damaged replaces nothing.
        let server = Server::start(|_, _| Reply::ok(b"<html>moved</html>"));
        let mirror = Some(server.address.as_str());
        let error = world.get(&downloader(), &roots, mirror, true, &mut Silent);
        assert!(matches!(error, Err(ResourceError::Unpack(_))));
        assert!(place.join("own").is_file());
        let beside = std::fs::read_dir(place.parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 2, "the folder and its hash");
    }

    #[test]
    fn an_archive_on_the_disk_will_do() {
        let world = super::super::addresses::known_resource("world").unwrap();
        let (folder, roots) = roots();
        let archive = folder.path().join("world_dataset.zip");
        std::fs::write(&archive, zip_of(&["a.jpg", "b.jpg"])).unwrap();
        let place = world.make_of(&archive, &roots).unwrap();
        assert!(place.join("b.jpg").is_file() && archive.is_file());
        assert!(recorded(&place).is_some());
        let again = world.make_of(&archive, &roots);
        assert!(matches!(again, Err(ResourceError::IsThere { .. })));
        let captions = super::super::addresses::known_resource("captions").unwrap();
        let place = captions.make_of(&archive, &roots).unwrap();
        assert!(place.is_file());
    }
}
