//! Another annotation file beside the one that is being made: a second
//! person's, or a model's.

use std::path::Path;

use serde_json::{Value, json};

use super::super::category::Category;
use super::super::compare::compare_by;
use super::super::file::AnnotationFile;

/// A file to compare with.
#[derive(Clone, Debug)]
pub struct Other {
    /// Name of the file.
    pub name: String,
    /// What it says.
    pub file: AnnotationFile,
    /// Whether it tells subjects from things beside them. Files made by a model
    /// do not.
    has_secondary: bool,
}

impl Other {
    /// A file with its name.
    pub fn new(path: &Path, file: AnnotationFile) -> Self {
        let has_secondary = file.images().iter().any(|image| {
            let secondary = [Category::CorrectSecondary, Category::CloseSecondary];
            secondary
                .iter()
                .any(|category| !image.of(*category).is_empty())
        });
        Self {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            file,
            has_secondary,
        }
    }

    /// What it says of a pair.
    pub fn category_of(&self, image: &str, noun: &str) -> Option<&str> {
        self.file.category_of(image, noun)
    }

    /// Whether it says something else than `category`.
    pub fn disagrees(&self, image: &str, noun: &str, category: &str) -> bool {
        let other = self.category_of(image, noun);
        other.is_some_and(|other| self.meaning(category) != self.meaning(other))
    }

    /// What a category means beside this file: where it does not tell subjects
    /// from things beside them, right is right.
    fn meaning<'a>(&self, category: &'a str) -> &'a str {
        match (self.has_secondary, category.split_once('_')) {
            (false, Some((kind, _))) if Category::of_name(category).is_some() => kind,
            _ => category,
        }
    }

    /// Agreement with a file, in the sense of [`Other::disagrees`].
    pub fn compared(&self, file: &AnnotationFile) -> Value {
        let found = compare_by(file, &self.file, |category| self.meaning(category));
        let categories: Vec<Value> = found
            .categories
            .iter()
            .map(|(name, ours, theirs)| json!({"name": name, "ours": ours, "theirs": theirs}))
            .collect();
        json!({
            "name": self.name,
            "tells_secondary": self.has_secondary,
            "categories": categories,
            "both": found.both,
            "agreed": found.agreed,
            "agreement": found.agreement,
            "kappa": found.kappa,
            "conflicts": found.conflicts.len(),
            "only_ours": found.only_first.len(),
            "only_theirs": found.only_second.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_knows_no_secondary_things_does_not_disagree_about_them() {
        let file = AnnotationFile::parse(r#"{"a": {"correct_primary": ["x"]}}"#).unwrap();
        let other = Other::new(Path::new("b/model.json"), file);
        assert!(!other.disagrees("a", "x", "correct_secondary"));
        assert!(other.disagrees("a", "x", "incorrect"));
        assert!(other.disagrees("a", "x", "close_secondary"));
        assert!(other.disagrees("a", "x", "correct_of_another_kind"));
        assert!(!other.disagrees("a", "y", "incorrect"));
        assert_eq!(other.name, "model.json");
        let person = r#"{"a": {"correct_primary": ["x"], "close_secondary": ["y"]}}"#;
        let person = Other::new(
            Path::new("anna.json"),
            AnnotationFile::parse(person).unwrap(),
        );
        assert!(person.disagrees("a", "x", "correct_secondary"));
    }

    #[test]
    fn agreement_is_told_in_the_sense_of_the_filter() {
        let theirs = r#"{"a": {"correct_primary": ["x", "y"], "incorrect": ["z", "v"]}}"#;
        let ours = r#"{"a": {"correct_primary": ["x"], "correct_secondary": ["y"],
                             "close_secondary": ["z"], "incorrect": ["v"]}}"#;
        let other = Other::new(Path::new("m.json"), AnnotationFile::parse(theirs).unwrap());
        let ours = AnnotationFile::parse(ours).unwrap();
        let told = other.compared(&ours);
        assert_eq!(
            (&told["agreed"], &told["conflicts"]),
            (&json!(3), &json!(1))
        );
        let differing = ours.images()[0]
            .nouns()
            .filter(|(noun, category)| other.disagrees("a", noun, category));
        assert_eq!(differing.count(), 1);
        // Observed 3/4; by chance (2·2 + 1·0 + 1·2) / 16.
        let kappa = (0.75 - 0.375) / (1.0 - 0.375);
        assert!((told["kappa"].as_f64().unwrap() - kappa).abs() < 1e-12);
        assert_eq!(
            told["categories"][1],
            json!({"name": "correct_secondary", "ours": 1, "theirs": 0})
        );
    }
}
