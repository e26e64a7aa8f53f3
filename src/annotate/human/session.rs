//! Judgements of several sets: every one is in a journal before it counts, the
//! annotation files follow, and what others write meanwhile is taken in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::category::Category;
use super::super::file::AnnotationFile;
use super::compare::Other;
use super::error::HumanError;
use super::history::{Action, Event, History, Reader};
use super::journal::Journal;
use super::set::ImageSet;
use super::set_state::{SetState, Stopped};

/// Time between the first and the last label that a rate is told of.
const RATE_AFTER: Duration = Duration::from_secs(10);

/// How a session goes.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Who judges; goes to the journal.
    pub annotator: Option<String>,
    /// Nothing is written.
    pub read_only: bool,
    /// Neither models nor names of images nor labels of others are shown: a
    /// pair is open until the person has labelled it, here or under the same
    /// name in an earlier session.
    pub blind: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    sets: Vec<SetState>,
    history: History,
    options: SessionOptions,
    revision: u64,
    begin: Instant,
    /// Labels of this session, and when the first and the last one came.
    labels: u64,
    first_label: Option<Instant>,
    last_label: Option<Instant>,
}

/// What an undo or redo did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Place of the set.
    pub set: usize,
    /// The image.
    pub image: String,
    /// The noun.
    pub noun: String,
    /// The category now.
    pub category: Option<String>,
    /// The category before.
    pub previous: Option<String>,
}

/// How far sets are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Images.
    pub images: usize,
    /// Images without open nouns.
    pub images_done: usize,
    /// Pairs.
    pub pairs: usize,
    /// Labelled pairs.
    pub pairs_done: usize,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.images_done += other.images_done;
        self.pairs += other.pairs;
        self.pairs_done += other.pairs_done;
    }
}

impl Session {
    /// Begins a session: locks the annotation files, reads them, and replays
    /// what an ended process has left in the journals.
    ///
    /// # Errors
    /// Files that are in use, cannot be read or are something else.
    pub fn open(sets: Vec<ImageSet>, options: SessionOptions) -> Result<Self, HumanError> {
        for (place, set) in sets.iter().enumerate() {
            let is_same = |other: &&ImageSet| same_file(&other.annotations, &set.annotations);
            if let Some(other) = sets[..place].iter().find(is_same) {
                return Err(HumanError::SameFile {
                    first: other.name.clone(),
                    second: set.name.clone(),
                });
            }
        }
        let (mut states, mut journals) = (Vec::new(), Vec::new());
        for mut set in sets {
            if options.blind {
                set.forget_others();
            }
            // Before the file is read, so that nobody else changes it.
            let (journal, events) = match options.read_only {
                true => (None, Journal::read(&set.annotations)?),
                false => {
                    let (journal, events) = Journal::open(&set.annotations)?;
                    (Some(journal), events)
                }
            };
            let mut state = SetState::load(set, journal, &events)?;
            state.replay(&events)?;
            states.push(state);
            journals.push(events);
        }
        let reader = Reader {
            name: options.annotator.as_deref(),
            own_only: options.blind,
        };
        let history = History::of_journals(&journals, reader);
        if options.blind {
            for (place, state) in states.iter_mut().enumerate() {
                state.hide_others(history.done().iter().filter(|action| action.set == place));
            }
        }
        Ok(Self {
            sets: states,
            history,
            options,
            revision: 0,
            begin: Instant::now(),
            labels: 0,
            first_label: None,
            last_label: None,
        })
    }

    /// The sets.
    pub fn sets(&self) -> impl ExactSizeIterator<Item = &ImageSet> {
        self.sets.iter().map(|state| &state.set)
    }

    /// A set.
    pub fn set(&self, place: usize) -> Option<&ImageSet> {
        self.sets.get(place).map(|state| &state.set)
    }

    /// Annotations of a set as they are now.
    pub fn file(&self, place: usize) -> Option<&AnnotationFile> {
        self.sets.get(place).map(|state| &state.file)
    }

    /// How it goes.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Annotations of a set as they are shown: in a blind session only the
    /// person's own.
    pub fn shown(&self, place: usize) -> Option<&AnnotationFile> {
        self.sets.get(place).map(SetState::shown)
    }

    /// Category of a pair, as it is shown.
    pub fn category_of(&self, set: usize, image: &str, noun: &str) -> Option<&str> {
        self.shown(set)?.category_of(image, noun)
    }

