//! The rows of a table: automatic ones, one per combination of field values,
//! or groups of explicit ones.

use serde_json::Value;

use super::reading::{Entry, Item, Keys};
use crate::reports::condition::{Condition, equal};
use crate::reports::field::Field;
use crate::reports::format::Format;

/// Order of automatic rows and columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Null, then numbers, then texts.
    #[default]
    Value,
    /// As in the files they come from.
    File,
    /// As they are first seen, the newest run first.
    FirstSeen,
}

/// One row per distinct combination of field values.
#[derive(Clone, Debug)]
pub struct AutomaticRows {
    /// Fields that tell rows apart.
    pub by: Vec<Field>,
    /// Label; without it the field values joined by ` / `.
    pub label: Option<Format>,
    /// Reverses the order.
    pub descending: bool,
    /// The order.
    pub order: Order,
    /// Sources whose keys are rows; all where it is empty.
    pub union: Vec<String>,
    /// Condition on every row.
    pub base: Condition,
}

/// An explicit row.
#[derive(Clone, Debug)]
pub struct RowSpec {
    /// Its label.
    pub label: String,
    /// Steps of indentation.
    pub indent: usize,
    /// Whether others are compared with it.
    pub baseline: bool,
    /// Whether it is shown for reference only.
    pub reference: bool,
    /// Records of it.
    pub condition: Condition,
}

/// Rows with a title.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// The title.
    pub title: Option<String>,
    /// The rows.
    pub rows: Vec<RowSpec>,
}

/// The rows of a table.
#[derive(Clone, Debug)]
pub enum RowsSpec {
    /// Automatic.
    Automatic(AutomaticRows),
    /// Explicit.
    Groups(Vec<GroupSpec>),
    /// Whatever differs between the records.
    Changed,
}

impl RowsSpec {
    /// Reads `rows`; the header beside it.
    pub(super) fn read(
        keys: Keys<'_>,
        base_of: impl Fn(&Item) -> Option<Condition>,
    ) -> (Self, String) {
        let header = keys.text("header").unwrap_or_default();
        let base = keys.item("base").and_then(base_of).unwrap_or_default();
        let groups = keys.items("group");
        let rows = match groups {
            Some(groups) => {
                for key in ["by", "label", "descending", "order", "union"] {
                    if keys.has(key) {
                        keys.missing(&format!(
                            "`{key}` is for automatic rows, which exclude `group`"
                        ));
                    }
                }
                let group = |item: &Item| {
                    Keys::of(item, "`[[rows.group]]`", keys.problems)
                        .map(|keys| GroupSpec::read(keys, &base))
                };
                Self::Groups(groups.iter().filter_map(group).collect())
            }
            None => {
                let by = fields(&keys, "by");
                let rows = AutomaticRows {
                    by: by.unwrap_or_default(),
                    label: format(&keys, "label"),
                    descending: keys.flag("descending").unwrap_or(false),
                    order: order(&keys),
                    union: keys.texts("union").unwrap_or_default(),
                    base,
                };
                if !keys.has("by") {
                    keys.missing(
                        "there are no rows: add for example `by = [\"dataset\"]`, or \
                         `[[rows.group]]`",
                    );
                }
                Self::Automatic(rows)
            }
        };
        keys.finish();
        (rows, header)
    }
}

impl GroupSpec {
    fn read(keys: Keys<'_>, base: &Condition) -> Self {
        let title = keys.text("title");
        let mut rows = Vec::new();
        if let Some(field) = field(&keys, "vary") {
            let label = format(&keys, "label");
            let required = base.required(&field).cloned();
            let rest = base.without(&field);
            for item in keys.items("values").unwrap_or_default() {
                let value = item.node.to_json();
                let fill = |name: &str| (name == "value").then(|| value.clone());
                rows.push(RowSpec {
                    label: match &label {
                        Some(label) => label.fill(fill, "-"),
                        None => crate::reports::record::plain(&value),
                    },
                    indent: 0,
                    baseline: required.as_ref().is_some_and(|own| equal(own, &value)),
                    reference: false,
                    condition: rest.clone().and(&Condition::equals(&field, Some(&value))),
                });
            }
            if !keys.has("values") {
                keys.missing("`vary` needs `values`");
            }
        }
        for item in keys.items("rows").unwrap_or_default() {
            if let Some(keys) = Keys::of(&item, "`[[rows.group.rows]]`", keys.problems) {
                rows.push(RowSpec::read(keys, base));
            }
        }
        keys.finish();
        Self { title, rows }
    }
}

impl RowSpec {
    /// What a row says about a field replaces what the base says about it.
    fn read(keys: Keys<'_>, base: &Condition) -> Self {
        let mut base = base.clone();
        if let Some(inner) = keys.keys("where") {
            for entry in inner.all() {
                base = base.without(&Field::new(&entry.key));
            }
        }
        if !keys.has("label") {
            keys.missing("a row has no `label`");
        }
        let row = Self {
            label: keys.text("label").unwrap_or_default(),
            indent: keys.whole("indent").unwrap_or(0),
            baseline: keys.flag("baseline").unwrap_or(false),
            reference: keys.flag("reference").unwrap_or(false),
            condition: base.and(&condition(&keys, "where")),
        };
        keys.finish();
        row
    }
}

/// A condition.
pub(in crate::reports) fn condition(keys: &Keys<'_>, key: &'static str) -> Condition {
    keys.keys(key)
        .map(|inner| Condition::read(inner.all(), keys.problems))
        .unwrap_or_default()
}

/// A text with placeholders.
pub(in crate::reports) fn format(keys: &Keys<'_>, key: &'static str) -> Option<Format> {
    let text = keys.text(key)?;
    parsed(&text, keys.item(key)?, keys)
}

/// The same of a value that stands somewhere else.
pub(super) fn parsed(text: &str, item: &Item, keys: &Keys<'_>) -> Option<Format> {
    match Format::parse(text) {
        Ok(format) => Some(format),
        Err(error) => {
            item.fault(error.to_string(), None, keys.problems);
            None
        }
    }
}

/// The name of a field.
pub(in crate::reports) fn field(keys: &Keys<'_>, key: &'static str) -> Option<Field> {
    let name = keys.text(key)?;
    Some(Field::checked(
        &name,
        &keys.item(key)?.location(),
        keys.problems,
    ))
}

/// Names of fields.
pub(in crate::reports) fn fields(keys: &Keys<'_>, key: &'static str) -> Option<Vec<Field>> {
    let names = keys.texts(key)?;
    let item = keys.item(key)?;
    let places = match item.items() {
        Some(items) => items.iter().map(Item::location).collect(),
        None => vec![item.location()],
    };
    let checked = |(name, place): (&String, _)| Field::checked(name, place, keys.problems);
    Some(names.iter().zip(&places).map(checked).collect())
}

pub(super) fn order(keys: &Keys<'_>) -> Order {
    keys.choice(
        "order",
        &[
            ("value", Order::Value),
            ("file", Order::File),
            ("first_seen", Order::FirstSeen),
        ],
    )
    .unwrap_or_default()
}

/// The value of an entry as JSON.
pub(super) fn json(entry: &Entry) -> Value {
    entry.item.node.to_json()
}
