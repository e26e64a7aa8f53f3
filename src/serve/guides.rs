//! Noun lists that requests may choose from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::error::ApiError;
use crate::infer::{Guide, InferError, NounDecoder, NounList};

/// Registered lists, at most.
const MAX_NAMED: usize = 64;
/// Lists given within requests that are kept for the next ones.
const MAX_INLINE: usize = 32;
/// Nouns of a list, at most.
const MAX_NOUNS: usize = 200_000;
/// Longest noun, in bytes.
const MAX_NOUN: usize = 1000;
/// Nouns of all registered lists, and of all recent ones, at most: about half a
/// gigabyte each.
const MAX_HELD: usize = 1_000_000;

/// Registered lists by name, and recent ones by content.
pub(super) struct Guides {
    decoder: Arc<NounDecoder>,
    /// What guides requests that name no list.
    default: Arc<Guide>,
    held: Mutex<Held>,
}

/// A list that was given within a request.
#[derive(Clone)]
pub(super) struct Given {
    pub guide: Arc<Guide>,
    /// What whoever gave it should know of it; nothing of registered lists,
    /// which are told of when they are registered.
    pub warnings: Arc<[String]>,
}

impl Given {
    fn silent(guide: Arc<Guide>) -> Self {
        Self {
            guide,
            warnings: Arc::new([]),
        }
    }
}

#[derive(Default)]
struct Held {
    named: BTreeMap<String, Arc<Guide>>,
    inline: HashMap<blake3::Hash, Given>,
    /// Oldest first.
    order: VecDeque<blake3::Hash>,
}

impl Held {
    /// Leaves so many lists that were given within requests, and nouns in
    /// them.
    fn forget_old(&mut self, lists: usize, nouns: usize) {
        let count = |given: &Given| given.guide.nouns().len();
        let mut held: usize = self.inline.values().map(count).sum();
        while self.order.len() > lists || held > nouns {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            held -= self.inline.remove(&oldest).as_ref().map_or(0, count);
        }
    }

    /// Nouns of the registered lists but `name`.
    fn registered_beside(&self, name: &str) -> usize {
        let others = self.named.iter().filter(|(other, _)| *other != name);
        others.map(|(_, guide)| guide.nouns().len()).sum()
    }
}

/// A list that a request chooses from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    Default,
    Named(String),
    Nouns(Vec<String>),
}

impl Guides {
    pub(super) fn new(decoder: Arc<NounDecoder>, default: Arc<Guide>) -> Self {
        Self {
            decoder,
            default,
            held: Mutex::default(),
        }
    }

    /// The list of a request. May take a while for a long list.
    pub(super) fn get(&self, chosen: &Chosen) -> Result<Given, ApiError> {
        match chosen {
            Chosen::Default => Ok(Given::silent(self.default.clone())),
            Chosen::Named(name) => Ok(Given::silent(self.named(name)?)),
            Chosen::Nouns(nouns) => {
                let hash = hash(nouns);
                if let Some(given) = self.lock().inline.get(&hash) {
                    return Ok(given.clone());
                }
                let given = self.make(nouns)?;
                let mut held = self.lock();
                if held.inline.insert(hash, given.clone()).is_none() {
                    held.order.push_back(hash);
                }
                held.forget_old(MAX_INLINE, MAX_HELD);
                Ok(given)
            }
        }
    }

