//! One set of a session: what its annotation file says, its journal, and what
//! others write into the file meanwhile.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::super::error::AnnotateError;
use super::super::file::AnnotationFile;
use super::backup::{Backup, hash};
use super::error::HumanError;
use super::history::{Action, Event};
use super::journal::Journal;
use super::set::{ImageSet, Item};

/// A pair that two people put into different categories at the same time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stopped {
    /// The image.
    pub image: String,
    /// The noun.
    pub noun: String,
    /// What was said here.
    pub ours: Option<String>,
    /// What the file says.
    pub theirs: Option<String>,
}

/// A set, held by this process.
#[derive(Debug)]
pub(super) struct SetState {
    pub(super) set: ImageSet,
    pub(super) file: AnnotationFile,
    /// In blind sessions: the labels of the file that the person has given, and
    /// may see.
    own: Option<AnnotationFile>,
    journal: Option<Journal>,
    /// Hash of the file as it was read or written last; none if there is none.
    on_disk: Option<String>,
    /// Pairs whose change is not in the file yet, with the category that they
    /// have there, in the order of the changes.
    pub(super) changed: HashMap<(String, String), Change>,
    pub(super) conflicts: Vec<Stopped>,
    backup: Backup,
    /// Pairs with a label that is shown.
    pub(super) done: usize,
    /// Images all of whose pairs have one.
    pub(super) done_images: usize,
    /// Why the file was not written, if it was not.
    pub(super) error: Option<String>,
}

/// A change that the file does not have yet.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Place among all of them.
    order: usize,
    /// The category that the pair has in the file.
    base: Option<String>,
}

impl SetState {
    /// Reads the annotation file; `events` are those of its journal.
    pub(super) fn load(
        set: ImageSet,
        journal: Option<Journal>,
        events: &[Event],
    ) -> Result<Self, HumanError> {
        let text = read(&set.annotations)?;
        let file = parsed(&set.annotations, text.as_deref())?;
        let backup = Backup::of(&set.annotations, events);
        if let (Some(text), true) = (&text, journal.is_some()) {
            backup.check(text)?;
        }
        let mut state = Self {
            set,
            file,
            own: None,
            journal,
            on_disk: text.map(|text| hash(text.as_bytes())),
            changed: HashMap::new(),
            conflicts: Vec::new(),
            backup,
            done: 0,
            done_images: 0,
            error: None,
        };
        state.count();
        Ok(state)
    }

