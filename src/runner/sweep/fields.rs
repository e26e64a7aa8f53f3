//! Reading the tables of a sweep file, with every mistake where it stands.

use std::sync::Arc;

use crate::config::overrides::KeyPart;
use crate::config::{Field, Location, Node, Problem, Raw, Source, nearest};

/// A table whose keys are known.
pub(super) struct Fields<'a> {
    pub source: &'a Arc<Source>,
    pub name: &'static str,
    pub problems: &'a mut Vec<Problem>,
}

impl Fields<'_> {
    /// The place of a part of the source.
    pub fn at(&self, node: &Node) -> Location {
        Location::new(self.source, node.span.clone())
    }

    /// Something wrong with the value of a key.
    pub fn wrong(&mut self, field: &Field, expected: &str) {
        let title = format!(
            "{}.{}: expected {expected}, found {}",
            self.name,
            field.key,
            field.value.describe()
        );
        let place = self.at(&field.value);
        self.problems.push(Problem::error(title).at(place, ""));
    }

    /// A key that the table does not have.
    pub fn unknown(&mut self, field: &Field, known: &[&str]) {
        let title = match self.name {
            "" => format!("unknown key `{}`", field.key),
            name => format!("unknown key `{}` in `{name}`", field.key),
        };
        let place = Location::new(self.source, field.key_span.clone());
        let problem = Problem::error(title).at(place, "");
        let help = match nearest(&field.key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("keys are {}", known.join(", ")),
        };
        self.problems.push(problem.help(help));
    }

    /// The fields of a table.
    pub fn table<'f>(&mut self, field: &'f Field) -> &'f [Field] {
        match &field.value.raw {
            Raw::Table(fields) => fields,
            _ => {
                let title = format!(
                    "`{}` is a table, found {}",
                    field.key,
                    field.value.describe()
                );
                let place = self.at(&field.value);
                self.problems
                    .push(Problem::error(title).at(place, "expected a table"));
                &[]
            }
        }
    }

    /// The tables of `[[name]]`.
    pub fn tables<'f>(&mut self, field: &'f Field) -> Vec<(&'f Node, &'f [Field])> {
        let items = match &field.value.raw {
            Raw::List(items) => items.as_slice(),
            Raw::Table(_) => std::slice::from_ref(&field.value),
            _ => &[],
        };
        let tables: Vec<_> = items
            .iter()
            .filter_map(|item| match &item.raw {
                Raw::Table(fields) => Some((item, fields.as_slice())),
                _ => None,
            })
            .collect();
        if tables.len() != items.len() || items.is_empty() {
            self.wrong(field, &format!("tables `[[{}]]`", field.key));
        }
        tables
    }

    pub fn text(&mut self, field: &Field) -> Option<String> {
        let text = field.value.text().map(str::to_owned);
        if text.is_none() {
            self.wrong(field, "a text");
        }
        text
    }

    pub fn texts(&mut self, field: &Field) -> Vec<(String, Location)> {
        let single = std::slice::from_ref(&field.value);
        let items = match &field.value.raw {
            Raw::List(items) => items.as_slice(),
            _ => single,
        };
        let mut texts = Vec::new();
        for item in items {
            match item.text() {
                Some(text) => texts.push((text.to_owned(), self.at(item))),
                None => self.wrong(field, "a text or a list of texts"),
            }
        }
        texts
    }

    /// A whole number of at least `min`.
    pub fn count(&mut self, field: &Field, min: u64) -> Option<u64> {
        let number = match field.value.raw {
            Raw::Int(number) => u64::try_from(number).ok().filter(|number| *number >= min),
            _ => None,
        };
        if number.is_none() {
            self.wrong(field, &format!("a whole number of at least {min}"));
        }
        number
    }

    pub fn number(&mut self, field: &Field) -> Option<f64> {
        let number = match field.value.raw {
            Raw::Int(number) => Some(number as f64),
            Raw::Float(number) if number.is_finite() => Some(number),
            _ => None,
        };
        if number.is_none() {
            self.wrong(field, "a number");
        }
        number
    }

    /// One of some names.
    pub fn choice<T: Copy>(&mut self, field: &Field, known: &[(&str, T)]) -> Option<T> {
        let text = field.value.text().unwrap_or_default();
        let found = known.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            self.wrong(field, &format!("one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// Keys with their values in a table of dotted keys, whatever the nesting.
pub(super) fn leaves(fields: &[Field]) -> Vec<(Vec<KeyPart>, &Node)> {
    fn walk<'a>(fields: &'a [Field], above: &[KeyPart], found: &mut Vec<(Vec<KeyPart>, &'a Node)>) {
        for field in fields {
            let mut key = above.to_vec();
            key.extend(field.key.split('.').map(|name| KeyPart {
                name: name.to_owned(),
                span: field.key_span.clone(),
            }));
            match &field.value.raw {
                Raw::Table(fields) => walk(fields, &key, found),
                _ => found.push((key, &field.value)),
            }
        }
    }
    let mut found = Vec::new();
    walk(fields, &[], &mut found);
    found
}
