//! Prediction files as annotators need them: which nouns were predicted for
//! which image, by which files and configurations (`annotation.md` 1.3).
//!
//! [`prediction_files`] finds files, [`Predictions::read`] reads one, [`pool`]
//! joins several. Everything that tells how good predictions are is ignored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{AnnotateError, Result};
use super::pairs::Pairs;
use crate::evaluate::PREDICTION_VERSIONS;

/// Name of a generation configuration, and its nouns per sample.
pub type ConfigNouns = (String, Vec<Vec<String>>);

/// The predictions of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Where they come from.
    pub path: PathBuf,
    /// Name of the model, if the file says it.
    pub model: Option<String>,
    /// Names of the images.
    pub samples: Vec<String>,
    /// By generation configuration: nouns per sample, the best one first.
    pub configs: Vec<ConfigNouns>,
}

/// An image with everything that was predicted for it.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedImage {
    /// Its name.
    pub image: String,
    /// Nouns: best rank first, then those of most files, then by code points.
    pub nouns: Vec<PredictedNoun>,
}

/// A predicted noun.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedNoun {
    /// The noun.
    pub noun: String,
    /// Who predicts it: index of the file, configuration, rank from 0.
    pub by: Vec<PredictedBy>,
}

/// One place of a noun in a prediction file.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedBy {
    /// Index of the file.
    pub file: usize,
    /// Generation configuration.
    pub config: String,
    /// Rank from 0.
    pub rank: usize,
}

impl PredictedNoun {
    /// Best rank over all files and configurations, from 0.
    pub fn rank(&self) -> usize {
        self.by.iter().map(|by| by.rank).min().unwrap_or(usize::MAX)
    }

    /// Number of files that predict it.
    pub fn files(&self) -> usize {
        let files: HashSet<usize> = self.by.iter().map(|by| by.file).collect();
        files.len()
    }
}

/// The part of a file that is read.
#[derive(Deserialize)]
struct Content {
    version: Option<u64>,
    model: Option<String>,
    samples: Vec<String>,
    predictions: Pairs<Config>,
}

#[derive(Deserialize)]
struct Config {
    pred: Vec<Vec<Option<String>>>,
}

impl Predictions {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is something else, or its lists do not belong
    /// together.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(AnnotateError::io("read", path))?;
        let wrong = |reason: String| AnnotateError::NotPredictions {
            path: path.to_owned(),
            reason,
        };
        let content: Content =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let is_unknown = |version: &u64| !PREDICTION_VERSIONS.contains(version);
        if let Some(version) = content.version.filter(is_unknown) {
            return Err(wrong(format!("it has version {version}, which is unknown")));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = content.samples.iter().find(|name| !seen.insert(*name)) {
            return Err(wrong(format!("the sample {twice:?} is there twice")));
        }
        let mut configs = Vec::new();
        for (name, config) in content.predictions.0 {
            if config.pred.len() != content.samples.len() {
                return Err(wrong(format!(
                    "{name} has predictions for {} samples, but there are {}",
                    config.pred.len(),
                    content.samples.len()
                )));
            }
            // Lists are filled up where fewer nouns could be predicted.
            let nouns = |list: Vec<Option<String>>| list.into_iter().flatten().collect();
            configs.push((name, config.pred.into_iter().map(nouns).collect()));
        }
        Ok(Self {
            path: path.to_owned(),
            model: content.model,
            samples: content.samples,
            configs,
        })
    }

