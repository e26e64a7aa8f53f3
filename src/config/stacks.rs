//! All layers together: for every name the entries that give it, lowest first.

use std::collections::BTreeMap;

use super::layer::{Entry, Slot};
use super::problem::Problem;
use super::schema::Key;

/// The entries of all layers.
#[derive(Debug, Clone, Default)]
pub(super) struct Stacks {
    by_path: BTreeMap<String, Vec<(usize, Entry)>>,
    layers: usize,
}

impl Stacks {
    /// Adds a layer above the others.
    pub fn add(&mut self, entries: Vec<Entry>, problems: &mut Vec<Problem>) {
        let layer = self.layers;
        self.layers += 1;
        for entry in entries {
            let stack = self.by_path.entry(entry.slot.path()).or_default();
            let twice = stack
                .iter()
                .find(|(_, other)| other.flat != entry.flat && same_surface(other, &entry));
            if let Some((_, other)) = twice {
                problems.push(both_spellings(other, &entry));
            }
            stack.push((layer, entry));
        }
    }

    /// Removes what the layers so far give for a name and below it; whether
    /// there was anything.
    pub fn remove(&mut self, path: &str) -> bool {
        let before = self.by_path.len();
        self.by_path.retain(|name, _| {
            name != path
                && !name
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        self.by_path.len() < before
    }

    /// Whether any layer gives a name.
    pub fn contains(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// The entry of a name that wins.
    pub fn top(&self, path: &str) -> Option<&Entry> {
        self.by_path.get(path)?.last().map(|(_, entry)| entry)
    }

    /// The entries of a name, lowest first.
    pub fn of(&self, path: &str) -> Vec<&Entry> {
        let stack = self.by_path.get(path).into_iter().flatten();
        stack.map(|(_, entry)| entry).collect()
    }

    /// The entries of all layers.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_path.values().flatten().map(|(_, entry)| entry)
    }

    /// All names with the entries that win, in the order in which the names
    /// were first given.
    pub fn in_order(&self) -> Vec<&Entry> {
        let mut tops: Vec<_> = self
            .by_path
            .values()
            .filter_map(|stack| {
                let (layer, first) = stack.first()?;
                Some(((*layer, first.key_location.span.start), &stack.last()?.1))
            })
            .collect();
        tops.sort_by_key(|&(order, _)| order);
        tops.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The layers, lowest first, each with its name and with what `pick` takes
    /// of its entries.
    pub fn layers<'a, T>(
        &'a self,
        mut pick: impl FnMut(&'a Entry) -> Option<T>,
    ) -> impl Iterator<Item = (String, Vec<T>)> {
        let mut layers: BTreeMap<usize, (String, Vec<T>)> = BTreeMap::new();
        for (layer, entry) in self.by_path.values().flatten() {
            if let Some(item) = pick(entry) {
                let name = || (entry.location.source.name(), Vec::new());
                layers.entry(*layer).or_insert_with(name).1.push(item);
            }
        }
        layers.into_values()
    }

    /// Entries of sections, lowest first.
    pub fn sections(&self) -> BTreeMap<&'static str, (&'static Key, Vec<&Entry>)> {
        self.by_path
            .values()
            .filter_map(|stack| {
                let Slot::Section(key) = &stack.first()?.1.slot else {
                    return None;
                };
                Some((
                    key.path,
                    (*key, stack.iter().map(|(_, entry)| entry).collect()),
                ))
            })
            .collect()
    }

    /// Entries that hold for one stage, of the keys that its table or an
    /// override of it gives. Files: sections, then the stage; above them
    /// variables and arguments in their order, whatever they are for.
    pub fn of_stage(&self, stage: &str) -> BTreeMap<&'static str, (&'static Key, Vec<&Entry>)> {
        let prefix = format!("stage.{stage}.");
        self.by_path
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter_map(|(_, own)| {
                let Slot::Stage(_, key) = &own.first()?.1.slot else {
                    return None;
                };
                let shared = self.by_path.get(key.path).into_iter().flatten();
                let mut all: Vec<_> = shared
                    .map(|item| (item, false))
                    .chain(own.iter().map(|item| (item, true)))
                    .collect();
                all.sort_by_key(|((layer, entry), is_own)| {
                    let file = entry.location.source.is_file();
                    (
                        !file,
                        if file { usize::from(*is_own) } else { *layer },
                        *layer,
                        *is_own,
                    )
                });
                Some((
                    key.path,
                    (*key, all.into_iter().map(|((_, entry), _)| entry).collect()),
                ))
            })
            .collect()
    }
}

/// Whether two entries stand in the same file, or both on the command line, or
/// both in the environment.
fn same_surface(a: &Entry, b: &Entry) -> bool {
    a.location.source.kind == b.location.source.kind
}

fn both_spellings(first: &Entry, second: &Entry) -> Problem {
    let path = second.slot.path();
    Problem::error(format!("`{path}` is given under both of its names"))
        .at(second.key_location.clone(), "given again here")
        .at(first.key_location.clone(), "given here")
        .help("leave out one of them")
}
