//! Where a person is, what comes next, and what commands do there. A desk keeps
//! nothing but its place: the page sends it with every command, so that a
//! reloaded page goes on where it was.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::display::display_size;
use super::error::HumanError;
use super::filter::Filter;
use super::keys::Command;
use super::picture;
use super::session::Session;
use super::set::Item;

/// Nouns that are announced beside the current one.
const NEXT_NOUNS: usize = 10;

/// A pair, by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Place of the set.
    pub set: usize,
    /// The image.
    pub image: String,
    /// The noun.
    pub noun: String,
}

/// A person's desk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desk {
    /// Where it is; none before the begin and behind the end.
    pub at: Option<Place>,
    /// What is wanted.
    pub filter: Filter,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A pair got another category.
    Labelled {
        /// Which.
        place: Place,
        /// The category now.
        category: Option<String>,
        /// The category before.
        previous: Option<String>,
    },
    /// It moved, or stayed.
    Moved,
    /// Files were written.
    Saved,
    /// Somebody wants to end the session.
    End,
    /// Nothing here: the page does it.
    Page,
}

/// Pictures that cannot be shown, by set and name; those that were looked at.
pub(super) type Problems = HashMap<(usize, String), Option<String>>;

/// What the page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct View(pub Value);

/// Positions: set, image, noun. A noun that nobody predicted stands behind
/// those of its image.
type At = (usize, usize, usize);

impl Desk {
    /// A desk at the first pair that is wanted.
    pub fn at_first(filter: Filter, session: &Session, problems: &mut Problems) -> Self {
        let mut desk = Self { at: None, filter };
        desk.at = desk.find(session, problems, (0, 0, 0), true);
        desk
    }

    /// Does a command.
    ///
    /// # Errors
    /// A label that cannot be recorded; then nothing has changed.
    pub fn step(
        &mut self,
        session: &mut Session,
        problems: &mut Problems,
        command: Command,
    ) -> Result<Step, HumanError> {
        match command {
            Command::Label(category) => {
                let Some(place) = self.at.clone() else {
                    return Ok(Step::Moved);
                };
                let now = session.category_of(place.set, &place.image, &place.noun);
                let is_conflict = session
                    .conflicts(place.set)
                    .iter()
                    .any(|c| c.image == place.image && c.noun == place.noun);
                // The same one again takes it away.
                let chosen = match now == Some(category.name()) && !is_conflict {
                    true => None,
                    false => Some(category),
                };
                let is_added = session.is_added(place.set, &place.image, &place.noun);
                let previous =
                    session.label(place.set, &place.image, &place.noun, chosen, is_added)?;
                if chosen.is_some() {
                    self.go_on(session, problems);
                }
                Ok(Step::Labelled {
                    place,
                    category: chosen.map(|category| category.name().to_owned()),
                    previous,
                })
            }
            Command::Undo | Command::Redo => {
                let moved = match command {
                    Command::Undo => session.undo()?,
                    _ => session.redo()?,
                };
                let place = Place {
                    set: moved.set,
                    image: moved.image,
                    noun: moved.noun,
                };
                self.at = Some(place.clone());
                Ok(Step::Labelled {
                    place,
                    category: moved.category,
                    previous: moved.previous,
                })
            }
            Command::Skip => {
                self.go_on(session, problems);
                Ok(Step::Moved)
            }
            Command::NextNoun => {
                self.neighbour(session, problems, true);
                Ok(Step::Moved)
            }
            Command::PreviousNoun => {
                self.neighbour(session, problems, false);
                Ok(Step::Moved)
            }
            Command::NextImage => {
                if let Some((set, image, _)) = self.position(session) {
                    self.at = self.find(session, problems, (set, image + 1, 0), true);
                }
                Ok(Step::Moved)
            }
            Command::PreviousImage => {
                self.image_before(session, problems);
                Ok(Step::Moved)
            }
            Command::Save => {
                session.save();
                Ok(Step::Saved)
            }
            Command::End => Ok(Step::End),
            _ => Ok(Step::Page),
        }
    }

    /// Position of the current pair.
    fn position(&self, session: &Session) -> Option<At> {
        let place = self.at.as_ref()?;
        let set = session.set(place.set)?;
        let image = set.place(&place.image)?;
        let pairs = &set.items[image].pairs;
        let noun = match pairs.iter().position(|pair| pair.noun == place.noun) {
            Some(noun) => noun,
            None if session.is_added(place.set, &place.image, &place.noun) => pairs.len(),
            None => return None,
        };
        Some((place.set, image, noun))
    }

    /// To the next wanted pair behind the current one.
    fn go_on(&mut self, session: &Session, problems: &mut Problems) {
        let behind = self.position(session).and_then(|(set, image, noun)| {
            let item = session.set(set)?.items.get(image)?;
            Some((set, image, place_behind(item, noun)))
        });
        self.at = self.find(session, problems, behind.unwrap_or((0, 0, 0)), true);
    }