    /// From now on only what the person has said is shown: `actions` are those
    /// of the set that count.
    pub(super) fn hide_others<'a>(&mut self, actions: impl Iterator<Item = &'a Action>) {
        let mut own = AnnotationFile::new();
        for action in actions {
            let category = action.category.as_deref().filter(|_| action.is_own);
            own.put(&action.image, &action.noun, category);
        }
        self.own = Some(own);
        self.forget_replaced();
        self.count();
    }

    /// Labels that are shown: those of the file, in blind sessions only those
    /// of the person.
    pub(super) fn shown(&self) -> &AnnotationFile {
        self.own.as_ref().unwrap_or(&self.file)
    }

    /// A label that somebody else has replaced is the person's no more.
    fn forget_replaced(&mut self) {
        let Some(own) = &mut self.own else {
            return;
        };
        let mut replaced = Vec::new();
        for entry in own.images() {
            for (noun, category) in entry.nouns() {
                if self.file.category_of(&entry.image, noun) != Some(category) {
                    replaced.push((entry.image.clone(), noun.to_owned()));
                }
            }
        }
        for (image, noun) in replaced {
            own.put(&image, &noun, None);
        }
    }

    fn count(&mut self) {
        (self.done, self.done_images) = (0, 0);
        for item in &self.set.items {
            let done = self.labelled(item);
            self.done += done;
            self.done_images += usize::from(done == item.pairs.len());
        }
    }

    /// Labelled pairs of an image, as it is shown.
    fn labelled(&self, item: &Item) -> usize {
        let Some(entry) = self.shown().image(&item.image) else {
            return 0;
        };
        let nouns: HashSet<&str> = entry.nouns().map(|(noun, _)| noun).collect();
        let is_done = |pair: &&super::set::Pair| nouns.contains(pair.noun.as_str());
        item.pairs.iter().filter(is_done).count()
    }

    pub(super) fn is_in_conflict(&self, image: &str, noun: &str) -> bool {
        let mut conflicts = self.conflicts.iter();
        conflicts.any(|conflict| conflict.image == image && conflict.noun == noun)
    }

    pub(super) fn record(&mut self, event: &Event) -> Result<(), HumanError> {
        record(&mut self.journal, event)
    }

    /// Changes a pair, and remembers that the file does not have it yet. `own`
    /// is what the person has said of it: a blind session shows it.
    pub(super) fn put(
        &mut self,
        image: &str,
        noun: &str,
        category: Option<&str>,
        own: Option<&str>,
    ) {
        let item = self.set.place(image);
        let before = item.map(|place| self.labelled(&self.set.items[place]));
        let previous = self.file.put(image, noun, category);
        if let Some(labels) = &mut self.own {
            labels.put(image, noun, own.filter(|_| own == category));
        }
        let pair = (image.to_owned(), noun.to_owned());
        let order = self.changed.len();
        let change = Change {
            order,
            base: previous,
        };
        self.changed.entry(pair).or_insert(change);
        self.conflicts
            .retain(|conflict| conflict.image != image || conflict.noun != noun);
        if let (Some(place), Some(before)) = (item, before) {
            let item = &self.set.items[place];
            let (after, all) = (self.labelled(item), item.pairs.len());
            self.done = self.done + after - before;
            self.done_images += usize::from(after == all);
            self.done_images -= usize::from(before == all);
        }
    }

    /// Does again what the journal has and the file has not.
    pub(super) fn replay(&mut self, events: &[Event]) -> Result<(), HumanError> {
        for event in events {
            match event {
                Event::Conflict {
                    image,
                    noun,
                    ours,
                    theirs,
                } => self.conflicts.push(Stopped {
                    image: image.clone(),
                    noun: noun.clone(),
                    ours: ours.clone(),
                    theirs: theirs.clone(),
                }),
                Event::Label { image, noun, .. } => self
                    .conflicts
                    .retain(|conflict| conflict.image != *image || conflict.noun != *noun),
                _ => {}
            }
        }
        for change in not_saved(events) {
            self.settle(
                &change.image,
                &change.noun,
                change.base.as_deref(),
                change.last.as_deref(),
            )?;
        }
        Ok(())
    }

    /// Brings our change of a pair, from `base` to `ours`, to a file that may
    /// have another category by now. Two different ones are a conflict: the
    /// file's stays until somebody decides.
    fn settle(
        &mut self,
        image: &str,
        noun: &str,
        base: Option<&str>,
        ours: Option<&str>,
    ) -> Result<(), HumanError> {
        let theirs = self.file.category_of(image, noun).map(str::to_owned);
        if theirs.as_deref() == ours {
            return Ok(());
        }
        if theirs.as_deref() == base {
            self.put(image, noun, ours, ours);
            return Ok(());
        }
        let conflict = Stopped {
            image: image.to_owned(),
            noun: noun.to_owned(),
            ours: ours.map(str::to_owned),
            theirs,
        };
        if !self.conflicts.contains(&conflict) {
            self.record(&Event::Conflict {
                image: conflict.image.clone(),
                noun: conflict.noun.clone(),
                ours: conflict.ours.clone(),
                theirs: conflict.theirs.clone(),
            })?;
            self.conflicts.push(conflict);
        }
        Ok(())
    }

    /// Takes in what somebody else has written. Whether there was something.
    pub(super) fn take_in(&mut self) -> Result<bool, HumanError> {
        let text = read(&self.set.annotations)?;
        let found = text.as_deref().map(|text| hash(text.as_bytes()));
        if found == self.on_disk {
            return Ok(false);
        }
        let mut theirs = parsed(&self.set.annotations, text.as_deref())?;
        std::mem::swap(&mut self.file, &mut theirs);
        let ours = theirs;
        self.on_disk = found;
        let mut changed: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
        changed.sort_by_key(|(_, change)| change.order);
        for ((image, noun), change) in changed {
            let last = ours.category_of(&image, &noun).map(str::to_owned);
            self.settle(&image, &noun, change.base.as_deref(), last.as_deref())?;
        }
        self.forget_replaced();
        self.count();
        Ok(true)
    }

    /// Writes the file if it lacks something.
    pub(super) fn write(&mut self) -> Result<bool, HumanError> {
        if self.changed.is_empty() {
            return Ok(false);
        }
        let text = self.file.text();
        let is_there = match &self.on_disk {
            Some(known) => *known == hash(text.as_bytes()),
            None => self.file.images().is_empty(),
        };
        if is_there {
            // What was done has been undone.
            self.changed.clear();
            return Ok(false);
        }
        let path = &self.set.annotations;
        if !self.backup.is_done() {
            let (before, journal) = (read(path)?, &mut self.journal);
            let record = |event: &Event| record(journal, event);
            self.backup.make(before.as_deref(), record)?;
        }
        self.file.save(path)?;
        let hash = hash(text.as_bytes());
        self.on_disk = Some(hash.clone());
        self.changed.clear();
        self.record(&Event::Saved { hash })?;
        Ok(true)
    }
}

