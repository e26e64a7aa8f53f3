//! What is asked about each image: pairs that need opinions, dealt into lists
//! (`annotation.md` 7).

use super::deal::{Needed, deal};
use super::prompt::can_be_asked;
use super::state::State;
use crate::annotate::error::{AnnotateError, Result};
use crate::annotate::predictions::{Predictions, pool};
use crate::random::{Draws, Purpose};

/// One list of nouns of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Index of the image.
    pub image: usize,
    /// The nouns, in the order in which they are asked about.
    pub nouns: Vec<String>,
    /// Whether it is the first list of the image.
    pub first: bool,
    /// Whether it is the last one.
    pub last: bool,
}

impl Question {
    /// The same about half of the nouns each; as it is about a single one.
    pub fn halves(self) -> Vec<Self> {
        let middle = self.nouns.len().div_ceil(2);
        let (first, second) = self.nouns.split_at(middle);
        if second.is_empty() {
            return vec![self];
        }
        let half = |nouns: &[String], first, last| Self {
            image: self.image,
            nouns: nouns.to_vec(),
            first,
            last,
        };
        vec![
            half(first, self.first, false),
            half(second, false, self.last),
        ]
    }
}

/// How nouns are dealt into lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dealing {
    /// Nouns per list, at least; usually fewer than twice as many.
    pub min_nouns: usize,
    /// Seed of the random order; none: as they are dealt.
    pub seed: Option<u64>,
}

/// The predicted nouns of every image of a state, sorted by code points: the
/// first `topk` of every file and configuration.
///
/// # Errors
/// There are predictions for other images.
pub fn predicted_nouns(
    files: &[Predictions],
    topk: usize,
    images: &[String],
) -> Result<Vec<Vec<String>>> {
    let mut nouns = vec![Vec::new(); images.len()];
    for predicted in pool(files, topk, &[])? {
        let Ok(at) = images.binary_search(&predicted.image) else {
            let has_it = |file: &&Predictions| file.samples.contains(&predicted.image);
            let path = files.iter().find(has_it).map(|file| file.path.clone());
            return Err(AnnotateError::NotPredictions {
                path: path.unwrap_or_default(),
                reason: format!(
                    "it is about {:?}, which is no image of the state; add new images with \
                     `novic annotate gpt update`",
                    predicted.image
                ),
            });
        };
        nouns[at] = predicted.nouns.into_iter().map(|noun| noun.noun).collect();
        nouns[at].sort_unstable();
    }
    Ok(nouns)
}

impl State {
    /// The lists that are to be asked about one image, given what was predicted
    /// for it. `round` tells repeated questions apart.
    pub fn questions(
        &self,
        image: usize,
        predicted: &[String],
        dealing: Dealing,
        round: u64,
    ) -> Vec<Question> {
        self.lists(image, predicted, dealing, round, |_, need| need)
    }

    /// The same if every pair took as many opinions as allowed.
    pub fn worst_questions(
        &self,
        image: usize,
        predicted: &[String],
        dealing: Dealing,
    ) -> Vec<Question> {
        let max = self.meta.rule.max() as usize;
        let most = |noun: &str, _| {
            let opinions = self.records[image].opinions.get(noun);
            max.saturating_sub(opinions.map_or(0, Vec::len)).max(1)
        };
        self.lists(image, predicted, dealing, 0, most)
    }

    /// The lists, with the number of opinions that `times` says for a pair and
    /// what it needs at least.
    fn lists(
        &self,
        image: usize,
        predicted: &[String],
        dealing: Dealing,
        round: u64,
        times: impl Fn(&str, usize) -> usize,
    ) -> Vec<Question> {
        let name = &self.meta.images[image];
        let known = &self.records[image].opinions;
        let (mut needed, mut done) = (Vec::new(), Vec::new());
        for noun in known.keys() {
            match self.need(image, noun) {
                // What was settled without asking does not fill up lists.
                0 => done.extend(can_be_asked(noun).then(|| noun.clone())),
                need => needed.push(Needed {
                    noun: noun.clone(),
                    need,
                }),
            }
        }
        let min = self.meta.rule.min() as usize;
        for noun in predicted.iter().filter(|noun| !known.contains_key(*noun)) {
            needed.push(Needed {
                noun: noun.clone(),
                need: min,
            });
        }
        needed.retain(|needed| !self.failures.is_parked(name, &needed.noun));
        for needed in &mut needed {
            needed.need = times(&needed.noun, needed.need);
        }
        let mut draws = dealing
            .seed
            .map(|seed| Draws::new(Purpose::Annotation, seed ^ (round << 32), image as u64));
        let lists = deal(needed, &done, dealing.min_nouns, draws.as_mut());
        let count = lists.len();
        let question = |(at, nouns)| Question {
            image,
            nouns,
            first: at == 0,
            last: at + 1 == count,
        };
        lists.into_iter().enumerate().map(question).collect()
    }

    /// The lists of all images from `start` on, up to the end or to `stop` if
    /// that is larger. Returns the image to go on with, too.
    pub fn questions_between(
        &self,
        predicted: &[Vec<String>],
        dealing: Dealing,
        start: usize,
        stop: usize,
        round: u64,
    ) -> (Vec<Question>, usize) {
        let count = self.meta.images.len();
        let end = if stop > start { stop.min(count) } else { count };
        let of = |image| self.questions(image, &predicted[image], dealing, round);
        ((start..end).flat_map(of).collect(), end % count)
    }

    /// Whether a pair needs more opinions and is still asked about.
    pub(super) fn is_open(&self, image: usize, noun: &str) -> bool {
        self.need(image, noun) > 0 && !self.failures.is_parked(&self.meta.images[image], noun)
    }

    /// Pairs that need more opinions and are still asked about.
    pub fn open_pairs<'a>(
        &'a self,
        predicted: &'a [Vec<String>],
    ) -> impl Iterator<Item = (usize, &'a str)> {
        let count = self.meta.images.len();
        (0..count).flat_map(move |image| {
            let known = &self.records[image].opinions;
            let new = predicted.get(image).map_or(&[][..], Vec::as_slice).iter();
            let new = new.filter(|noun| !known.contains_key(*noun));
            let all = known.keys().chain(new).map(String::as_str);
            all.filter(move |noun| self.is_open(image, noun))
                .map(move |noun| (image, noun))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotate::gpt::state::tests::state_of;

    #[test]
    fn nouns_that_were_settled_without_asking_fill_up_no_lists() {
        let mut state = state_of(&["a.png"]);
        let opinions = &mut state.records[0].opinions;
        opinions.insert(String::new(), vec![false; 3]);
        opinions.insert("\u{7}\n".to_owned(), vec![false; 3]);
        opinions.insert("wolf".to_owned(), vec![true; 3]);
        let predicted = ["", "\u{7}\n", "fox"].map(str::to_owned);
        let dealing = Dealing {
            min_nouns: 8,
            seed: None,
        };
        let questions = state.questions(0, &predicted, dealing, 0);
        let lists: Vec<_> = questions.iter().map(|question| &question.nouns).collect();
        assert_eq!(lists, [&["fox", "wolf"]; 3]);
        let predicted = [predicted.to_vec()];
        let open: Vec<_> = state.open_pairs(&predicted).collect();
        assert_eq!(open, [(0, "fox")]);
    }
}