    /// First pair from a position on: in the wanted state, or whatever its
    /// state is.
    fn find(
        &self,
        session: &Session,
        problems: &mut Problems,
        from: At,
        in_state: bool,
    ) -> Option<Place> {
        for (place, set) in session.sets().enumerate().skip(from.0) {
            let images = if place == from.0 { from.1 } else { 0 };
            for (number, item) in set.items.iter().enumerate().skip(images) {
                let nouns = match (place, number) == (from.0, from.1) {
                    true => from.2,
                    false => 0,
                };
                for pair in item.pairs.iter().skip(nouns) {
                    let is_wanted = match in_state {
                        true => self.filter.matches(session, place, &item.image, pair),
                        false => self.filter.takes(place, &item.image, pair),
                    };
                    if !is_wanted {
                        continue;
                    }
                    if problem_of(session, problems, place, &item.image).is_some() {
                        break;
                    }
                    return Some(Place {
                        set: place,
                        image: item.image.clone(),
                        noun: pair.noun.clone(),
                    });
                }
            }
        }
        None
    }

    /// The next image that has something wanted, unless it is known that it
    /// cannot be shown: the page fetches it early.
    fn image_behind(
        &self,
        session: &Session,
        problems: &Problems,
        (set, image): (usize, usize),
    ) -> Option<Value> {
        for (place, of_set) in session.sets().enumerate().skip(set) {
            let first = if place == set { image + 1 } else { 0 };
            for item in of_set.items.iter().skip(first) {
                let mut pairs = item.pairs.iter();
                let is_wanted =
                    pairs.any(|pair| self.filter.matches(session, place, &item.image, pair));
                let is_broken = matches!(problems.get(&(place, item.image.clone())), Some(Some(_)));
                if is_wanted && !is_broken {
                    return Some(json!({"set": place, "image": item.image}));
                }
            }
        }
        None
    }

    /// All pairs that pass the filter, whatever their state is, in order.
    fn taken(&self, session: &Session) -> Vec<At> {
        let mut all = Vec::new();
        for (place, set) in session.sets().enumerate() {
            for (number, item) in set.items.iter().enumerate() {
                for (noun, pair) in item.pairs.iter().enumerate() {
                    if self.filter.takes(place, &item.image, pair) {
                        all.push((place, number, noun));
                    }
                }
            }
        }
        all
    }

    fn place_at(session: &Session, (set, image, noun): At) -> Option<Place> {
        let item = session.set(set)?.items.get(image)?;
        Some(Place {
            set,
            image: item.image.clone(),
            noun: item.pairs.get(noun)?.noun.clone(),
        })
    }

    /// To the noun before or behind, labelled or not.
    fn neighbour(&mut self, session: &Session, problems: &mut Problems, forward: bool) {
        let all = self.taken(session);
        let here = self.position(session);
        let candidates: Vec<At> = match (forward, here) {
            (true, Some(here)) => all.into_iter().filter(|at| *at > here).collect(),
            (true, None) => Vec::new(),
            (false, Some(here)) => all.into_iter().filter(|at| *at < here).rev().collect(),
            (false, None) => all.into_iter().rev().collect(),
        };
        for at in candidates {
            let Some(place) = Self::place_at(session, at) else {
                continue;
            };
            if problem_of(session, problems, place.set, &place.image).is_none() {
                self.at = Some(place);
                return;
            }
        }
    }

    /// To the first wanted noun of the image before, or its first one.
    fn image_before(&mut self, session: &Session, problems: &mut Problems) {
        let here = self.position(session).map(|(set, image, _)| (set, image));
        let mut images: Vec<(usize, usize)> = Vec::new();
        for (set, image, _) in self.taken(session) {
            if here.is_none_or(|here| (set, image) < here) && images.last() != Some(&(set, image)) {
                images.push((set, image));
            }
        }
        for (set, image) in images.into_iter().rev() {
            let Some(item) = session.set(set).and_then(|set| set.items.get(image)) else {
                continue;
            };
            if problem_of(session, problems, set, &item.image).is_some() {
                continue;
            }
            let in_state =
                |pair: &&super::set::Pair| self.filter.matches(session, set, &item.image, pair);
            let taken = |pair: &&super::set::Pair| self.filter.takes(set, &item.image, pair);
            let mut pairs = item.pairs.iter();
            let found = pairs
                .find(in_state)
                .or_else(|| item.pairs.iter().find(taken));
            if let Some(pair) = found {
                self.at = Some(Place {
                    set,
                    image: item.image.clone(),
                    noun: pair.noun.clone(),
                });
                return;
            }
        }
    }