/// A change of a pair that a journal tells of.
#[derive(Debug)]
struct Unsaved {
    image: String,
    noun: String,
    /// Its category before all changes.
    base: Option<String>,
    /// Its category after them.
    last: Option<String>,
}

/// What was done since the annotation file had everything, pair by pair.
fn not_saved(events: &[Event]) -> Vec<Unsaved> {
    let labels: HashMap<u64, &Event> = events
        .iter()
        .filter_map(|event| match event {
            Event::Label { number, .. } => Some((*number, event)),
            _ => None,
        })
        .collect();
    let is_saved = |event: &Event| matches!(event, Event::Saved { .. });
    let begin = events.iter().rposition(is_saved).map_or(0, |at| at + 1);
    let mut changes: Vec<Unsaved> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for event in &events[begin..] {
        let (label, is_undo) = match event {
            Event::Label { .. } => (Some(event), false),
            Event::Undo { of, .. } => (labels.get(of).copied(), true),
            Event::Redo { of, .. } => (labels.get(of).copied(), false),
            Event::Saved { .. } | Event::Backup { .. } | Event::Conflict { .. } => (None, false),
        };
        let Some(Event::Label {
            image,
            noun,
            category,
            previous,
            ..
        }) = label
        else {
            continue;
        };
        let (from, to) = match is_undo {
            true => (category, previous),
            false => (previous, category),
        };
        let place = *places.entry((image, noun)).or_insert_with(|| {
            changes.push(Unsaved {
                image: image.clone(),
                noun: noun.clone(),
                base: from.clone(),
                last: None,
            });
            changes.len() - 1
        });
        changes[place].last = to.clone();
    }
    changes
}

fn record(journal: &mut Option<Journal>, event: &Event) -> Result<(), HumanError> {
    match journal {
        Some(journal) => journal.add(event),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<String>, HumanError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HumanError::file("read", path)(error)),
    }
}

fn parsed(path: &Path, text: Option<&str>) -> Result<AnnotationFile, HumanError> {
    let Some(text) = text else {
        return Ok(AnnotationFile::new());
    };
    AnnotationFile::parse(text).map_err(|reason| {
        HumanError::Annotate(AnnotateError::NotAnnotations {
            path: path.to_owned(),
            reason,
        })
    })
}