    /// Reads several files.
    ///
    /// # Errors
    /// Those of [`Predictions::read`].
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>> {
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The wanted configurations; all of them if none is named.
    fn wanted(&self, names: &[String]) -> Result<Vec<&ConfigNouns>> {
        let is_wanted = |name: &String| names.is_empty() || names.contains(name);
        let found: Vec<_> = self
            .configs
            .iter()
            .filter(|(name, _)| is_wanted(name))
            .collect();
        if found.is_empty() && !names.is_empty() {
            return Err(AnnotateError::NoConfig {
                path: self.path.clone(),
                wanted: names.to_vec(),
                available: self.configs.iter().map(|(name, _)| name.clone()).collect(),
            });
        }
        Ok(found)
    }
}

/// The files of paths: `.json` files, and those that lie in directories. Each
/// one once, sorted by path.
///
/// # Errors
/// A path leads nowhere, or to something else.
pub fn prediction_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let is_json = |path: &Path| path.extension().is_some_and(|ext| ext == "json");
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut add = |path: PathBuf| -> Result<()> {
        let whole = path
            .canonicalize()
            .map_err(AnnotateError::io("read", &path))?;
        files.entry(whole).or_insert(path);
        Ok(())
    };
    for path in paths.iter().filter(|path| !path.as_os_str().is_empty()) {
        if path.is_dir() {
            let mut any = false;
            for entry in path.read_dir().map_err(AnnotateError::io("list", path))? {
                let inner = entry.map_err(AnnotateError::io("list", path))?.path();
                if is_json(&inner) && inner.is_file() {
                    any = true;
                    add(inner)?;
                }
            }
            if !any {
                return Err(AnnotateError::NoPredictions { path: path.clone() });
            }
        } else if is_json(path) {
            add(path.clone())?;
        } else {
            return Err(AnnotateError::NoPredictions { path: path.clone() });
        }
    }
    Ok(files.into_values().collect())
}

/// The first `k` nouns of every file under the configurations `names` (all of
/// them if none is named). Images come in order of first appearance.
///
/// # Errors
/// A file has none of the configurations.
pub fn pool(files: &[Predictions], k: usize, names: &[String]) -> Result<Vec<PredictedImage>> {
    let mut images: Vec<PredictedImage> = Vec::new();
    let mut places: HashMap<&str, (usize, HashMap<&str, usize>)> = HashMap::new();
    for (file, predictions) in files.iter().enumerate() {
        let configs = predictions.wanted(names)?;
        for (sample, image) in predictions.samples.iter().enumerate() {
            let (at, nouns) = places.entry(image).or_insert_with(|| {
                images.push(PredictedImage {
                    image: image.clone(),
                    nouns: Vec::new(),
                });
                (images.len() - 1, HashMap::new())
            });
            let list = &mut images[*at].nouns;
            for (config, lists) in &configs {
                for (rank, noun) in lists[sample].iter().take(k).enumerate() {
                    let place = *nouns.entry(noun).or_insert_with(|| {
                        list.push(PredictedNoun {
                            noun: noun.clone(),
                            by: Vec::new(),
                        });
                        list.len() - 1
                    });
                    list[place].by.push(PredictedBy {
                        file,
                        config: config.clone(),
                        rank,
                    });
                }
            }
        }
    }
    for image in &mut images {
        image.nouns.sort_by(|a, b| {
            let files = || b.files().cmp(&a.files());
            a.rank()
                .cmp(&b.rank())
                .then_with(files)
                .then_with(|| a.noun.cmp(&b.noun))
        });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Predictions> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        std::fs::write(&path, text).unwrap();
        Predictions::read(&path)
    }

    #[test]
    fn nouns_are_ordered_by_rank_then_files_then_name() {
        let first = read(
            r#"{"samples": ["a"], "predictions": {"x": {"pred": [["c", "b", null]]}, "y": {"pred": [["d"]]}}}"#,
        );
        let second = read(r#"{"samples": ["a"], "predictions": {"x": {"pred": [["d", "a"]]}}}"#);
        let files = [first.unwrap(), second.unwrap()];
        let pooled = pool(&files, 2, &[]).unwrap();
        let nouns: Vec<_> = pooled[0]
            .nouns
            .iter()
            .map(|n| (n.noun.as_str(), n.files()))
            .collect();
        assert_eq!(nouns, [("d", 2), ("c", 1), ("a", 1), ("b", 1)]);
        let error = pool(&files, 2, &["y".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("it has x"), "{error}");
    }

    #[test]
    fn lists_that_do_not_belong_together_are_refused() {
        for text in [
            r#"{"samples": ["a", "b"], "predictions": {"x": {"pred": [["c"]]}}}"#,
            r#"{"samples": ["a", "a"], "predictions": {"x": {"pred": [["c"], ["c"]]}}}"#,
            r#"{"version": 3, "samples": [], "predictions": {}}"#,
            r#"{"samples": ["a"]}"#,
            "[]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