    /// Whether somebody has added a noun that nobody predicted, be it that it
    /// was taken back.
    pub fn is_added(&self, set: usize, image: &str, noun: &str) -> bool {
        let Some(state) = self.sets.get(set) else {
            return false;
        };
        !state.set.predicts(image, noun)
            && (state.shown().category_of(image, noun).is_some()
                || self.history.has(set, image, noun))
    }

    /// What other files say of a pair.
    pub fn others(&self, set: usize) -> &[Other] {
        self.sets.get(set).map_or(&[], |state| &state.set.others)
    }

    /// Pairs that were put into another category elsewhere. To a blind session
    /// they are open.
    pub fn conflicts(&self, set: usize) -> &[Stopped] {
        match (self.sets.get(set), self.options.blind) {
            (Some(state), false) => &state.conflicts,
            _ => &[],
        }
    }

    /// Puts a pair into a category, or opens it again. Returns the category
    /// that was shown before. It is on the disk when this returns. `extra`
    /// allows a noun that nobody predicted.
    ///
    /// # Errors
    /// A pair that is not there, a journal that cannot be written.
    pub fn label(
        &mut self,
        set: usize,
        image: &str,
        noun: &str,
        category: Option<Category>,
        extra: bool,
    ) -> Result<Option<String>, HumanError> {
        self.label_in_group(set, image, noun, category.map(Category::name), extra, None)
    }

    fn label_in_group(
        &mut self,
        set: usize,
        image: &str,
        noun: &str,
        category: Option<&str>,
        extra: bool,
        group: Option<u64>,
    ) -> Result<Option<String>, HumanError> {
        if self.options.read_only {
            return Err(HumanError::ReadOnly);
        }
        let unknown = |what, name: &str| HumanError::Unknown {
            what,
            name: name.to_owned(),
        };
        let state = self
            .sets
            .get(set)
            .ok_or_else(|| unknown("set", &set.to_string()))?;
        if state.set.place(image).is_none() {
            return Err(unknown("image", image));
        }
        let shown = state.shown().category_of(image, noun).map(str::to_owned);
        if !state.set.predicts(image, noun) && !extra && shown.is_none() {
            return Err(unknown("noun", noun));
        }
        let settles = !self.options.blind && state.is_in_conflict(image, noun);
        if shown.as_deref() == category && !settles {
            return Ok(shown);
        }
        let previous = state.file.category_of(image, noun).map(str::to_owned);
        let number = self.history.next_number();
        let action = Action {
            number,
            group: group.unwrap_or(number),
            at: now_ms(),
            set,
            image: image.to_owned(),
            noun: noun.to_owned(),
            category: category.map(str::to_owned),
            previous,
            is_own: true,
        };
        self.sets[set].record(&Event::Label {
            number,
            group: action.group,
            at: action.at,
            image: action.image.clone(),
            noun: action.noun.clone(),
            category: action.category.clone(),
            previous: action.previous.clone(),
            by: self.options.annotator.clone(),
        })?;
        self.history.add(action);
        self.sets[set].put(image, noun, category, category);
        self.revision += 1;
        if category.is_some() {
            self.labels += 1;
            self.first_label.get_or_insert_with(Instant::now);
            self.last_label = Some(Instant::now());
        }
        Ok(shown)
    }

    /// Takes over the labels of pairs that only another file has. Returns how
    /// many; they are undone together.
    ///
    /// # Errors
    /// A file that is not there, a journal that cannot be written.
    pub fn take_over(&mut self, set: usize, other: usize) -> Result<usize, HumanError> {
        let missing = HumanError::Unknown {
            what: "file to compare with",
            name: other.to_string(),
        };
        let state = self.sets.get(set);
        let (Some(state), Some(file)) = (state, self.others(set).get(other)) else {
            return Err(missing);
        };
        let mut wanted = Vec::new();
        for image in file.file.images() {
            if state.set.place(&image.image).is_none() {
                continue;
            }
            for (noun, category) in image.nouns() {
                let is_new = state.file.category_of(&image.image, noun).is_none();
                if is_new && Category::of_name(category).is_some() {
                    let pair = (image.image.clone(), noun.to_owned(), category.to_owned());
                    wanted.push(pair);
                }
            }
        }
        let mut group = None;
        for (image, noun, category) in &wanted {
            self.label_in_group(set, image, noun, Some(category), true, group)?;
            group = group.or(self.history.done().last().map(|action| action.group));
        }
        Ok(wanted.len())
    }

    /// Takes the last label back, or the last ones if they came together.
    ///
    /// # Errors
    /// There is none, or the journal cannot be written.
    pub fn undo(&mut self) -> Result<Moved, HumanError> {
        self.go_through(true)
    }

