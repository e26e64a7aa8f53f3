//! Reading tables of keys with their places: every accessor says which key it
//! knows, and what is left at the end is unknown. Problems are collected, so
//! that all are shown at once.

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::{CellField, Field, Location, Node, Problem, Raw, Source, nearest};
use crate::reports::record::plain;

/// Problems found so far.
pub type Problems = RefCell<Vec<Problem>>;

/// A value with the text it stands in.
#[derive(Clone, Debug)]
pub struct Item {
    /// The text.
    pub source: Arc<Source>,
    /// The value.
    pub node: Node,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub location: Location,
    /// Its value.
    pub item: Item,
}

impl Item {
    /// Where it stands.
    pub fn location(&self) -> Location {
        Location::new(&self.source, self.node.span.clone())
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        self.node.text()
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        self.node.to_json().as_f64()
    }

    /// The entries of a table.
    pub fn entries(&self) -> Option<Vec<Entry>> {
        match &self.node.raw {
            Raw::Table(fields) => Some(entries(&self.source, fields)),
            _ => None,
        }
    }

    /// The members of a list.
    pub fn items(&self) -> Option<Vec<Item>> {
        match &self.node.raw {
            Raw::List(nodes) => Some(nodes.iter().map(|node| self.part(node)).collect()),
            _ => None,
        }
    }

    /// A value inside it.
    fn part(&self, node: &Node) -> Item {
        Item {
            source: Arc::clone(&self.source),
            node: node.clone(),
        }
    }

    /// Says that another type is wanted.
    pub fn wrong(&self, what: &str, expected: &str, problems: &Problems) {
        let problem = Problem::error(format!(
            "{what}: expected {expected}, found {}",
            self.node.describe()
        ));
        let problem = problem.at(self.location(), format!("expected {expected}"));
        problems.borrow_mut().push(problem);
    }

    /// Says what is wrong with it.
    pub fn fault(&self, title: impl Into<String>, help: Option<String>, problems: &Problems) {
        let problem = Problem::error(title).at(self.location(), "");
        let problem = help.into_iter().fold(problem, Problem::help);
        problems.borrow_mut().push(problem);
    }
}

/// The entries of a table of a source.
pub fn entries(source: &Arc<Source>, fields: &[Field]) -> Vec<Entry> {
    let entry = |field: &Field| Entry {
        key: field.key.clone(),
        location: Location::new(source, field.key_span.clone()),
        item: Item {
            source: Arc::clone(source),
            node: field.value.clone(),
        },
    };
    fields.iter().map(entry).collect()
}

/// The entries of a cell of an experiment file.
pub fn cell_entries(fields: &[CellField]) -> Vec<Entry> {
    let entry = |field: &CellField| Entry {
        key: field.key.clone(),
        location: field.location.clone(),
        item: Item {
            source: Arc::clone(&field.location.source),
            node: field.value.clone(),
        },
    };
    fields.iter().map(entry).collect()
}

/// A table that is being read.
pub struct Keys<'p> {
    place: String,
    /// Where it stands.
    pub location: Location,
    entries: Vec<Entry>,
    known: RefCell<Vec<&'static str>>,
    /// Where problems go.
    pub problems: &'p Problems,
}

impl<'p> Keys<'p> {
    /// Reads these entries; `place` names the table in messages.
    pub fn new(
        place: impl Into<String>,
        location: Location,
        entries: Vec<Entry>,
        problems: &'p Problems,
    ) -> Self {
        Self {
            place: place.into(),
            location,
            entries,
            known: RefCell::default(),
            problems,
        }
    }

    /// Reads a value that must be a table.
    pub fn of(item: &Item, place: &str, problems: &'p Problems) -> Option<Self> {
        let Some(entries) = item.entries() else {
            item.wrong(place, "a table", problems);
            return None;
        };
        Some(Self::new(place, item.location(), entries, problems))
    }

    /// The entry of a key, which is known from now on.
    pub fn entry(&self, key: &'static str) -> Option<&Entry> {
        self.known.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub fn item(&self, key: &'static str) -> Option<&Item> {
        self.entry(key).map(|entry| &entry.item)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key)?;
        let value = read(item);
        if value.is_none() {
            item.wrong(&format!("{}: `{key}`", self.place), expected, self.problems);
        }
        value
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.typed(key, "a text", |item| item.text().map(str::to_owned))
    }

    /// A text; numbers count as theirs, as parameters keep their types.
    pub fn label(&self, key: &'static str) -> Option<String> {
        self.typed(key, "a text", |item| match item.node.to_json() {
            serde_json::Value::Number(number) => Some(plain(&number.into())),
            _ => item.text().map(str::to_owned),
        })
    }

    /// True or false.
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", |item| item.node.to_json().as_bool())
    }

    /// A finite number.
    pub fn number(&self, key: &'static str) -> Option<f64> {
        self.typed(key, "a number", Item::number)
    }

    /// A whole number from 0.
    pub fn whole(&self, key: &'static str) -> Option<usize> {
        self.typed(key, "a whole number from 0", |item| {
            item.node.to_json().as_u64()?.try_into().ok()
        })
    }

    /// A list of texts; a text alone counts as a list of one.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        self.typed(key, "a list of texts", |item| match item.items() {
            None => item.text().map(|text| vec![text.to_owned()]),
            Some(items) => items
                .iter()
                .map(|item| item.text().map(str::to_owned))
                .collect(),
        })
    }

    /// A list.
    pub fn items(&self, key: &'static str) -> Option<Vec<Item>> {
        self.typed(key, "a list", Item::items)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let item = self.item(key)?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let Some(text) = item.text() else {
            let what = format!("{}: `{key}`", self.place);
            item.wrong(
                &what,
                &format!("one of {}", names.join(", ")),
                self.problems,
            );
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let help = match nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", names.join(", ")),
            };
            let title = format!("{}: `{key}` cannot be `{text}`", self.place);
            item.fault(title, Some(help), self.problems);
        }
        found.map(|(_, value)| *value)
    }

    /// A table inside it.
    pub fn keys(&self, key: &'static str) -> Option<Keys<'p>> {
        let item = self.item(key)?;
        Keys::of(item, &format!("`{key}`"), self.problems)
    }

    /// All entries, whatever their keys.
    pub fn all(&self) -> &[Entry] {
        &self.entries
    }

    /// Says that a required key is missing.
    pub fn missing(&self, what: &str) {
        let problem = Problem::error(format!("{}: {what}", self.place));
        let problem = problem.at(self.location.clone(), "");
        self.problems.borrow_mut().push(problem);
    }

    /// Complains about keys that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for entry in &self.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let title = format!("{}: unknown key `{}`", self.place, entry.key);
            let help = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut names = known.clone();
                    names.sort_unstable();
                    names.dedup();
                    format!("known are {}", names.join(", "))
                }
            };
            let problem = Problem::error(title)
                .at(entry.location.clone(), "")
                .help(help);
            self.problems.borrow_mut().push(problem);
        }
    }
}
