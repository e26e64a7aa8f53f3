//! What was done, in order, and what was taken back.

use serde::{Deserialize, Serialize};

/// A change of the category of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Number, larger than those of earlier ones in all sets.
    pub number: u64,
    /// Actions of one group are undone together.
    pub group: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// Place of the set.
    pub set: usize,
    /// The image.
    pub image: String,
    /// The noun.
    pub noun: String,
    /// The category since then; none: open.
    pub category: Option<String>,
    /// The category before.
    pub previous: Option<String>,
}

/// A line of the journal about one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub(super) enum Event {
    /// A pair got a category.
    Label {
        number: u64,
        group: u64,
        at: u64,
        image: String,
        noun: String,
        category: Option<String>,
        previous: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// An action was taken back.
    Undo { number: u64, of: u64 },
    /// It was done again.
    Redo { number: u64, of: u64 },
    /// The annotation file has everything so far; the hash of its text.
    Saved { hash: String },
    /// Somebody else put a pair into another category at the same time.
    Conflict {
        image: String,
        noun: String,
        ours: Option<String>,
        theirs: Option<String>,
    },
}

impl Event {
    fn number(&self) -> Option<u64> {
        match self {
    /// The annotation file is about to be copied to its backup; the hash of its
    /// text.
    Backup { hash: String },
            Self::Label { number, .. } | Self::Undo { number, .. } | Self::Redo { number, .. } => {
                Some(*number)
            }
            Self::Saved { .. } | Self::Backup { .. } | Self::Conflict { .. } => None,
        }
    }
}

/// Actions that count, and actions that were taken back.
#[derive(Debug, Default)]
pub(super) struct History {
    done: Vec<Action>,
    undone: Vec<Action>,
    last: u64,
}

impl History {
    /// The history that the journals of the sets tell, in the order of the
    /// numbers.
    pub(super) fn of_journals(journals: &[Vec<Event>]) -> Self {
        let mut events: Vec<(u64, usize, &Event)> = Vec::new();
        for (set, journal) in journals.iter().enumerate() {
            events.extend(
                journal
                    .iter()
                    .filter_map(|event| Some((event.number()?, set, event))),
            );
        }
        events.sort_by_key(|(number, set, _)| (*number, *set));
        let mut history = Self::default();
        for (number, set, event) in events {
            history.last = number;
            match event {
                Event::Label {
                    group,
                    at,
                    image,
                    noun,
                    category,
                    previous,
                    ..
                } => {
                    history.undone.clear();
                    history.done.push(Action {
                        number,
                        group: *group,
                        at: *at,
                        set,
                        image: image.clone(),
                        noun: noun.clone(),
                        category: category.clone(),
                        previous: previous.clone(),
                    });
                }
                Event::Undo { of, .. } => {
                    move_action(&mut history.done, &mut history.undone, *of, set);
                }
                Event::Redo { of, .. } => {
                    move_action(&mut history.undone, &mut history.done, *of, set);
                }
                Event::Saved { .. } | Event::Backup { .. } | Event::Conflict { .. } => {}
            }
        }
        history
    }

    /// A number for a new event.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn add(&mut self, action: Action) {
        self.undone.clear();
        self.done.push(action);
    }

    /// What an undo takes back: the last group, its last action first.
    pub(super) fn to_undo(&self) -> Vec<Action> {
        last_group(&self.done)
    }

    /// What a redo does again.
    pub(super) fn to_redo(&self) -> Vec<Action> {
        last_group(&self.undone)
    }

    pub(super) fn undo(&mut self, number: u64, set: usize) {
        move_action(&mut self.done, &mut self.undone, number, set);
    }

    pub(super) fn redo(&mut self, number: u64, set: usize) {
        move_action(&mut self.undone, &mut self.done, number, set);
    }

    pub(super) fn done(&self) -> &[Action] {
        &self.done
    }

    pub(super) fn can_undo(&self) -> bool {
        !self.done.is_empty()
    }

    pub(super) fn can_redo(&self) -> bool {
        !self.undone.is_empty()
    }
}

fn last_group(actions: &[Action]) -> Vec<Action> {
    let Some(last) = actions.last() else {
        return Vec::new();
    };
    let of_group = actions
        .iter()
        .rev()
        .take_while(|action| action.group == last.group);
    of_group.cloned().collect()
}

fn move_action(from: &mut Vec<Action>, to: &mut Vec<Action>, number: u64, set: usize) {
    let is_it = |action: &Action| action.number == number && action.set == set;
    if let Some(place) = from.iter().rposition(is_it) {
        to.push(from.remove(place));
    }
}
