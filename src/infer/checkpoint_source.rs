//! Which checkpoint: a file, a run, the latest, or the one in the program.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::InferError;
use super::find::{CheckpointNames, ProjectPlaces, SearchPlaces};
use crate::decoder::checkpoint::Checkpoint;
use crate::net::known_resource;
use crate::store::Project;
use crate::train::exchange;

/// Where a decoder comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSource {
    /// The decoder in the program.
    Embedded,
    /// The newest trained decoder of this project.
    Latest,
    /// A checkpoint file or a folder of them. The id of a released model
    /// (`novic/ye2`) is the folder that `novic hub get` makes.
    File(PathBuf),
    /// The decoder that this run trained, here or as its output was brought
    /// here (`outputs/RUN`).
    Run(String),
}

impl FromStr for CheckpointSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            exchange::EMBEDDED_NAME => Self::Embedded,
            "latest" => Self::Latest,
            _ if Path::new(text).exists() => Self::File(PathBuf::from(text)),
            _ => match known_resource(text) {
                Some(released) => Self::File(PathBuf::from(released.target)),
                None if text.contains('/')
                    || exchange::Form::of_name(Path::new(text)).is_some() =>
                {
                    Self::File(PathBuf::from(text))
                }
                None => Self::Run(text.to_owned()),
            },
        })
    }
}

impl fmt::Display for CheckpointSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str(exchange::EMBEDDED_NAME),
            Self::Latest => f.write_str("latest"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Run(run) => f.write_str(run),
        }
    }
}

impl CheckpointSource {
    /// Whether a file is named that is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(path) if !path.exists())
    }

    /// Reads the checkpoint; also its file, `embedded` for the one in the
    /// program.
    pub(super) fn load(&self) -> Result<(Checkpoint, PathBuf), InferError> {
        let path = match self {
            Self::Embedded => PathBuf::from(exchange::EMBEDDED_NAME),
            Self::File(path) if path.is_dir() => {
                newest_in(path).ok_or_else(|| self.nothing_in(path.clone()))?
            }
            Self::File(path) => path.clone(),
            Self::Latest => self.latest()?,
            Self::Run(run) => self.made_by(run)?,
        };
        Ok((exchange::load(&path)?, path))
    }

    /// The newest trained decoder in the store.
    fn latest(&self) -> Result<PathBuf, InferError> {
        let folder = Project::find(None)?.store_dir().join("train");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let newest = entries
            .filter_map(|entry| trained(&entry.path()))
            .max_by_key(|(published, _)| *published);
        newest
            .map(|(_, file)| file)
            .ok_or_else(|| self.nothing_in(folder))
    }

    /// The newest checkpoint of a run, where stages look for it, too.
    fn made_by(&self, run: &str) -> Result<PathBuf, InferError> {
        let project = Project::find(None)?;
        let places = ProjectPlaces::of(&project);
        newest_of(run, &places.places())
            .filter(|file| file.is_file())
            .ok_or_else(|| self.nothing_in(project.store_dir().join("train")))
    }

    fn nothing_in(&self, folder: PathBuf) -> InferError {
        InferError::NoCheckpoint {
            wanted: self.to_string(),
            folder,
        }
    }
}

/// The newest checkpoint in a directory, if there is one.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let places = SearchPlaces {
        working_dir: Path::new(""),
        outputs: Path::new(""),
        trainings: None,
    };
    newest_of(&folder.display().to_string(), &places)
}

/// The newest checkpoint that a name stands for.
fn newest_of(name: &str, places: &SearchPlaces<'_>) -> Option<PathBuf> {
    let names = CheckpointNames {
        load: name,
        per_dir: 1,
        ..CheckpointNames::default()
    };
    names.find(places).into_iter().next()
}

/// When the output in a folder was made, and its checkpoint.
fn trained(folder: &Path) -> Option<(u64, PathBuf)> {
    let text = std::fs::read_to_string(folder.join("entry.json")).ok()?;
    let manifest: crate::store::Manifest = serde_json::from_str(&text).ok()?;
    let name = manifest.description.results.get("checkpoint")?.as_str()?;
    let file = folder.join(name);
    file.is_file().then_some((manifest.published_ms, file))
}
