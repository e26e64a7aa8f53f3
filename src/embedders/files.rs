//! From a specification to the files of its model: inside the binary, in a
//! local folder, or in the standard Hugging Face cache (`embedders.md` 2.5).
//! Nothing here touches the network.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::embedded::{self, EmbeddedModel};
use super::error::EmbedderError;
use super::spec::{Backend, EmbedderSpec, suggestion};

/// Largest configuration or tokenizer file that is read into memory.
const MAX_TEXT_FILE: u64 = 64 << 20;

/// Files of tokenizers.
pub(super) const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "vocab.txt",
];

/// The files of one model.
#[derive(Clone, Debug)]
pub enum ModelFiles {
    /// Inside the binary.
    Embedded(&'static EmbeddedModel),
    /// In a folder.
    Folder(PathBuf),
    /// In a folder, with a tokenizer that lies in another one.
    WithTokenizer {
        /// All but the tokenizer.
        folder: PathBuf,
        /// The tokenizer.
        tokenizer: PathBuf,
    },
}

/// A required file: any one of these names will do.
pub type Alternatives = [&'static str];

impl ModelFiles {
    /// Finds the files of a model and checks that each of `required` is there.
    pub fn resolve(spec: &EmbedderSpec, required: &[&Alternatives]) -> Result<Self, EmbedderError> {
        if let Some(folder) = spec.local_path() {
            let files = Self::Folder(folder.clone());
            let missing = files.missing(required);
            return if missing.is_empty() {
                Ok(files)
            } else {
                Err(EmbedderError::Incomplete { folder, missing })
            };
        }
        if spec.backend() == Backend::OpenClip
            && let Some(model) = embedded::models()
                .iter()
                .find(|model| model.name == spec.name())
        {
            return Ok(Self::Embedded(model));
        }
        let cache = hub_cache();
        let snapshot = snapshot(&cache, spec.name(), spec.revision().unwrap_or("main"));
        let missing = match &snapshot {
            Some(folder) => Self::Folder(folder.clone()).missing(required),
            None => required.iter().map(|names| names.join(" or ")).collect(),
        };
        match snapshot {
            Some(folder) if missing.is_empty() => Ok(Self::Folder(folder)),
            _ => Err(EmbedderError::NotInCache {
                spec: spec.to_string(),
                kind: spec.backend().name(),
                repository: spec.name().to_owned(),
                missing,
                cache,
                hint: suggestion(&spec.to_string()),
            }),
        }
    }

    fn missing(&self, required: &[&Alternatives]) -> Vec<String> {
        required
            .iter()
            .filter(|names| !names.iter().any(|name| self.has(name)))
            .map(|names| names.join(" or "))
            .collect()
    }

    /// The files of a repository that are in the hub cache, if there are any.
    pub fn of_repository(repository: &str) -> Option<PathBuf> {
        snapshot(&hub_cache(), repository, "main")
    }

    /// Whether the model has this file.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Embedded(model) => model.file(name).is_some(),
            _ => self.path(name).is_file(),
        }
    }

    /// Path of a file for messages and for mapping into memory.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Embedded(model) => Path::new(model.name).join(name),
            Self::Folder(folder) => folder.join(name),
            Self::WithTokenizer { folder, tokenizer } => match TOKENIZER_FILES.contains(&name) {
                true => tokenizer.join(name),
                false => folder.join(name),
            },
        }
    }

    /// Content of a configuration or tokenizer file.
    pub fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, EmbedderError> {
        let path = self.path(name);
        match self {
            Self::Embedded(model) => {
                model
                    .file(name)
                    .map(Cow::Borrowed)
                    .ok_or(EmbedderError::BadFile {
                        path,
                        reason: "not part of the embedded model".to_owned(),
                    })
            }
            _ => {
                let mut content = Vec::new();
                let read = File::open(&path)
                    .and_then(|file| file.take(MAX_TEXT_FILE + 1).read_to_end(&mut content));
                match read {
                    Ok(_) if content.len() as u64 > MAX_TEXT_FILE => Err(EmbedderError::BadFile {
                        path,
                        reason: format!("larger than {} MiB", MAX_TEXT_FILE >> 20),
                    }),
                    Ok(_) => Ok(Cow::Owned(content)),
                    Err(source) => Err(EmbedderError::Read { path, source }),
                }
            }
        }
    }

    /// A JSON file.
    pub fn read_json(&self, name: &str) -> Result<serde_json::Value, EmbedderError> {
        serde_json::from_slice(&self.read(name)?).map_err(|error| EmbedderError::BadFile {
            path: self.path(name),
            reason: format!("not valid JSON: {error}"),
        })
    }

    /// BLAKE3 over the names and contents of these files.
    pub fn digest(&self, names: &[&str]) -> Result<blake3::Hash, EmbedderError> {
        let mut hasher = blake3::Hasher::new();
        for name in names {
            let digest = match self {
                Self::Embedded(_) => blake3::hash(&self.read(name)?),
                _ => {
                    let path = self.path(name);
                    let mut file = blake3::Hasher::new();
                    File::open(&path)
                        .and_then(|content| file.update_reader(content).map(|_| ()))
                        .map_err(|source| EmbedderError::Read { path, source })?;
                    file.finalize()
                }
            };
            hasher
                .update(name.as_bytes())
                .update(&[0])
                .update(digest.as_bytes());
        }
        Ok(hasher.finalize())
    }
}