    fn named(&self, name: &str) -> Result<Arc<Guide>, ApiError> {
        let held = self.lock();
        held.named.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = held.named.keys().map(String::as_str).collect();
            ApiError::new(
                StatusCode::NOT_FOUND,
                "guide",
                format!(
                    "no guide list {name:?} is registered; known: {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ),
            )
        })
    }

    /// The list of that name.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Guide>, ApiError> {
        self.named(name)
    }

    /// Names and sizes of the registered lists.
    pub(super) fn list(&self) -> Vec<(String, usize)> {
        let held = self.lock();
        held.named
            .iter()
            .map(|(name, guide)| (name.clone(), guide.nouns().len()))
            .collect()
    }

    /// Registers a list; one of that name is replaced.
    pub(super) fn put(&self, name: &str, nouns: &[String]) -> Result<Given, ApiError> {
        let is_name = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name {
            return Err(ApiError::bad(
                "names of guide lists have 1 to 64 letters, digits, and - _ .",
            ));
        }
        let given = self.make(nouns)?;
        let guide = &given.guide;
        let mut held = self.lock();
        if held.named.len() >= MAX_NAMED && !held.named.contains_key(name) {
            return Err(ApiError::too_large(format!(
                "{MAX_NAMED} guide lists are registered, which is the most: delete one"
            )));
        }
        if held.registered_beside(name) + guide.nouns().len() > MAX_HELD {
            return Err(ApiError::too_large(format!(
                "the registered guide lists would have more than {MAX_HELD} nouns: delete one"
            )));
        }
        held.named.insert(name.to_owned(), guide.clone());
        Ok(given)
    }

    /// Forgets a list; whether there was one.
    pub(super) fn delete(&self, name: &str) -> bool {
        self.lock().named.remove(name).is_some()
    }

    fn make(&self, nouns: &[String]) -> Result<Given, ApiError> {
        if nouns.len() > MAX_NOUNS {
            return Err(ApiError::too_large(format!(
                "a guide list has at most {MAX_NOUNS} nouns, not {}",
                nouns.len()
            )));
        }
        if let Some(long) = nouns.iter().find(|noun| noun.len() > MAX_NOUN) {
            return Err(ApiError::too_large(format!(
                "a noun has at most {MAX_NOUN} bytes, not {}",
                long.len()
            )));
        }
        let mut seen = std::collections::HashSet::new();
        let mut list = NounList::default();
        for noun in nouns.iter().map(|noun| noun.trim()) {
            if !noun.is_empty() {
                let of = match seen.insert(noun) {
                    true => &mut list.nouns,
                    false => &mut list.repeated,
                };
                of.push(noun.to_owned());
            }
        }
        let guide = self
            .decoder
            .guide(&list.nouns)
            .map_err(|error| match &error {
                InferError::Decoder(inner) if inner.is_usage() => {
                    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "guide", error.to_string())
                }
                _ => ApiError::internal(error.to_string()),
            })?;
        let mut warnings = guide.warnings(self.decoder.vocabulary().nouns());
        warnings.extend(list.note());
        Ok(Given {
            guide: Arc::new(guide),
            warnings: warnings.into(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Both maps are complete at all times.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(nouns: &[String]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for noun in nouns {
        hasher.update(&(noun.len() as u64).to_le_bytes());
        hasher.update(noun.as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{CheckpointSource, NovicModel};

    #[test]
    fn old_lists_make_room_for_new_ones() {
        let model = NovicModel::load(&CheckpointSource::Embedded).unwrap();
        let guides = Guides::new(model.decoder().clone(), model.guide().clone());
        let list =
            |nouns: &[&str]| -> Vec<String> { nouns.iter().map(|&noun| noun.to_owned()).collect() };
        for nouns in [&["fox", "cat"][..], &["key", "dog", "fox"], &["cat"]] {
            guides.get(&Chosen::Nouns(list(nouns))).unwrap();
        }
        let held = || {
            let held = guides.lock();
            (held.inline.len(), held.order.len())
        };
        assert_eq!(held(), (3, 3));
        // Six nouns are held; four are left without the oldest list.
        guides.lock().forget_old(32, 5);
        assert_eq!(held(), (2, 2));
        guides.lock().forget_old(1, 5);
        assert_eq!(held(), (1, 1));
        guides.put("a", &list(&["fox", "key"])).unwrap();
        guides.put("b", &list(&["fox"])).unwrap();
        assert_eq!(guides.lock().registered_beside("a"), 1);
    }
}
