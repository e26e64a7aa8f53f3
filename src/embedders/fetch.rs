//! Which files of a repository a model needs, whether they are here, and
//! fetching those that are not.

use thiserror::Error;

use super::embedder::Embedder;
use super::error::EmbedderError;
use super::families::{archive_cache, named_tokenizer, required};
use super::files::{ModelFiles, TOKENIZER_FILES, hub_cache};
use super::hf_tokenizer::HfTokenizer;
use super::spec::{Backend, EmbedderSpec};
use crate::net::{
    DownloadError, Downloader, Fetch, Hub, HubError, OPENAI_MODELS, Progress, State, mirrored,
    sha256,
};

/// Largest archive of OpenAI.
const MAX_ARCHIVE: u64 = 8 << 30;

/// Why a model was not fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The hub has no such files, or could not be asked.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// An archive of OpenAI did not arrive.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The repository is none of a model of this kind.
    #[error("repository {repository} has no {}; is {kind} the right type?", .missing.join(", no "))]
    NotAModel {
        /// `owner/name`.
        repository: String,
        /// Type of the specification.
        kind: &'static str,
        /// What was looked for.
        missing: Vec<String>,
    },
    /// The specification names a path.
    #[error("{spec} is a path, which nobody can fetch")]
    IsLocal {
        /// The specification.
        spec: String,
    },
    /// Fetched, but unusable.
    #[error(transparent)]
    Model(#[from] EmbedderError),
}

/// Whether the files of a model are here.
pub fn state(spec: &EmbedderSpec) -> State {
    if spec.backend() == Backend::OpenAi && spec.local_path().is_none() {
        let known = OPENAI_MODELS.iter().find(|known| known.name == spec.name());
        return match known.map(|known| archive_cache().join(known.file)) {
            Some(path) if path.is_file() => State::Present,
            Some(path) if with_ending(&path, "incomplete").is_file() => State::Partial,
            _ => State::Missing,
        };
    }
    let required = required(spec.backend());
    match ModelFiles::resolve(spec, required) {
        Ok(_) => match named_tokenizer(spec) {
            Ok(Some(repository)) if !has_tokenizer(&repository) => State::Partial,
            _ => State::Present,
        },
        Err(
            EmbedderError::NotInCache { missing, .. } | EmbedderError::Incomplete { missing, .. },
        ) if missing.len() < required.len() => State::Partial,
        Err(_) => State::Missing,
    }
}

fn with_ending(path: &std::path::Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

/// When the network is asked for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// When a file is missing.
    #[default]
    Missing,
    /// Always: the branch may have moved.
    Ask,
}

/// Whether the tokenizer of a repository is in the cache.
fn has_tokenizer(repository: &str) -> bool {
    ModelFiles::of_repository(repository)
        .is_some_and(|folder| HfTokenizer::is_in(&ModelFiles::Folder(folder)))
}

/// Fetches the tokenizer of another repository that a model names.
fn fetch_tokenizer(
    hub: &Hub,
    repository: &str,
    downloader: &Downloader,
    renewal: Renewal,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    const REVISION: &str = "main";
    if renewal == Renewal::Missing && has_tokenizer(repository) {
        return Ok(());
    }
    let listing = hub.list(downloader, repository, REVISION)?;
    let files = tokenizers(&listing.files);
    if files.is_empty() {
        return Err(FetchError::NotAModel {
            repository: repository.to_owned(),
            kind: Backend::OpenClip.name(),
            missing: vec!["tokenizer".to_owned()],
        });
    }
    hub.fetch(downloader, repository, REVISION, &listing, &files, progress)?;
    Ok(())
}

