//! Another annotation file beside the one that is being made: a second
//! person's, or a model's.

use std::path::Path;

use serde_json::{Value, json};

use super::super::category::Category;
use super::super::compare::compare;
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
        other.is_some_and(|other| !judges_alike(category, other, self.has_secondary))
    }

    /// Agreement with a file.
    pub fn compared(&self, file: &AnnotationFile) -> Value {
        let found = compare(file, &self.file);
        let categories: Vec<Value> = found
            .categories
            .iter()
            .map(|(name, ours, theirs)| json!({"name": name, "ours": ours, "theirs": theirs}))
            .collect();
        json!({
            "name": self.name,
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

/// Whether two categories mean the same; where the other file does not tell
/// subjects from things beside them, right is right.
pub fn judges_alike(ours: &str, theirs: &str, other_has_secondary: bool) -> bool {
    let kind = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    match other_has_secondary {
        true => ours == theirs,
        false => kind(ours) == kind(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_knows_no_secondary_things_does_not_disagree_about_them() {
        assert!(judges_alike("correct_secondary", "correct_primary", false));
        assert!(!judges_alike("correct_secondary", "correct_primary", true));
        assert!(!judges_alike("close_secondary", "correct_primary", false));
        assert!(judges_alike("incorrect", "incorrect", false));
        let file = AnnotationFile::parse(r#"{"a": {"correct_primary": ["x"]}}"#).unwrap();
        let other = Other::new(Path::new("b/model.json"), file);
        assert!(!other.disagrees("a", "x", "correct_secondary"));
        assert!(other.disagrees("a", "x", "incorrect"));
        assert!(!other.disagrees("a", "y", "incorrect"));
        assert_eq!(other.name, "model.json");
    }
}
