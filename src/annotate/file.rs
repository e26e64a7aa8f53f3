//! Annotation files: image → category → nouns (`annotation.md` 1).
//!
//! [`AnnotationFile`] keeps the order of images, of categories and of nouns,
//! and categories that it does not know. Reading accepts any JSON of that form
//! and refuses everything else, so that nothing foreign is ever overwritten.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::category::Category;
use super::error::{AnnotateError, Result};
use super::pairs::Pairs;
use crate::evaluate::json_text;
use crate::store::write_file;

/// Name of the file that people's annotations have in an image directory.
pub const HUMAN_FILE: &str = "_class_annotations.json";

/// Name of the file that a model's annotations have in an image directory.
pub const MODEL_FILE: &str = "_class_annotations_gpt.json";

/// The annotations of one image set by one kind of annotator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnnotationFile {
    images: Vec<ImageAnnotations>,
    places: HashMap<String, usize>,
    sorted: bool,
}

/// The annotations of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageAnnotations {
    /// File name of the image.
    pub image: String,
    /// Categories with their nouns.
    pub categories: Vec<(String, Vec<String>)>,
    /// Whether the file did not have it when it was read.
    added: bool,
}

/// Something about a file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A noun stands more than once at an image.
    Repeated {
        /// The image.
        image: String,
        /// The noun.
        noun: String,
        /// The categories it stands in.
        categories: Vec<String>,
    },
    /// A category that is none of the five; it scores nothing.
    UnknownCategory {
        /// An image that has it.
        image: String,
        /// Its name.
        category: String,
    },
    /// A category that an image lacks; it counts as empty.
    MissingCategory {
        /// The image.
        image: String,
        /// Its name.
        category: &'static str,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repeated {
                image,
                noun,
                categories,
            } => write!(f, "{image}: {noun:?} stands in {}", categories.join(", ")),
            Self::UnknownCategory { image, category } => {
                write!(f, "{image}: unknown category {category:?}, which scores 0")
            }
            Self::MissingCategory { image, category } => {
                write!(f, "{image}: {category} is missing, and counts as empty")
            }
        }
    }
}

impl Flaw {
    /// Whether it makes scores wrong, other than being untidy.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Repeated { .. })
    }
}

impl ImageAnnotations {
    /// An image whose categories are all empty.
    fn empty(image: &str, categories: &[String]) -> Self {
        let list = |category: &String| (category.clone(), Vec::new());
        Self {
            image: image.to_owned(),
            categories: categories.iter().map(list).collect(),
            added: true,
        }
    }

    /// All nouns with their categories, in the order of the file.
    pub fn nouns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.categories.iter().flat_map(|(category, nouns)| {
            nouns
                .iter()
                .map(move |noun| (noun.as_str(), category.as_str()))
        })
    }

    /// Nouns of a category.
    pub fn of(&self, category: Category) -> &[String] {
        let named = |(name, _): &&(String, Vec<String>)| name == category.name();
        self.categories
            .iter()
            .find(named)
            .map_or(&[], |(_, nouns)| nouns)
    }

    /// Category of a noun.
    pub fn category_of(&self, noun: &str) -> Option<&str> {
        let found = self.nouns().find(|(known, _)| *known == noun);
        found.map(|(_, category)| category)
    }

    /// Whether no category has a noun.
    pub fn is_empty(&self) -> bool {
        self.categories.iter().all(|(_, nouns)| nouns.is_empty())
    }

    fn push(&mut self, category: &str, noun: &str) {
        let found = self
            .categories
            .iter_mut()
            .find(|(name, _)| name == category);
        match found {
            Some((_, nouns)) => nouns.push(noun.to_owned()),
            None => {
                let nouns = vec![noun.to_owned()];
                self.categories.push((category.to_owned(), nouns));
            }
        }
    }
}