/// Fetches the files of a model that are not in the cache, with the tokenizer
/// of another repository if it names one. A model that is
/// complete is left alone, and nobody is asked about it, unless `renewal` says
/// so.
///
/// # Errors
/// Offline; no connection; no such repository; a repository without a model.
pub fn fetch(
    spec: &EmbedderSpec,
    downloader: &Downloader,
    mirror: Option<&str>,
    renewal: Renewal,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let hub = Hub::from_environment(hub_cache());
    if spec.local_path().is_some() {
        return match named_tokenizer(spec) {
            Ok(Some(name)) => fetch_tokenizer(&hub, &name, downloader, renewal, progress),
            _ => Err(FetchError::IsLocal {
                spec: spec.to_string(),
            }),
        };
    }
    if spec.backend() == Backend::OpenAi {
        let known = OPENAI_MODELS.iter().find(|known| known.name == spec.name());
        let known = known.ok_or_else(|| FetchError::NotAModel {
            repository: spec.name().to_owned(),
            kind: spec.backend().name(),
            missing: vec!["published archive".to_owned()],
        })?;
        let target = archive_cache().join(known.file);
        // Its name holds the hash of its content: there is only one of it.
        if target.is_file() && (renewal == Renewal::Missing || is_whole(&target, known.sha256)) {
            return Ok(());
        }
        if hub.offline {
            return Err(HubError::Offline {
                repository: known.address(),
            }
            .into());
        }
        let fetch = Fetch {
            address: &mirrored(&known.address(), mirror),
            target: &target,
            token: None,
            sha256: Some(known.sha256),
            size: None,
            limit: MAX_ARCHIVE,
        };
        downloader.fetch(&fetch, progress)?;
        return Ok(());
    }
    if renewal == Renewal::Missing && is_complete(spec) {
        return Ok(());
    }
    let revision = spec.revision().unwrap_or("main");
    let listing = hub.list(downloader, spec.name(), revision)?;
    let mut files =
        wanted(spec.backend(), &listing.files).map_err(|missing| FetchError::NotAModel {
            repository: spec.name().to_owned(),
            kind: spec.backend().name(),
            missing,
        })?;
    let mut fetch =
        |files: &[String]| hub.fetch(downloader, spec.name(), revision, &listing, files, progress);
    let snapshot = fetch(&files)?;
    // Weights in parts are listed in an index.
    if let Some(index) = files.iter().find(|file| file.ends_with(".index.json")) {
        let index = ModelFiles::Folder(snapshot).read_json(index)?;
        let parts = index["weight_map"].as_object();
        files = parts
            .into_iter()
            .flat_map(|parts| parts.values())
            .filter_map(|part| part.as_str())
            .filter(|part| listing.files.iter().any(|file| file == part))
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        fetch(&files)?;
    }
    match named_tokenizer(spec)? {
        Some(name) => fetch_tokenizer(&hub, &name, downloader, renewal, progress),
        None => Ok(()),
    }
}

/// Whether a model can be opened without the network, parts of weights
/// included.
fn is_complete(spec: &EmbedderSpec) -> bool {
    // Configuration and tokenizer can be read, and there are weights.
    if Embedder::open(spec).is_err() {
        return false;
    }
    let Ok(files) = ModelFiles::resolve(spec, required(spec.backend())) else {
        return false;
    };
    [
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ]
    .into_iter()
    .filter_map(|index| files.read_json(index).ok())
    .all(|index| {
        let parts = index["weight_map"].as_object();
        let parts = parts.into_iter().flat_map(|parts| parts.values());
        parts
            .filter_map(|part| part.as_str())
            .all(|part| files.path(part).is_file())
    })
}

fn is_whole(path: &std::path::Path, wanted: &str) -> bool {
    sha256(path).is_ok_and(|found| found == wanted)
}

/// Files of a repository that a model of this kind needs, or what is missing.
fn wanted(backend: Backend, files: &[String]) -> Result<Vec<String>, Vec<String>> {
    let has = |name: &str| files.iter().any(|file| file == name);
    // `model.safetensors` of an open_clip repository may belong to the other
    // library, so it comes last there.
    let alternatives: &[&[&str]] = match backend {
        Backend::OpenClip => &[
            &["open_clip_config.json"],
            &[
                "open_clip_model.safetensors",
                "open_clip_pytorch_model.bin",
                "model.safetensors",
            ],
        ],
        Backend::Transformers => &[
            &["config.json"],
            &["preprocessor_config.json"],
            &[
                "model.safetensors",
                "model.safetensors.index.json",
                "pytorch_model.bin",
                "pytorch_model.bin.index.json",
            ],
        ],
        Backend::OpenAi => &[],
    };
    let mut wanted = Vec::new();
    let mut missing = Vec::new();
    for names in alternatives {
        match names.iter().find(|name| has(name)) {
            Some(name) => wanted.push((*name).to_owned()),
            None => missing.push(names.join(" or ")),
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    wanted.extend(tokenizers(files));
    Ok(wanted)
}

/// Files of a repository that belong to its tokenizer.
fn tokenizers(files: &[String]) -> Vec<String> {
    let is_there = |name: &&str| files.iter().any(|file| file == name);
    let names = TOKENIZER_FILES.into_iter().filter(is_there);
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_weights_are_wanted() {
        let files: Vec<String> = [
            "config.json",
            "model.safetensors",
            "open_clip_config.json",
            "open_clip_pytorch_model.bin",
            "preprocessor_config.json",
            "tokenizer.json",
            "README.md",
        ]
        .map(str::to_owned)
        .to_vec();
        let open_clip = wanted(Backend::OpenClip, &files).unwrap();
        assert_eq!(
            open_clip,
            [
                "open_clip_config.json",
                "open_clip_pytorch_model.bin",
                "tokenizer.json"
            ]
        );
        let transformers = wanted(Backend::Transformers, &files).unwrap();
        assert!(transformers.contains(&"model.safetensors".to_owned()));
        let missing = wanted(Backend::OpenClip, &files[..2]).unwrap_err();
        assert_eq!(missing, ["open_clip_config.json"]);
    }
}
