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
    /// Whether the person of this session has done it, in this session or,
    /// by name, in an earlier one.
    pub is_own: bool,
}

/// Whose history it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'a> {
    /// Name of the person; without one, nothing of earlier sessions is theirs.
    pub(super) name: Option<&'a str>,
    /// What others did is neither shown nor taken back.
    pub(super) own_only: bool,
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
    /// The annotation file is about to be copied to its backup; the hash of its
    /// text.
    Backup { hash: String },
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
    own_only: bool,
}

impl History {
    /// The history that the journals of the sets tell, in the order of the
    /// numbers, as `reader` may see it.
    pub(super) fn of_journals(journals: &[Vec<Event>], reader: Reader<'_>) -> Self {
        let mut events: Vec<(u64, usize, &Event)> = Vec::new();
        for (set, journal) in journals.iter().enumerate() {
            events.extend(
                journal
                    .iter()
                    .filter_map(|event| Some((event.number()?, set, event))),
            );
        }
        events.sort_by_key(|(number, set, _)| (*number, *set));
        let mut history = Self {
            own_only: reader.own_only,
            ..Self::default()
        };
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
                    by,
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
                        is_own: reader.name.is_some() && by.as_deref() == reader.name,
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
        self.last_group(&self.done)
    }

    /// What a redo does again.
    pub(super) fn to_redo(&self) -> Vec<Action> {
        self.last_group(&self.undone)
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

    /// The category that the person of this session has put a pair into last;
    /// none if somebody else has judged it since, or nobody.
    pub(super) fn own_label(&self, set: usize, image: &str, noun: &str) -> Option<&str> {
        let mut latest = self.done.iter().rev();
        let of_pair = latest.find(|action| action.is_about(set, image, noun))?;
        of_pair.category.as_deref().filter(|_| of_pair.is_own)
    }

    /// Whether a pair was ever judged, be it that it was taken back.
    pub(super) fn has(&self, set: usize, image: &str, noun: &str) -> bool {
        let mut all = self.done.iter().chain(&self.undone);
        all.any(|action| self.may_touch(action) && action.is_about(set, image, noun))
    }

    pub(super) fn can_undo(&self) -> bool {
        self.last_of(&self.done).is_some()
    }

    pub(super) fn can_redo(&self) -> bool {
        self.last_of(&self.undone).is_some()
    }

    fn may_touch(&self, action: &Action) -> bool {
        action.is_own || !self.own_only
    }

    fn last_of<'a>(&self, actions: &'a [Action]) -> Option<&'a Action> {
        actions.last().filter(|action| self.may_touch(action))
    }

    fn last_group(&self, actions: &[Action]) -> Vec<Action> {
        let Some(last) = self.last_of(actions) else {
            return Vec::new();
        };
        let of_group = actions
            .iter()
            .rev()
            .take_while(|action| action.group == last.group);
        of_group.cloned().collect()
    }
}

impl Action {
    fn is_about(&self, set: usize, image: &str, noun: &str) -> bool {
        self.set == set && self.image == image && self.noun == noun
    }
}

fn move_action(from: &mut Vec<Action>, to: &mut Vec<Action>, number: u64, set: usize) {
    let is_it = |action: &Action| action.number == number && action.set == set;
    if let Some(place) = from.iter().rposition(is_it) {
        to.push(from.remove(place));
    }
}