/// The standard hub cache: `$HF_HUB_CACHE`, `$HF_HOME/hub`,
/// `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`.
pub fn hub_cache() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .unwrap_or_else(|| {
            std::env::home_dir()
                .unwrap_or_default()
                .join(".cache/huggingface/hub")
        })
}

/// Folder of a repository's snapshot: `revision` is a branch or tag with a file
/// under `refs`, or a commit.
fn snapshot(cache: &Path, repository: &str, revision: &str) -> Option<PathBuf> {
    let root = cache.join(format!("models--{}", repository.replace('/', "--")));
    let commit = match std::fs::read_to_string(root.join("refs").join(revision)) {
        Ok(commit) => commit.trim().to_owned(),
        Err(_) => revision.to_owned(),
    };
    if commit.is_empty() || commit.contains(['/', '\\']) || commit.starts_with('.') {
        return None;
    }
    let folder = root.join("snapshots").join(commit);
    folder.is_dir().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [&Alternatives; 2] = [&["open_clip_config.json"], &["a.safetensors", "a.bin"]];

    #[test]
    fn incomplete_folders_name_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), b"x").unwrap();
        let spec: EmbedderSpec = format!("openclip:{}", folder.path().display())
            .parse()
            .unwrap();
        let error = ModelFiles::resolve(&spec, &REQUIRED)
            .unwrap_err()
            .to_string();
        assert!(error.contains("open_clip_config.json missing"), "{error}");
        std::fs::write(folder.path().join("open_clip_config.json"), b"{}").unwrap();
        assert!(ModelFiles::resolve(&spec, &REQUIRED).is_ok());
    }

    #[test]
    fn a_tokenizer_may_lie_in_another_folder() {
        let (model, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(model.path().join("config.json"), b"model").unwrap();
        std::fs::write(model.path().join("vocab.txt"), b"a stray file").unwrap();
        std::fs::write(other.path().join("tokenizer.json"), b"tokenizer").unwrap();
        std::fs::write(other.path().join("config.json"), b"another model").unwrap();
        let files = ModelFiles::WithTokenizer {
            folder: model.path().to_owned(),
            tokenizer: other.path().to_owned(),
        };
        assert_eq!(files.read("config.json").unwrap().as_ref(), b"model");
        assert_eq!(files.read("tokenizer.json").unwrap().as_ref(), b"tokenizer");
        assert!(!files.has("vocab.txt"), "that of the model is not used");
        let names = ["config.json", "tokenizer.json"];
        let before = files.digest(&names).unwrap();
        std::fs::write(other.path().join("tokenizer.json"), b"changed").unwrap();
        assert_ne!(files.digest(&names).unwrap(), before);
    }

    #[test]
    fn snapshots_are_found_by_branch_and_commit() {
        let cache = tempfile::tempdir().unwrap();
        let root = cache.path().join("models--owner--repo");
        std::fs::create_dir_all(root.join("refs")).unwrap();
        std::fs::create_dir_all(root.join("snapshots/c0ffee")).unwrap();
        std::fs::write(root.join("refs/main"), "c0ffee\n").unwrap();
        let found = Some(root.join("snapshots/c0ffee"));
        assert_eq!(snapshot(cache.path(), "owner/repo", "main"), found);
        assert_eq!(snapshot(cache.path(), "owner/repo", "c0ffee"), found);
        assert_eq!(snapshot(cache.path(), "owner/repo", "other"), None);
        std::fs::write(root.join("refs/evil"), "../../..").unwrap();
        assert_eq!(snapshot(cache.path(), "owner/repo", "evil"), None);
    }
}
