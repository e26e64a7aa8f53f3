//! New states, and images that came or went since (`annotation.md` 4, 5).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::opinions::OpinionRule;
use super::small::{Copying, check_small_copies, make_small_copies, small_name};
use super::state::{ImageRecord, Meta, State};
use crate::annotate::check::image_names;
use crate::annotate::error::{AnnotateError, Result};

/// What a new state is about.
#[derive(Clone, Debug, PartialEq)]
pub struct NewState {
    /// Its file.
    pub path: PathBuf,
    /// Directory of the images.
    pub images: PathBuf,
    /// Directory of the small copies, relative to that of the images.
    pub small: PathBuf,
    /// Directory of batch files, relative to that of the images.
    pub batches: PathBuf,
    /// Model that is asked.
    pub model: String,
    /// When opinions are enough.
    pub rule: OpinionRule,
    /// How small copies are made.
    pub copying: Copying,
    /// Whether small copies are made, or must be there.
    pub make: bool,
}

impl NewState {
    /// Makes the state, and the small copies. Writes no state file.
    ///
    /// # Errors
    /// The file exists or has another ending, there are no images, or some of
    /// them cannot be shown to a model.
    pub fn build(&self) -> Result<State> {
        let unusable = |reason: &str| AnnotateError::StatePath {
            path: self.path.clone(),
            reason: reason.to_owned(),
        };
        if self.path.extension().is_none_or(|ending| ending != "json") {
            return Err(unusable("the name of a state file ends in .json"));
        }
        if self.path.try_exists().unwrap_or(true) {
            return Err(unusable(
                "it exists already; go on with it, or choose another name",
            ));
        }
        if self.images.as_os_str().is_empty() {
            return Err(unusable("no directory of images was given"));
        }
        let images = image_names(&self.images)?;
        if images.is_empty() {
            return Err(AnnotateError::NoImages {
                path: self.images.clone(),
            });
        }
        let small = small_names(&images)?;
        let beside = parent(&self.path);
        let state = State::new(Meta {
            batch_dir: relative(beside, &self.images.join(&self.batches))?,
            images_dir: relative(beside, &self.images)?,
            images_small_dir: relative(beside, &self.images.join(&self.small))?,
            images,
            images_small: small,
            model: self.model.clone(),
            rule: self.rule,
        });
        let pairs = copies(&state, beside);
        if self.make {
            make_small_copies(&pairs, self.copying)?;
        } else {
            let small: Vec<PathBuf> = pairs.into_iter().map(|(_, small)| small).collect();
            check_small_copies(&small, self.copying.size)?;
        }
        Ok(state)
    }
}

/// What has changed in the directory of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Images that were added.
    pub added: Vec<String>,
    /// Images of the state that are not there any more; they stay in it.
    pub missing: Vec<String>,
}

/// Adds new images of its directory to a state whose file is in `beside`.
///
/// # Errors
/// As for new states. Batches under way name images by place, so there must be
/// none.
pub fn update(state: &mut State, beside: &Path, copying: Copying) -> Result<Update> {
    if !state.pending.is_empty() {
        return Err(AnnotateError::Pending);
    }
    let there = image_names(&beside.join(&state.meta.images_dir))?;
    let is_new = |name: &&String| state.image(name).is_none();
    let added: Vec<String> = there.iter().filter(is_new).cloned().collect();
    let is_missing = |name: &&String| there.binary_search(name).is_err();
    let missing = state
        .meta
        .images
        .iter()
        .filter(is_missing)
        .cloned()
        .collect();
    if added.is_empty() {
        return Ok(Update { added, missing });
    }
    let mut all = state.meta.images.clone();
    all.extend(added.iter().cloned());
    all.sort_unstable();
    let small = small_names(&all)?;
    let mut records: BTreeMap<String, ImageRecord> = state
        .meta
        .images
        .iter()
        .cloned()
        .zip(state.records.iter().cloned())
        .collect();
    let mut next = state.clone();
    next.records = all
        .iter()
        .map(|image| records.remove(image).unwrap_or_default())
        .collect();
    next.meta.images = all;
    next.meta.images_small = small;
    let pairs: Vec<_> = copies(&next, beside)
        .into_iter()
        .zip(&next.meta.images)
        .filter(|(_, image)| added.contains(image))
        .map(|(pair, _)| pair)
        .collect();
    make_small_copies(&pairs, copying)?;
    *state = next;
    Ok(Update { added, missing })
}

/// Images with their small copies.
fn copies(state: &State, beside: &Path) -> Vec<(PathBuf, PathBuf)> {
    let folder = beside.join(&state.meta.images_dir);
    let pair = |(at, image): (usize, &String)| (folder.join(image), state.small_image(beside, at));
    state.meta.images.iter().enumerate().map(pair).collect()
}

/// Names of small copies, which must differ.
fn small_names(images: &[String]) -> Result<Vec<String>> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut names = Vec::with_capacity(images.len());
    for image in images {
        let name = small_name(image);
        if let Some(other) = seen.insert(name.clone(), image) {
            failures.push(format!(
                "{other} and {image} would have the same small copy {name}; rename one of them"
            ));
        }
        names.push(name);
    }
    match failures.is_empty() {
        true => Ok(names),
        false => Err(AnnotateError::Images { failures }),
    }
}

/// A state whose file moves to another place: its directories stay where they
/// are.
///
/// # Errors
/// The current directory is gone.
pub fn moved(mut state: State, from: &Path, to: &Path) -> Result<State> {
    let (here, there) = (parent(from), parent(to));
    let meta = &mut state.meta;
    for folder in [
        &mut meta.batch_dir,
        &mut meta.images_dir,
        &mut meta.images_small_dir,
    ] {
        *folder = relative(there, &here.join(&*folder))?;
    }
    Ok(state)
}

/// The directory of a file.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The path `to` as seen from the directory `from`.
fn relative(from: &Path, to: &Path) -> Result<String> {
    let plain = |path: &Path| -> Result<Vec<std::ffi::OsString>> {
        let whole = std::path::absolute(path).map_err(AnnotateError::io("find", path))?;
        let mut parts = Vec::new();
        for part in whole.components() {
            match part {
                Component::ParentDir => {
                    parts.pop();
                }
                Component::Normal(name) => parts.push(name.to_owned()),
                _ => {}
            }
        }
        Ok(parts)
    };
    let (from, to) = (plain(from)?, plain(to)?);
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| "..".to_owned());
    let down = to[common..]
        .iter()
        .map(|name| name.to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    Ok(match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    })
}
