//! How much room answers get: what cut answers teach about an image
//! (`annotation.md` 12).

use std::collections::HashMap;

use super::questions::Question;

/// The room of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// As long as usual.
    #[default]
    Usual,
    /// Twice as long.
    Longer,
    /// Twice as long, and about half of the nouns.
    Halves,
}

impl Room {
    /// How many times longer than usual an answer may be.
    pub(super) fn longer(self) -> u32 {
        match self {
            Self::Usual => 1,
            Self::Longer | Self::Halves => 2,
        }
    }

    /// More room; none if there is no more. A single noun has no halves.
    pub(super) fn more(self, nouns: usize) -> Option<Self> {
        match self {
            Self::Usual => Some(Self::Longer),
            Self::Longer => (nouns > 1).then_some(Self::Halves),
            Self::Halves => None,
        }
    }
}

/// The room that answers about each image get. It only grows.
#[derive(Debug, Default)]
pub(super) struct Rooms(HashMap<usize, Room>);

impl Rooms {
    /// The room of answers about an image.
    pub(super) fn of(&self, image: usize) -> Room {
        self.0.get(&image).copied().unwrap_or_default()
    }

    /// Whether all answers have their usual room.
    pub(super) fn are_usual(&self) -> bool {
        self.0.is_empty()
    }

    /// An answer about so many nouns of an image was cut, in this room. Whether
    /// there is more of it: if not, asking again makes no sense.
    pub(super) fn cut(&mut self, image: usize, room: Room, nouns: usize) -> bool {
        let more = room.more(nouns);
        if let Some(more) = more {
            let known = self.0.entry(image).or_default();
            *known = more.max(*known);
        }
        more.is_some()
    }

    /// A question that was asked in `room`, as it is to be asked now: in halves
    /// if it was not yet, and that is what it takes.
    pub(super) fn fitting(&self, question: Question, room: Room) -> Vec<(Question, Room)> {
        let now = self.of(question.image).max(room);
        let questions = match room < Room::Halves && now == Room::Halves {
            true => question.halves(),
            false => vec![question],
        };
        let fitting = questions.into_iter().map(|question| (question, now));
        fitting.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(nouns: usize) -> Question {
        Question {
            image: 4,
            nouns: (0..nouns).map(|at| format!("n{at}")).collect(),
            first: true,
            last: true,
        }
    }

    fn sizes(fitting: &[(Question, Room)]) -> Vec<(usize, u32)> {
        let size = |(question, room): &(Question, Room)| (question.nouns.len(), room.longer());
        fitting.iter().map(size).collect()
    }

    #[test]
    fn an_answer_that_is_cut_gets_twice_the_length_then_halves_then_nothing() {
        let mut rooms = Rooms::default();
        assert_eq!(sizes(&rooms.fitting(question(5), Room::Usual)), [(5, 1)]);
        assert!(rooms.cut(4, Room::Usual, 5));
        // One that was asked at the same time teaches nothing new.
        assert!(rooms.cut(4, Room::Usual, 5));
        assert_eq!(sizes(&rooms.fitting(question(5), Room::Usual)), [(5, 2)]);
        assert!(rooms.cut(4, Room::Longer, 5));
        let halves = rooms.fitting(question(5), Room::Longer);
        assert_eq!(sizes(&halves), [(3, 2), (2, 2)]);
        // What is halved stays as it is.
        assert_eq!(sizes(&rooms.fitting(question(3), Room::Halves)), [(3, 2)]);
        assert!(!rooms.cut(4, Room::Halves, 3));
        assert_eq!(rooms.of(5), Room::Usual);
    }

    #[test]
    fn a_single_noun_has_no_halves() {
        let mut rooms = Rooms::default();
        assert!(rooms.cut(4, Room::Usual, 1));
        assert!(!rooms.cut(4, Room::Longer, 1));
        assert_eq!(rooms.of(4), Room::Longer);
    }
}
