//! Opinions as an annotation file, and opinions of another state
//! (`annotation.md` 11).

use std::path::Path;

use serde::Serialize;

use super::state::{Asked, State};
use super::visual::same_image;
use crate::annotate::category::Category;
use crate::annotate::error::{AnnotateError, Result};
use crate::annotate::file::AnnotationFile;

/// An exported state.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The annotations.
    pub file: AnnotationFile,
    /// Pairs without an opinion, or that need more; image, noun.
    pub open: Vec<(String, String)>,
    /// What is odd about the state.
    pub warnings: Vec<ExportWarning>,
}

/// Something odd about a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "pairs")]
pub enum ExportWarning {
    /// Batches are under way.
    Pending,
    /// Pairs with fewer or more opinions than there should be: image, noun,
    /// number of opinions.
    UnexpectedNumber(Vec<(String, String, usize)>),
    /// Undecided pairs that could have more opinions.
    UndecidedTooEarly(Vec<(String, String, usize)>),
}

impl std::fmt::Display for ExportWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending => f.write_str("batches are under way; their opinions are missing"),
            Self::UnexpectedNumber(pairs) => {
                write!(
                    f,
                    "{} pairs have an unexpected number of opinions",
                    pairs.len()
                )
            }
            Self::UndecidedTooEarly(pairs) => write!(
                f,
                "{} pairs are close without having as many opinions as allowed",
                pairs.len()
            ),
        }
    }
}

impl State {
    /// What the opinions say. `only_complete` leaves out pairs that need more
    /// of them.
    pub fn export(&self, only_complete: bool) -> Exported {
        let rule = self.meta.rule;
        let mut file = AnnotationFile::new();
        let categories = Category::MODEL_ORDER.map(|category| category.name().to_owned());
        let (mut open, mut unexpected, mut early) = (Vec::new(), Vec::new(), Vec::new());
        for (image, record) in self.meta.images.iter().zip(&self.records) {
            file.enter(image, &categories);
            for (noun, opinions) in &record.opinions {
                let is_open = rule.need_of(opinions) > 0;
                if is_open {
                    open.push((image.clone(), noun.clone()));
                }
                let Some(category) = rule.category_of(opinions) else {
                    continue;
                };
                if is_open && only_complete {
                    continue;
                }
                let count = opinions.len();
                let entry = || (image.clone(), noun.clone(), count);
                if !(rule.min() as usize..=rule.max() as usize).contains(&count) {
                    unexpected.push(entry());
                }
                if category == Category::ClosePrimary && count != rule.max() as usize {
                    early.push(entry());
                }
                file.label(image, noun, Some(category));
            }
        }
        let mut warnings = Vec::new();
        if !self.pending.is_empty() {
            warnings.push(ExportWarning::Pending);
        }
        if !unexpected.is_empty() {
            warnings.push(ExportWarning::UnexpectedNumber(unexpected));
        }
        if !early.is_empty() {
            warnings.push(ExportWarning::UndecidedTooEarly(early));
        }
        Exported {
            file,
            open,
            warnings,
        }
    }

    /// What differs between the questions of two states, for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (own, others) = (&self.meta, &other.meta);
        let line = |name: &str, own: String, other: String| {
            (own != other).then(|| format!("{name} is {own} here and {other} there"))
        };
        let rules = [own.rule, others.rule];
        let [min, min_there] = rules.map(|rule| rule.min().to_string());
        let [max, max_there] = rules.map(|rule| rule.max().to_string());
        let [confidence, confidence_there] = rules.map(|rule| rule.confidence().to_string());
        let other_prompt = || {
            let name = |asked: &Asked| match &asked.prompt_id {
                Some(id) => format!("{id:?}"),
                None => "another one".to_owned(),
            };
            let [own, others] = [&self.asked, &other.asked];
            let is_other = own.prompt_sha256.is_some()
                && others.prompt_sha256.is_some()
                && own.prompt_sha256 != others.prompt_sha256;
            is_other.then(|| {
                let (own, others) = (name(own), name(others));
                format!("the prompt is {own} here and {others} there, of another text")
            })
        };
        [
            other_prompt(),
            line("the model", own.model.clone(), others.model.clone()),
            line("the smallest number of opinions", min, min_there),
            line("the largest number of opinions", max, max_there),
            line("the confidence", confidence, confidence_there),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Takes the opinions of `source` about nouns that this state does not have.
    /// Images of the same name must be the same. `beside` are the directories of
    /// both state files. A state that has not asked yet takes over the prompt, too.
    /// Returns the number of pairs taken.
    ///
    /// # Errors
    /// Batches are under way, or images differ; then nothing is taken.
    pub fn transfer(&mut self, beside: &Path, source: (&State, &Path)) -> Result<usize> {
        let (other, other_beside) = source;
        if !self.pending.is_empty() || !other.pending.is_empty() {
            return Err(AnnotateError::Pending);
        }
        let mut common = Vec::new();
        for (there, image) in other.meta.images.iter().enumerate() {
            let Some(here) = self.image(image) else {
                continue;
            };
            let differs = |what: &str| AnnotateError::OtherImage {
                image: image.clone(),
                what: what.to_owned(),
            };
            if self.meta.images_small[here] != other.meta.images_small[there] {
                return Err(differs("its small copies have different names"));
            }
            let large = beside.join(&self.meta.images_dir).join(image);
            let large_there = other_beside.join(&other.meta.images_dir).join(image);
            let small = self.small_image(beside, here);
            let small_there = other.small_image(other_beside, there);
            for (first, second) in [
                (&large_there, &small_there),
                (&large, &small),
                (&large, &large_there),
                (&small, &small_there),
            ] {
                if first != second && !same_image(first, second)? {
                    return Err(differs(&format!(
                        "{} and {} look different",
                        first.display(),
                        second.display()
                    )));
                }
            }
            common.push((here, there));
        }
        let mut taken = 0;
        for (here, there) in common {
            let own = &mut self.records[here].opinions;
            for (noun, opinions) in &other.records[there].opinions {
                if !own.contains_key(noun) {
                    own.insert(noun.clone(), opinions.clone());
                    taken += 1;
                }
            }
        }
        if taken > 0 && self.asked.prompt_sha256.is_none() {
            self.asked.prompt_id.clone_from(&other.asked.prompt_id);
            self.asked
                .prompt_sha256
                .clone_from(&other.asked.prompt_sha256);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotate::gpt::state::tests::state_of;

    fn asked_with(prompt: Option<(&str, &str)>) -> State {
        let mut state = state_of(&[]);
        state.asked.prompt_id = prompt.map(|(id, _)| id.to_owned());
        state.asked.prompt_sha256 = prompt.map(|(_, hash)| hash.to_owned());
        state
    }

    #[test]
    fn another_prompt_is_a_difference_and_an_unknown_one_is_none() {
        let one = asked_with(Some(("own", "12")));
        let differences = one.differences(&asked_with(Some(("own", "34"))));
        assert_eq!(
            differences,
            [r#"the prompt is "own" here and "own" there, of another text"#]
        );
        for same in [Some(("own", "12")), None] {
            assert!(one.differences(&asked_with(same)).is_empty());
            assert!(asked_with(same).differences(&one).is_empty());
        }
    }
}