impl AnnotationFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is missing, cannot be read, or is something else.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(AnnotateError::io("read", path))?;
        Self::parse(&text).map_err(|reason| AnnotateError::NotAnnotations {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads a file, or begins an empty one if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn load_or_new(path: &Path) -> Result<Self> {
        match Self::load(path) {
            Err(error) if error.is_not_found() => Ok(Self::new()),
            other => other,
        }
    }

    /// The content of a text, or what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        type Categories = Pairs<Vec<String>>;
        let mut reader = serde_json::Deserializer::from_str(text);
        let parsed = Pairs::<Categories>::deserialize(&mut reader)
            .and_then(|pairs| reader.end().map(|()| pairs))
            .map_err(|error| match error.is_data() {
                true => format!("expected image → category → nouns; {error}"),
                false => format!("it is no JSON: {error}"),
            })?;
        let mut file = Self::new();
        for (image, Pairs(categories)) in parsed.0 {
            file.add(ImageAnnotations {
                image,
                categories,
                added: false,
            });
        }
        file.sorted = file.images.len() > 1 && file.images.is_sorted_by(|a, b| a.image < b.image);
        Ok(file)
    }

    fn add(&mut self, entry: ImageAnnotations) {
        self.places.insert(entry.image.clone(), self.images.len());
        self.images.push(entry);
    }

    /// All images, in the order of the file.
    pub fn images(&self) -> &[ImageAnnotations] {
        &self.images
    }

    /// An image.
    pub fn image(&self, image: &str) -> Option<&ImageAnnotations> {
        self.places.get(image).map(|&at| &self.images[at])
    }

    /// Category of a pair.
    pub fn category_of(&self, image: &str, noun: &str) -> Option<&str> {
        self.image(image)?.category_of(noun)
    }

    /// Number of annotated pairs.
    pub fn pairs(&self) -> usize {
        let count = |entry: &ImageAnnotations| entry.nouns().count();
        self.images.iter().map(count).sum()
    }

    /// Names of all categories, in order of first appearance.
    pub fn categories(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.images.iter().flat_map(|entry| &entry.categories) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Categories that a new image gets: those of the file, and those of the
    /// five that it lacks.
    fn all_categories(&self) -> Vec<String> {
        let mut names = self.categories();
        for category in Category::HUMAN_ORDER {
            if !names.iter().any(|name| name == category.name()) {
                names.push(category.name().to_owned());
            }
        }
        names
    }

    /// Puts a pair into a category, or into none, which leaves it open. An
    /// image that the file does not have is appended, or put into its place if
    /// the file is sorted; one that it did not have goes with its last label.
    /// Returns the category that the pair had.
    pub fn label(&mut self, image: &str, noun: &str, category: Option<Category>) -> Option<String> {
        self.put(image, noun, category.map(Category::name))
    }

    /// [`AnnotationFile::label`] with a category of any name.
    pub fn put(&mut self, image: &str, noun: &str, category: Option<&str>) -> Option<String> {
        let previous = self.category_of(image, noun).map(str::to_owned);
        if previous.as_deref() == category {
            return previous;
        }
        if let Some(&at) = self.places.get(image) {
            for (_, nouns) in &mut self.images[at].categories {
                nouns.retain(|known| known != noun);
            }
        }
        if let Some(category) = category {
            let at = self.place_of(image);
            self.images[at].push(category, noun);
        } else if let Some(&at) = self.places.get(image)
            && self.images[at].added
            && self.images[at].is_empty()
        {
            self.images.remove(at);
            self.find_places();
        }
        previous
    }

    /// Where an image is, which is made if it is new.
    fn place_of(&mut self, image: &str) -> usize {
        if let Some(&at) = self.places.get(image) {
            return at;
        }
        let entry = ImageAnnotations::empty(image, &self.all_categories());
        if !self.sorted {
            self.add(entry);
            return self.images.len() - 1;
        }
        let at = self
            .images
            .partition_point(|known| known.image.as_str() < image);
        self.images.insert(at, entry);
        self.find_places();
        at
    }

    fn find_places(&mut self) {
        let places = self.images.iter().zip(0..);
        self.places = places
            .map(|(entry, at)| (entry.image.clone(), at))
            .collect();
    }

    /// Enters an image with empty lists for all its categories, unless it is
    /// there. Whether it was not.
    pub(super) fn enter(&mut self, image: &str, categories: &[String]) -> bool {
        if self.places.contains_key(image) {
            return false;
        }
        self.add(ImageAnnotations::empty(image, categories));
        true
    }

    /// Whether every pair of `other` stands here, in the same category.
    pub fn has_all_of(&self, other: &Self) -> bool {
        other.images.iter().all(|entry| {
            let mut nouns = entry.nouns();
            nouns.all(|(noun, category)| self.category_of(&entry.image, noun) == Some(category))
        })
    }

    /// Whether the file is such as a model's opinions make: its images have the
    /// five categories in the order of exports, and nothing secondary.
    pub fn could_be_an_export(&self) -> bool {
        self.images.iter().all(|entry| {
            let names = entry.categories.iter().map(|(name, _)| name.as_str());
            let secondary = [Category::CorrectSecondary, Category::CloseSecondary];
            names.eq(Category::MODEL_ORDER.map(Category::name))
                && secondary
                    .iter()
                    .all(|category| entry.of(*category).is_empty())
        })
    }

    /// Sorts the images by name, in the order of code points.
    pub fn sort(&mut self) {
        self.images.sort_by(|a, b| a.image.cmp(&b.image));
        self.sorted = true;
        self.find_places();
    }

    /// What is not as it should be.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let mut unknown: Vec<&str> = Vec::new();
        for entry in &self.images {
            let image = || entry.image.clone();
            let mut seen: Vec<(&str, Vec<&str>)> = Vec::new();
            let mut at: HashMap<&str, usize> = HashMap::new();
            for (noun, category) in entry.nouns() {
                let place = *at.entry(noun).or_insert_with(|| {
                    seen.push((noun, Vec::new()));
                    seen.len() - 1
                });
                seen[place].1.push(category);
            }
            for (noun, categories) in seen {
                if categories.len() > 1 {
                    flaws.push(Flaw::Repeated {
                        image: image(),
                        noun: noun.to_owned(),
                        categories: categories.into_iter().map(str::to_owned).collect(),
                    });
                }
            }
            for (name, _) in &entry.categories {
                if Category::of_name(name).is_none() && !unknown.contains(&name.as_str()) {
                    unknown.push(name);
                    flaws.push(Flaw::UnknownCategory {
                        image: image(),
                        category: name.clone(),
                    });
                }
            }
            for category in Category::ALL {
                let is = |(name, _): &(String, Vec<String>)| name == category.name();
                if !entry.categories.iter().any(is) {
                    flaws.push(Flaw::MissingCategory {
                        image: image(),
                        category: category.name(),
                    });
                }
            }
        }
        flaws
    }

    /// The content of the file.
    pub fn text(&self) -> String {
        let entry = |entry: &ImageAnnotations| {
            let list =
                |(name, nouns): &(String, Vec<String>)| (name.clone(), Value::from(nouns.clone()));
            let categories: Map<String, Value> = entry.categories.iter().map(list).collect();
            (entry.image.clone(), Value::Object(categories))
        };
        json_text(&Value::Object(self.images.iter().map(entry).collect()))
    }

    /// Writes the file, which is complete or as it was before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_file(path, self.text().as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{\n  \"b.jpg\": {\n    \"incorrect\": [\"x\"],\n    \"odd\": []\n  },\n  \
                        \"a.jpg\": {}\n}";

    #[test]
    fn an_unchanged_file_keeps_its_text() {
        assert_eq!(AnnotationFile::parse(FILE).unwrap().text(), FILE);
    }

    #[test]
    fn labels_move_and_new_images_come_with_five_categories() {
        let mut file = AnnotationFile::parse(FILE).unwrap();
        assert_eq!(
            file.label("b.jpg", "x", Some(Category::ClosePrimary))
                .as_deref(),
            Some("incorrect")
        );
        assert_eq!(file.category_of("b.jpg", "x"), Some("close_primary"));
        file.label("c.jpg", "y", Some(Category::Incorrect));
        let added = file.image("c.jpg").unwrap();
        let names: Vec<_> = added
            .categories
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names.len(), 6, "{names:?}");
        // It is not added without any label.
        file.label("c.jpg", "y", None);
        assert!(file.image("c.jpg").is_none());
        // But what the file had stays.
        file.label("b.jpg", "x", None);
        assert!(file.image("b.jpg").unwrap().is_empty());
    }

    #[test]
    fn sorted_files_stay_sorted() {
        let mut file = AnnotationFile::parse(r#"{"a": {}, "c": {}}"#).unwrap();
        file.label("b", "x", Some(Category::Incorrect));
        let names: Vec<_> = file
            .images()
            .iter()
            .map(|entry| entry.image.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(file.category_of("c", "x"), None);
        assert_eq!(file.category_of("b", "x"), Some("incorrect"));
    }

    #[test]
    fn whatever_is_no_annotation_file_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{} x",
            r#"{"a": 1}"#,
            r#"{"a": {"incorrect": "x"}}"#,
            r#"{"a": {"incorrect": [1]}}"#,
            r#"{"a": {}, "a": {}}"#,
            r#"{"a": {"incorrect": [], "incorrect": ["x"]}}"#,
        ] {
            assert!(AnnotationFile::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_models_are_told_from_those_of_people() {
        let models = r#"{"a": {"correct_primary": ["x"], "correct_secondary": [],
            "close_primary": [], "close_secondary": [], "incorrect": []}}"#;
        let looks = |text: &str| AnnotationFile::parse(text).unwrap().could_be_an_export();
        assert!(looks(models) && looks("{}"));
        assert!(!looks(&models.replace(
            r#""close_secondary": []"#,
            r#""close_secondary": ["y"]"#
        )));
        assert!(!looks(&models.replace(r#", "incorrect": []"#, "")));
        assert!(!looks(&models.replace("incorrect", "odd")));
        let mut people = AnnotationFile::new();
        people.label("a", "x", Some(Category::CorrectPrimary));
        assert!(!people.could_be_an_export());
        // The same labels in another order.
        let models = AnnotationFile::parse(models).unwrap();
        assert!(people.has_all_of(&models) && models.has_all_of(&people));
        people.label("a", "x", Some(Category::Incorrect));
        assert!(!people.has_all_of(&models) && !models.has_all_of(&people));
        assert!(people.has_all_of(&AnnotationFile::new()));
    }

    #[test]
    fn flaws_are_named() {
        let file = AnnotationFile::parse(r#"{"a": {"incorrect": ["x"], "odd": ["x"]}}"#).unwrap();
        let flaws = file.flaws();
        assert_eq!(flaws.iter().filter(|flaw| flaw.is_error()).count(), 1);
        assert_eq!(flaws.len(), 1 + 1 + 4);
    }
}
