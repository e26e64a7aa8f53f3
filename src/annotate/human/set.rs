//! What there is to judge: the images of a folder with the nouns that were
//! predicted for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::file::{AnnotationFile, HUMAN_FILE};
use super::super::predictions::{PredictedNoun, Predictions, pool, prediction_files};
use super::compare::Other;
use super::error::HumanError;
use super::order::{NounOrder, Order, arrange};

/// Where a set lies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetOptions {
    /// Its name on the page.
    pub name: String,
    /// Folder of the images.
    pub images: PathBuf,
    /// Prediction files, and folders of them.
    pub predictions: Vec<PathBuf>,
    /// Annotation file; none: the usual one in the folder.
    pub annotations: Option<PathBuf>,
    /// Nouns per sample and configuration.
    pub k: usize,
    /// Generation configurations; none: all.
    pub gen_cfg: Vec<String>,
    /// Annotation files to compare with.
    pub compare: Vec<PathBuf>,
    /// Whether links may lead out of the folder.
    pub links: bool,
}

/// A noun to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The noun.
    pub noun: String,
    /// Who predicts it, such as `model · configuration`.
    pub models: Vec<String>,
    /// How many predictions have it as their first.
    pub firsts: usize,
}

/// An image with the nouns to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Name of the image.
    pub image: String,
    /// The nouns in the order of work.
    pub pairs: Vec<Pair>,
}

/// A set of images.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Its name on the page.
    pub name: String,
    /// Folder of the images.
    pub folder: PathBuf,
    /// Annotation file.
    pub annotations: PathBuf,
    /// In the order of work.
    pub items: Vec<Item>,
    /// Files to compare with.
    pub others: Vec<Other>,
    links: bool,
    places: HashMap<String, usize>,
}

impl ImageSet {
    /// Reads the predictions of a set.
    ///
    /// # Errors
    /// Files that are missing or something else.
    pub fn open(
        options: &SetOptions,
        order: Order,
        nouns: NounOrder,
        seed: u64,
    ) -> Result<Self, HumanError> {
        if !options.images.is_dir() {
            return Err(HumanError::NoFolder {
                path: options.images.clone(),
                what: "the pictures",
            });
        }
        let paths = prediction_files(&options.predictions)?;
        let files = Predictions::read_all(&paths)?;
        let names: Vec<String> = files.iter().map(model_name).collect();
        let models = |noun: &PredictedNoun| {
            let mut models: Vec<String> = Vec::new();
            for by in &noun.by {
                let model = format!("{} · {}", names[by.file], by.config);
                if !models.contains(&model) {
                    models.push(model);
                }
            }
            models
        };
        let mut items: Vec<Item> = pool(&files, options.k, &options.gen_cfg)?
            .into_iter()
            .filter(|image| !image.nouns.is_empty())
            .map(|image| Item {
                image: image.image,
                pairs: image
                    .nouns
                    .into_iter()
                    .map(|noun| Pair {
                        models: models(&noun),
                        firsts: noun.by.iter().filter(|by| by.rank == 0).count(),
                        noun: noun.noun,
                    })
                    .collect(),
            })
            .collect();
        arrange(&mut items, order, nouns, seed);
        let annotations = options
            .annotations
            .clone()
            .unwrap_or_else(|| options.images.join(HUMAN_FILE));
        let folder = match annotations.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(HumanError::NoFolder {
                path: folder.to_owned(),
                what: "the annotation file",
            });
        }
        let others = options.compare.iter().map(|path| {
            let file = AnnotationFile::load(path)?;
            Ok::<_, HumanError>(Other::new(path, file))
        });
        Ok(Self {
            name: options.name.clone(),
            links: options.links,
            folder: options.images.clone(),
            annotations,
            others: others.collect::<Result<_, _>>()?,
            places: items
                .iter()
                .enumerate()
                .map(|(place, item)| (item.image.clone(), place))
                .collect(),
            items,
        })
    }

    /// Whether a noun is predicted for an image.
    pub fn predicts(&self, image: &str, noun: &str) -> bool {
        let pairs = self
            .place(image)
            .map_or(&[][..], |at| &self.items[at].pairs);
        pairs.iter().any(|pair| pair.noun == noun)
    }

    /// Drops what others say of the pairs: models, and files to compare with.
    pub(super) fn forget_others(&mut self) {
        self.others.clear();
        for pair in self.items.iter_mut().flat_map(|item| &mut item.pairs) {
            pair.models.clear();
        }
    }

    /// Place of an image.
    pub fn place(&self, image: &str) -> Option<usize> {
        self.places.get(image).copied()
    }

    /// The file of an image, if its name stays in the folder.
    ///
    /// # Errors
    /// Why it has none.
    pub fn path_of(&self, image: &str) -> Result<PathBuf, String> {
        let leaves = || "its name leads out of the folder of the set".to_owned();
        let name = Path::new(image);
        let is_below = |part| matches!(part, std::path::Component::Normal(_));
        if image.is_empty() || !name.components().all(is_below) {
            return Err(leaves());
        }
        let missing = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "the file is missing".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        // A link may lead elsewhere.
        let path = self.folder.join(name).canonicalize().map_err(missing)?;
        let folder = self.folder.canonicalize().map_err(missing)?;
        if self.links || path.starts_with(folder) {
            Ok(path)
        } else {
            Err("it is a link out of the folder of the set; --allow-links shows it".to_owned())
        }
    }

    /// Names of all who predict something, in order of first appearance.
    pub fn models(&self) -> Vec<&str> {
        let mut seen = std::collections::HashSet::new();
        let all = self.items.iter().flat_map(|item| &item.pairs);
        let mut models = Vec::new();
        for model in all.flat_map(|pair| &pair.models) {
            if seen.insert(model.as_str()) {
                models.push(model.as_str());
            }
        }
        models
    }
}

fn model_name(file: &Predictions) -> String {
    file.model.clone().unwrap_or_else(|| {
        let stem = file.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    })
}