    /// What the page shows here.
    pub fn view(&self, session: &Session, problems: &mut Problems) -> View {
        let whole = session.whole_progress();
        let (undo, redo) = session.can_undo_redo();
        let rate = session.rate();
        let open = whole.pairs - whole.pairs_done;
        let mut view = json!({
            "at": self.at,
            "total": whole.pairs,
            "done": whole.pairs_done,
            "images_total": whole.images,
            "images_done": whole.images_done,
            "can_undo": undo,
            "can_redo": redo,
            "revision": session.revision(),
            "unsaved": session.has_unsaved(),
            "save_errors": session.save_errors().map(|(_, why)| why).collect::<Vec<_>>(),
            "labels_per_hour": rate,
            "seconds_left": rate.map(|rate| open as f64 / rate * 3600.0),
            "sets": progress_of_sets(session, problems),
        });
        let Some((set_place, image_place, noun_place)) = self.position(session) else {
            return View(view);
        };
        let Some(set) = session.set(set_place) else {
            return View(view);
        };
        let item = &set.items[image_place];
        let problem = problem_of(session, problems, set_place, &item.image);
        let shown = |noun: &str, models: &[String]| {
            noun_shown(session, (set_place, &item.image, noun), models)
        };
        let nouns = item
            .pairs
            .iter()
            .map(|pair| shown(&pair.noun, &pair.models));
        let nouns: Vec<Value> = nouns.collect();
        let here = self.at.as_ref().map(|place| place.noun.as_str());
        let others: Vec<Value> = added_nouns(session, set_place, item, here)
            .into_iter()
            .map(|noun| shown(noun, &[]))
            .collect();
        let next: Vec<&str> = item
            .pairs
            .iter()
            .skip(place_behind(item, noun_place))
            .filter(|pair| self.filter.matches(session, set_place, &item.image, pair))
            .map(|pair| pair.noun.as_str())
            .take(NEXT_NOUNS)
            .collect();
        view["image"] = json!({
            "set": set.name,
            "number": image_place + 1,
            "of": set.items.len(),
            "name": (!session.options().blind).then_some(&item.image),
            "problem": problem,
            "display": picture::size_of(session, set_place, &item.image)
                .map(|(width, height)| display_size(width, height)),
        });
        view["next_image"] = json!(self.image_behind(session, problems, (set_place, image_place)));
        view["noun"] = json!(here);
        view["nouns"] = json!(nouns);
        view["next"] = json!(next);
        view["others"] = json!(others);
        View(view)
    }
}

/// Where work goes on behind a noun of an image: from a noun that nobody
/// predicted, with the first of the others.
fn place_behind(item: &Item, noun: usize) -> usize {
    match noun < item.pairs.len() {
        true => noun + 1,
        false => 0,
    }
}

/// Nouns of an image that nobody predicted: the labelled ones, and the current
/// one.
fn added_nouns<'a>(
    session: &'a Session,
    set: usize,
    item: &'a Item,
    here: Option<&'a str>,
) -> Vec<&'a str> {
    let is_added = |noun: &&str| item.pairs.iter().all(|pair| pair.noun != **noun);
    let entry = session.shown(set).and_then(|file| file.image(&item.image));
    let labelled = entry.into_iter().flat_map(|entry| entry.nouns());
    let mut nouns: Vec<&str> = labelled.map(|(noun, _)| noun).filter(is_added).collect();
    if let Some(here) = here.filter(is_added)
        && !nouns.contains(&here)
    {
        nouns.push(here);
    }
    nouns
}

/// What is shown of a noun: its label, who predicts it, what other files say.
fn noun_shown(
    session: &Session,
    (set, image, noun): (usize, &str, &str),
    models: &[String],
) -> Value {
    let category = session.category_of(set, image, noun);
    let others = session.others(set).iter().filter_map(|other| {
        let theirs = other.category_of(image, noun)?;
        let disagrees = category.is_some_and(|category| other.disagrees(image, noun, category));
        Some(json!({"by": other.name, "category": theirs, "disagrees": disagrees}))
    });
    let mut shown = json!({
        "noun": noun,
        "category": category,
        "models": models,
        "others": others.collect::<Vec<_>>(),
    });
    let mut conflicts = session.conflicts(set).iter();
    if let Some(conflict) = conflicts.find(|c| c.image == image && c.noun == noun) {
        shown["conflict"] = json!({"ours": conflict.ours, "theirs": conflict.theirs});
    }
    shown
}

fn progress_of_sets(session: &Session, problems: &Problems) -> Value {
    let sets = session.sets().enumerate().map(|(place, set)| {
        let progress = session.progress(place);
        let of_set = problems
            .iter()
            .filter(|((of, _), why)| *of == place && why.is_some());
        json!({
            "name": set.name,
            "images": progress.images,
            "images_done": progress.images_done,
            "pairs": progress.pairs,
            "pairs_done": progress.pairs_done,
            "problems": of_set.count(),
        })
    });
    sets.collect()
}

/// Why a picture cannot be shown, if so. Looks at each one once.
pub(super) fn problem_of(
    session: &Session,
    problems: &mut Problems,
    set: usize,
    image: &str,
) -> Option<String> {
    let key = (set, image.to_owned());
    if let Some(known) = problems.get(&key) {
        return known.clone();
    }
    let problem = picture::problem(session, set, image);
    problems.insert(key, problem.clone());
    problem
}