    /// Does again what was taken back.
    ///
    /// # Errors
    /// There is nothing, or the journal cannot be written.
    pub fn redo(&mut self) -> Result<Moved, HumanError> {
        self.go_through(false)
    }

    fn go_through(&mut self, is_undo: bool) -> Result<Moved, HumanError> {
        if self.options.read_only {
            return Err(HumanError::ReadOnly);
        }
        let actions = match is_undo {
            true => self.history.to_undo(),
            false => self.history.to_redo(),
        };
        let mut moved = None;
        for action in actions {
            let number = self.history.next_number();
            let of = action.number;
            let (event, category) = match is_undo {
                true => (Event::Undo { number, of }, action.previous.clone()),
                false => (Event::Redo { number, of }, action.category.clone()),
            };
            let (set, image, noun) = (action.set, action.image, action.noun);
            let state = &mut self.sets[set];
            state.record(&event)?;
            let shown = |state: &SetState| {
                let category = state.shown().category_of(&image, &noun);
                category.map(str::to_owned)
            };
            let previous = shown(state);
            match is_undo {
                true => self.history.undo(of, set),
                false => self.history.redo(of, set),
            }
            let own = self.history.own_label(set, &image, &noun);
            state.put(&image, &noun, category.as_deref(), own);
            self.revision += 1;
            moved = Some(Moved {
                category: shown(state),
                previous,
                set,
                image,
                noun,
            });
        }
        moved.ok_or(HumanError::Nothing(if is_undo { "undo" } else { "redo" }))
    }

    /// Whether there is something to undo, and to redo.
    pub fn can_undo_redo(&self) -> (bool, bool) {
        (self.history.can_undo(), self.history.can_redo())
    }

    /// Whether changes are in a journal only.
    pub fn has_unsaved(&self) -> bool {
        self.sets.iter().any(|state| !state.changed.is_empty())
    }

    /// Why files were not written, if they were not.
    pub fn save_errors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sets
            .iter()
            .filter_map(|state| Some((state.set.name.as_str(), state.error.as_deref()?)))
    }

    /// Takes in what others wrote, and writes the files that have changes.
    /// Returns the written files, and whether something was taken in. What
    /// fails is tried again by the next call.
    pub fn save(&mut self) -> (Vec<PathBuf>, bool) {
        let (mut written, mut changed) = (Vec::new(), false);
        if self.options.read_only {
            return (written, false);
        }
        for state in &mut self.sets {
            let saved = state.take_in().and_then(|taken| {
                changed |= taken;
                state.write()
            });
            match saved {
                Ok(is_written) => {
                    state.error = None;
                    if is_written {
                        written.push(state.set.annotations.clone());
                    }
                }
                Err(error) => state.error = Some(error.to_string()),
            }
        }
        if changed {
            self.revision += 1;
        }
        (written, changed)
    }

    /// How far a set is.
    pub fn progress(&self, place: usize) -> Progress {
        let Some(state) = self.sets.get(place) else {
            return Progress::default();
        };
        Progress {
            images: state.set.items.len(),
            images_done: state.done_images,
            pairs: state.set.items.iter().map(|item| item.pairs.len()).sum(),
            pairs_done: state.done,
        }
    }

    /// How far all sets are.
    pub fn whole_progress(&self) -> Progress {
        let mut whole = Progress::default();
        for place in 0..self.sets.len() {
            whole += self.progress(place);
        }
        whole
    }

    /// Labels per hour of this session, once there are enough to tell.
    pub fn rate(&self) -> Option<f64> {
        let time = self.last_label?.duration_since(self.first_label?);
        let hours = time.as_secs_f64() / 3600.0;
        (time >= RATE_AFTER).then(|| (self.labels - 1) as f64 / hours)
    }

    /// Labels of this session.
    pub fn labels(&self) -> u64 {
        self.labels
    }

    /// How long it has lasted.
    pub fn lasted(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Pairs of a set by category, as they are shown.
    pub fn counts(&self, place: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for image in self.shown(place).into_iter().flat_map(|file| file.images()) {
            for (_, category) in image.nouns() {
                *counts.entry(category.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Whether two paths are the same file, or would be.
fn same_file(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| -> PathBuf {
        let folder = path.parent().filter(|parent| *parent != Path::new(""));
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        let name = path.file_name().unwrap_or_default();
        path.canonicalize()
            .or_else(|_| folder.map(|folder| folder.join(name)))
            .unwrap_or_else(|_| path.to_owned())
    };
    whole(a) == whole(b)
}
