//! Several annotation files of one image set as one (`annotation.md` 1.4).

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::category::points_of;
use super::error::{AnnotateError, Result};
use super::file::AnnotationFile;

/// Which category counts if files disagree about a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// None: that is an error.
    #[default]
    Error,
    /// That of the first file that has the pair.
    First,
    /// That of the last file that has the pair.
    Last,
    /// The one with fewer points.
    Lower,
    /// The one that most files say; if there are several, that is an error.
    Majority,
}

/// A pair in several categories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The image.
    pub image: String,
    /// The noun.
    pub noun: String,
    /// What each file that has it says: name of the file, category.
    pub votes: Vec<(String, String)>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.image, self.noun)?;
        for (at, (file, category)) in self.votes.iter().enumerate() {
            let mark = if at == 0 { "" } else { "," };
            write!(f, "{mark} {category} in {file}")?;
        }
        Ok(())
    }
}

/// A merged file.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The union: sorted by image, nouns in order of first appearance.
    pub file: AnnotationFile,
    /// Pairs that the files disagree about, and that the policy has decided.
    pub settled: Vec<Conflict>,
}

/// Merges files with their names for messages.
///
/// # Errors
/// Pairs that the policy does not decide, all of them at once.
pub fn merge(files: &[(String, AnnotationFile)], policy: Policy) -> Result<Merged> {
    let images: BTreeSet<&str> = files
        .iter()
        .flat_map(|(_, file)| file.images().iter().map(|entry| entry.image.as_str()))
        .collect();
    let mut merged = AnnotationFile::new();
    let categories = categories(files);
    let (mut settled, mut conflicts) = (Vec::new(), Vec::new());
    for image in images {
        merged.enter(image, &categories);
        for (noun, votes) in votes(files, image) {
            let said: Vec<&str> = votes.iter().map(|(_, category)| *category).collect();
            let agreed = said.iter().all(|category| *category == said[0]);
            let conflict = || Conflict {
                image: image.to_owned(),
                noun: noun.to_owned(),
                votes: votes
                    .iter()
                    .map(|(file, category)| ((*file).to_owned(), (*category).to_owned()))
                    .collect(),
            };
            match decide(&said, policy) {
                Some(category) => {
                    merged.put(image, noun, Some(category));
                    if !agreed {
                        settled.push(conflict());
                    }
                }
                None => conflicts.push(conflict()),
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(AnnotateError::Conflicts { conflicts });
    }
    merged.sort();
    Ok(Merged {
        file: merged,
        settled,
    })
}

/// All categories in order of first appearance; the five if there are none.
fn categories(files: &[(String, AnnotationFile)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let five = super::category::Category::HUMAN_ORDER.map(|category| category.name().to_owned());
    let found = files.iter().flat_map(|(_, file)| file.categories());
    for name in found.chain(five) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The nouns of an image in order of first appearance, with what each file
/// says.
fn votes<'a>(
    files: &'a [(String, AnnotationFile)],
    image: &str,
) -> Vec<(&'a str, Vec<(&'a str, &'a str)>)> {
    let mut nouns: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, file) in files {
        let entries = file
            .image(image)
            .into_iter()
            .flat_map(|entry| entry.nouns());
        for (noun, category) in entries {
            let at = *places.entry(noun).or_insert_with(|| {
                nouns.push((noun, Vec::new()));
                nouns.len() - 1
            });
            nouns[at].1.push((name, category));
        }
    }
    nouns
}

/// The category that counts, if the policy decides.
fn decide<'a>(said: &[&'a str], policy: Policy) -> Option<&'a str> {
    let first = *said.first()?;
    if said.iter().all(|category| *category == first) {
        return Some(first);
    }
    match policy {
        Policy::Error => None,
        Policy::First => Some(first),
        Policy::Last => said.last().copied(),
        Policy::Lower => {
            let lower = |a: &&&str, b: &&&str| points_of(a).total_cmp(&points_of(b));
            said.iter().min_by(lower).copied()
        }
        Policy::Majority => {
            let count = |category: &str| said.iter().filter(|other| **other == category).count();
            let most = said.iter().map(|category| count(category)).max()?;
            let mut winners = said.iter().filter(|category| count(category) == most);
            let winner = winners.next()?;
            winners.all(|other| other == winner).then_some(*winner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> Vec<(String, AnnotationFile)> {
        let file = |(at, text): (usize, &&str)| {
            let file = AnnotationFile::parse(text).unwrap();
            (format!("{at}.json"), file)
        };
        texts.iter().enumerate().map(file).collect()
    }

    #[test]
    fn a_union_is_sorted_by_image_and_keeps_the_order_of_nouns() {
        let files = files(&[
            r#"{"b": {"incorrect": ["y", "x"]}, "a": {"correct_primary": ["z"]}}"#,
            r#"{"b": {"incorrect": ["x", "w"]}, "aa": {}}"#,
        ]);
        let merged = merge(&files, Policy::Error).unwrap();
        let names: Vec<_> = merged
            .file
            .images()
            .iter()
            .map(|entry| entry.image.as_str())
            .collect();
        assert_eq!(names, ["a", "aa", "b"]);
        let nouns: Vec<_> = merged.file.image("b").unwrap().nouns().collect();
        assert_eq!(
            nouns,
            [("y", "incorrect"), ("x", "incorrect"), ("w", "incorrect")]
        );
        assert!(merged.settled.is_empty());
    }

    #[test]
    fn policies_decide_conflicts() {
        let files = files(&[
            r#"{"a": {"close_primary": ["x"]}}"#,
            r#"{"a": {"correct_primary": ["x"]}}"#,
            r#"{"a": {"correct_primary": ["x"]}}"#,
            r#"{"a": {"incorrect": ["x"]}}"#,
        ]);
        for (policy, expected) in [
            (Policy::First, "close_primary"),
            (Policy::Last, "incorrect"),
            (Policy::Lower, "incorrect"),
            (Policy::Majority, "correct_primary"),
        ] {
            let merged = merge(&files, policy).unwrap();
            assert_eq!(merged.file.category_of("a", "x"), Some(expected));
            assert_eq!(merged.settled.len(), 1);
        }
        let error = merge(&files, Policy::Error).unwrap_err().to_string();
        assert!(error.contains("close_primary in 0.json"), "{error}");
        assert!(merge(&files[..2], Policy::Majority).is_err());
    }
}
