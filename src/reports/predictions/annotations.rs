//! Class annotations: what is right for which sample (`reports.md` section 2).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{PredictionsError, Result};

/// Number of a category in an [`Annotations`].
pub type CategoryId = u16;

/// Points of the known categories, in tenths.
const POINTS: [(&str, u64); 5] = [
    ("correct_primary", 10),
    ("correct_secondary", 8),
    ("close_primary", 5),
    ("close_secondary", 4),
    ("incorrect", 0),
];

/// Points of a category in tenths; `None` if it is not known.
pub fn category_tenths(category: &str) -> Option<u64> {
    let found = POINTS.iter().find(|(name, _)| *name == category);
    found.map(|(_, tenths)| *tenths)
}

/// What is right for which sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    categories: Vec<Category>,
    samples: Vec<Sample>,
    places: HashMap<String, usize>,
    nouns: usize,
    unusual: Vec<(String, String)>,
}

/// One category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// Its points in tenths; 0 if it is not known.
    pub tenths: u64,
    /// Whether its name is one of the five.
    pub known: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    key: String,
    /// Categories of each noun, in the order of the file.
    nouns: HashMap<String, Vec<CategoryId>>,
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// It cannot be read, or is no object of samples of categories of nouns.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| PredictionsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |reason| PredictionsError::Annotations {
            path: path.to_owned(),
            reason,
        };
        let entries: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Self::of(&entries).map_err(wrong)
    }

    /// Takes sample → category → nouns, or says what is wrong and where.
    pub fn of(entries: &Map<String, Value>) -> std::result::Result<Self, String> {
        let mut annotations = Self::default();
        for (key, entry) in entries {
            let entry = entry
                .as_object()
                .ok_or_else(|| format!("{key} is no object of categories"))?;
            let mut nouns: HashMap<String, Vec<CategoryId>> = HashMap::new();
            for (category, list) in entry {
                let id = annotations.category(category)?;
                let list = list.as_array();
                let list = list.ok_or_else(|| format!("{key}.{category} is no list of nouns"))?;
                for (at, noun) in list.iter().enumerate() {
                    let noun = noun
                        .as_str()
                        .ok_or_else(|| format!("{key}.{category}[{at}] is no text"))?;
                    let normal = normal_form(noun);
                    if normal != noun {
                        annotations.unusual.push((key.clone(), noun.to_owned()));
                    }
                    let categories = nouns.entry(normal).or_default();
                    if !categories.contains(&id) {
                        categories.push(id);
                        annotations.nouns += 1;
                    }
                }
            }
            let place = annotations.samples.len();
            annotations.places.insert(key.clone(), place);
            annotations.samples.push(Sample {
                key: key.clone(),
                nouns,
            });
        }
        Ok(annotations)
    }

    fn category(&mut self, name: &str) -> std::result::Result<CategoryId, String> {
        let found = self.categories.iter().position(|known| known.name == name);
        let place = found.unwrap_or_else(|| {
            let tenths = category_tenths(name);
            self.categories.push(Category {
                name: name.to_owned(),
                tenths: tenths.unwrap_or(0),
                known: tenths.is_some(),
            });
            self.categories.len() - 1
        });
        CategoryId::try_from(place).map_err(|_| "there are too many categories".to_owned())
    }

    /// Categories in the order in which they first appear.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Name of a category.
    pub fn category_name(&self, id: CategoryId) -> &str {
        self.categories
            .get(usize::from(id))
            .map_or("", |category| category.name.as_str())
    }

    /// Points of a prediction in tenths: of its category, or 0 if it has none.
    pub fn tenths(&self, category: Option<CategoryId>) -> u64 {
        category
            .and_then(|id| self.categories.get(usize::from(id)))
            .map_or(0, |category| category.tenths)
    }

    /// Number of annotated samples.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Number of nouns in all categories of all samples.
    pub fn nouns(&self) -> usize {
        self.nouns
    }

    /// Place of a sample in the file.
    pub fn place(&self, sample: &str) -> Option<usize> {
        self.places.get(sample).copied()
    }

    /// Key of the sample at a place.
    pub fn key(&self, place: usize) -> &str {
        self.samples
            .get(place)
            .map_or("", |sample| sample.key.as_str())
    }

    /// Categories of a noun for the sample at a place, in the order of the
    /// file; empty if it is not annotated.
    pub fn categories_of(&self, place: usize, noun: &str) -> &[CategoryId] {
        let found = self.samples.get(place);
        found
            .and_then(|sample| sample.nouns.get(noun))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether a noun is right for a sample, be it the first choice or not.
    pub fn is_correct(&self, sample: &str, noun: &str) -> bool {
        self.place(sample).is_some_and(|place| {
            let mut categories = self.categories_of(place, noun).iter();
            categories.any(|&id| self.category_name(id).starts_with("correct_"))
        })
    }

    /// Names of categories that give no points because nobody knows them,
    /// sorted.
    pub fn unknown_categories(&self) -> Vec<&str> {
        let unknown = self.categories.iter().filter(|category| !category.known);
        let mut names: Vec<_> = unknown.map(|category| category.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Samples with nouns that are not in normal form; they are compared as if
    /// they were.
    pub fn unusual(&self) -> &[(String, String)] {
        &self.unusual
    }
}

/// A noun with single blanks between its words and none around it.
pub fn normal_form(noun: &str) -> String {
    let mut words = noun.split_whitespace();
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + " " + word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> std::result::Result<Annotations, String> {
        Annotations::of(value.as_object().unwrap())
    }

    #[test]
    fn nouns_are_compared_in_normal_form() {
        let annotations = of(&json!({"a.png": {"correct_primary": [" hot  dog", "hot dog"]}}));
        let annotations = annotations.unwrap();
        assert_eq!(annotations.nouns(), 1);
        assert!(annotations.is_correct("a.png", "hot dog"));
        assert_eq!(
            annotations.unusual(),
            [("a.png".to_owned(), " hot  dog".to_owned())]
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (value, expected) in [
            (json!({"a.png": []}), "a.png is no object"),
            (
                json!({"a.png": {"incorrect": "x"}}),
                "a.png.incorrect is no list",
            ),
            (
                json!({"a.png": {"incorrect": ["x", 1]}}),
                "a.png.incorrect[1] is no text",
            ),
        ] {
            let error = of(&value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
