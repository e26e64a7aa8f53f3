//! A table and its keys (`reports.md` 10.3).

use std::collections::BTreeMap;

use serde_json::Value;

use super::columns::{Aggregate, ColumnSpec, Measure, SourceChoice, Surroundings, parameters};
use super::reading::{Entry, Item, Keys, Problems};
use super::rows::{Order, RowsSpec, condition, fields, format, order};
use super::source::SourceSpec;
use super::substitution::{Parameters, with_parameters};
use crate::config::{Location, Node, Problem, nearest};
use crate::reports::condition::Condition;
use crate::reports::field::Field;
use crate::reports::format::Format;

/// What several records of one replicate become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The newest counts.
    Newest,
    /// Their mean.
    Mean,
    /// An error.
    Error,
    /// Each is a replicate of its own.
    All,
}

/// Replicates (seeds) of a cell.
#[derive(Clone, Debug)]
pub struct Replicates {
    /// Fields that identify one.
    pub by: Vec<Field>,
    /// Wanted number.
    pub expected: Option<usize>,
    /// What several records of one become.
    pub duplicates: Duplicates,
}

impl Default for Replicates {
    fn default() -> Self {
        Self {
            by: Vec::new(),
            expected: None,
            duplicates: Duplicates::Newest,
        }
    }
}

impl Replicates {
    /// Reads `replicates`; what it does not say is as in `outer`.
    pub(super) fn read(keys: Keys<'_>, outer: &Replicates) -> Self {
        let duplicates = keys.choice(
            "duplicates",
            &[
                ("newest", Duplicates::Newest),
                ("mean", Duplicates::Mean),
                ("error", Duplicates::Error),
                ("all", Duplicates::All),
            ],
        );
        let own = Self {
            by: fields(&keys, "by").unwrap_or_else(|| outer.by.clone()),
            expected: keys.whole("expected").or(outer.expected),
            duplicates: duplicates.unwrap_or(outer.duplicates),
        };
        keys.finish();
        own
    }
}

/// Which cells are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkScope {
    /// All of a column.
    Table,
    /// Those of a group.
    Group,
}

/// Along what cells are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkAxis {
    /// Within a column.
    Column,
    /// Within a row.
    Row,
}

/// Marks of the best cells.
#[derive(Clone, Copy, Debug)]
pub struct MarkSpec {
    /// Whether the best is marked.
    pub best: bool,
    /// Whether the second best is.
    pub second: bool,
    /// Which cells are compared.
    pub scope: MarkScope,
    /// Along what.
    pub axis: MarkAxis,
    /// Fewer comparable cells get no mark.
    pub min_cells: usize,
}

/// What a cell with too few replicates is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialPolicy {
    /// Marked.
    Mark,
    /// Missing.
    Missing,
    /// An error.
    Error,
}

/// A column to sort by.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// Its label.
    pub column: String,
    /// Largest first.
    pub descending: bool,
}

/// Columns made of field values.
#[derive(Clone, Debug)]
pub struct AutomaticColumns {
    /// Fields that tell columns apart.
    pub by: Vec<Field>,
    /// Header.
    pub label: Option<Format>,
    /// Their order.
    pub order: Order,
}

/// A line or column that summarizes the others.
#[derive(Clone, Debug)]
pub struct Margin {
    /// Its label.
    pub label: String,
    /// How.
    pub aggregate: Aggregate,
    /// Before the others.
    pub first: bool,
}

/// Published numbers to show beside.
#[derive(Clone, Debug)]
pub struct Published {
    /// JSON file; without it the numbers of the paper that come with the
    /// program.
    pub file: Option<String>,
    /// Table in it.
    pub table: String,
    /// Labels of our rows and the names they have there.
    pub rows: BTreeMap<String, String>,
    /// Labels of our columns and the names they have there.
    pub columns: BTreeMap<String, String>,
    /// Whether our rows are its columns.
    pub transposed: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: String,
    /// Printed above.
    pub title: Option<Format>,
    /// Printed below.
    pub caption: Option<Format>,
    /// Where records come from.
    pub sources: Vec<SourceSpec>,
    /// Condition on all records.
    pub condition: Condition,
    /// Text of a cell without values.
    pub missing: String,
    /// One table per combination of their values.
    pub split: Vec<Field>,
    /// Marks of the best cells.
    pub mark: MarkSpec,
    /// Columns to sort by, the most important first.
    pub sort: Vec<SortKey>,
    /// What cells with too few replicates are.
    pub partial: PartialPolicy,
    /// Replicates of a cell.
    pub replicates: Replicates,
    /// Header of the column of labels.
    pub header: String,
    /// The rows.
    pub rows: RowsSpec,
    /// Automatic columns, of which the columns are the pattern.
    pub cols: Option<AutomaticColumns>,
    /// The columns.
    pub columns: Vec<ColumnSpec>,
    /// Plain columns before and behind automatic ones.
    pub fields: Vec<(bool, ColumnSpec)>,
    /// A line that summarizes the rows.
    pub margin_row: Option<Margin>,
    /// A column that summarizes the columns.
    pub margin_column: Option<Margin>,
    /// Label of the row that others are compared with.
    pub compare_to: Option<String>,
    /// Published numbers to show beside.
    pub published: Option<Published>,
    /// Values of the parameters, for titles.
    pub parameters: Vec<(String, Value)>,
    /// Where it stands.
    pub location: Location,
}

impl TableSpec {
    /// Reads a table. `given` are parameters of the command line; the keys of
    /// a table without `source` are about the stages of its experiment.
    pub fn read(
        name: &str,
        location: &Location,
        entries: &[Entry],
        given: &Parameters,
        problems: &Problems,
    ) -> Option<Self> {
        let place = if name.is_empty() {
            "the table".to_owned()
        } else {
            format!("table `{name}`")
        };
        read_cell(
            &place,
            location,
            entries,
            given,
            problems,
            |keys, parameters| Self::of(name, keys, parameters, problems),
        )
    }

    /// Fields of a source that its columns show and its automatic rows are
    /// told apart by; columns that go when they are empty are left out.
    pub fn measured(&self, source: usize) -> Vec<&Field> {
        let mut found = Vec::new();
        let own = |column: &&ColumnSpec| column.source == SourceChoice::One(source);
        let columns = self.columns.iter().filter(own);
        for column in columns.filter(|column| !column.hide_empty) {
            for part in &column.parts {
                match &part.measure {
                    Measure::Field(field) => found.push(field),
                    Measure::Expression(expression) => expression.fields(&mut found),
                }
            }
        }
        if let RowsSpec::Automatic(rows) = &self.rows {
            found.extend(rows.by.iter().filter(|_| self.sources.len() == 1));
        }
        found
    }

    /// Shows a published table beside, whatever the file says.
    pub fn set_published(&mut self, table: &str) {
        let own = self.published.take();
        self.published = Some(match own {
            Some(own) => Published {
                table: table.to_owned(),
                ..own
            },
            None => Published {
                file: None,
                table: table.to_owned(),
                rows: BTreeMap::new(),
                columns: BTreeMap::new(),
                transposed: false,
            },
        });
    }

    fn of(
        name: &str,
        keys: &Keys<'_>,
        parameters: Vec<(String, Value)>,
        problems: &Problems,
    ) -> Option<Self> {
        let _ = keys.item("report");
        let sources = SourceSpec::read_or(keys, SourceSpec::of_stages(keys.location.clone()));
        let replicates = match keys.keys("replicates") {
            Some(inner) => Replicates::read(inner, &Replicates::default()),
            None => Replicates::default(),
        };
        let conditions = named_conditions(keys, problems);
        let base_of = |item: &Item| {
            let Some(name) = item.text() else {
                item.wrong("`base`", "the name of a condition set", problems);
                return None;
            };
            let found = conditions.get(name);
            if found.is_none() {
                let help = match nearest(name, conditions.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add a table `[conditions.NAME]`".to_owned(),
                };
                let title = format!("there is no condition set `{name}`");
                item.fault(title, Some(help), problems);
            }
            found.cloned()
        };
        let has_columns = keys.has("col");
        let (rows, header) = match keys.keys("rows") {
            Some(inner) => RowsSpec::read(inner, base_of),
            None => {
                if has_columns {
                    keys.missing(
                        "`rows` is missing; add for example `rows = { by = [\"dataset\"] }`",
                    );
                }
                (RowsSpec::Changed, String::new())
            }
        };
        let around = Surroundings {
            sources: &sources,
            replicates: &replicates,
            problems,
        };
        let items = keys.items("col").unwrap_or_default();
        let columns: Vec<ColumnSpec> = items
            .iter()
            .flat_map(|item| ColumnSpec::read(item, &around))
            .collect();
        if !has_columns && !matches!(rows, RowsSpec::Changed) {
            keys.missing("no column; add `[[col]]` with `label` and `value`");
        }
        let cols = keys.keys("cols").map(|inner| {
            let cols = AutomaticColumns {
                by: fields(&inner, "by").unwrap_or_default(),
                label: format(&inner, "label"),
                order: order(&inner),
            };
            inner.finish();
            cols
        });
        let (margin_row, margin_column, margin_fields) = margins(keys, &around);
        let table = Self {
            name: name.to_owned(),
            title: format(keys, "title"),
            caption: format(keys, "caption"),
            condition: condition(keys, "where"),
            missing: keys.text("missing").unwrap_or_else(|| "-".to_owned()),
            split: fields(keys, "split").unwrap_or_default(),
            mark: mark(keys),
            sort: sort(keys),
            partial: keys
                .choice(
                    "partial",
                    &[
                        ("mark", PartialPolicy::Mark),
                        ("missing", PartialPolicy::Missing),
                        ("error", PartialPolicy::Error),
                    ],
                )
                .unwrap_or(PartialPolicy::Mark),
            compare_to: keys.text("compare_to"),
            published: published(keys),
            location: keys.location.clone(),
            fields: margin_fields,
            sources,
            replicates,
            header,
            rows,
            cols,
            columns,
            margin_row,
            margin_column,
            parameters,
        };
        table.check_labels(keys);
        (!table.sources.is_empty()).then_some(table)
    }

    /// Labels are unique, and `pick` and `sort` name some of them.
    fn check_labels(&self, keys: &Keys<'_>) {
        let mut labels: Vec<&str> = Vec::new();
        let all = self
            .columns
            .iter()
            .chain(self.fields.iter().map(|(_, column)| column));
        if self.cols.is_none() {
            for column in all.clone() {
                let title = if column.label.is_empty() {
                    Some("a column has no `label`".to_owned())
                } else if labels.contains(&column.label.as_str()) {
                    Some(format!("there are two columns `{}`", column.label))
                } else {
                    None
                };
                if let Some(title) = title {
                    let place = column.location.as_ref().unwrap_or(&keys.location);
                    let problem = Problem::error(title).at(place.clone(), "");
                    keys.problems.borrow_mut().push(problem);
                }
                labels.push(&column.label);
            }
        }
        let unknown = |what: &str, name: &str, place: &Location| {
            let help = match nearest(name, labels.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", labels.join(", ")),
            };
            let title = format!("`{what}` names `{name}`, which is no column");
            let problem = Problem::error(title).at(place.clone(), "").help(help);
            keys.problems.borrow_mut().push(problem);
        };
        for column in all {
            let Some(pick) = &column.pick else { continue };
            match self.columns.iter().find(|other| other.label == *pick) {
                None => unknown(
                    "pick",
                    pick,
                    column.location.as_ref().unwrap_or(&keys.location),
                ),
                Some(other) if !other.aggregate.has_winner() || other.pick.is_some() => {
                    keys.missing(&format!(
                        "column `{pick}` has no winning record: give it `agg = \"best\"`"
                    ));
                }
                Some(_) => {}
            }
        }
        if self.cols.is_some() || matches!(self.rows, RowsSpec::Changed) {
            return;
        }
        let margin = self.margin_column.as_ref().map(|margin| &margin.label);
        let place = keys
            .item("sort")
            .map_or_else(|| keys.location.clone(), Item::location);
        for key in &self.sort {
            let is_other = key.column == self.header || Some(&key.column) == margin;
            if !labels.contains(&key.column.as_str()) && !is_other {
                unknown("sort", &key.column, &place);
            }
        }
    }
}

/// Reads a cell with its parameters filled in; none if there are mistakes in it.
pub(in crate::reports) fn read_cell<T>(
    place: &str,
    location: &Location,
    entries: &[Entry],
    given: &Parameters,
    problems: &Problems,
    read: impl FnOnce(&Keys<'_>, Vec<(String, Value)>) -> Option<T>,
) -> Option<T> {
    let before = problems.borrow().len();
    let (entries, parameters) = substituted(entries, given, problems);
    let keys = Keys::new(place, location.clone(), entries, problems);
    let _ = keys.item("params");
    let cell = read(&keys, parameters);
    keys.finish();
    let failed = problems.borrow().len() > before;
    cell.filter(|_| !failed)
}

/// The entries with parameters filled in, and these.
fn substituted(
    entries: &[Entry],
    given: &Parameters,
    problems: &Problems,
) -> (Vec<Entry>, Vec<(String, Value)>) {
    let declared = entries.iter().find(|entry| entry.key == "params");
    let mut values = Parameters::new();
    for (name, value) in declared.map(parameters).unwrap_or_default() {
        let node = given.get(&name).cloned();
        values.insert(name, node.unwrap_or_else(|| Node::from_json(&value, 0..0)));
    }
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut unknown = Vec::new();
        let item = match entry.key.as_str() {
            "params" => entry.item.clone(),
            _ => with_parameters(&entry.item, &values, &mut unknown),
        };
        for name in unknown {
            let help = match nearest(&name, values.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `${near}`?"),
                None => "declare it: `[params]`".to_owned(),
            };
            let title = format!("there is no parameter `${name}`");
            entry.item.fault(title, Some(help), problems);
        }
        out.push(Entry {
            item,
            ..entry.clone()
        });
    }
    let values = values
        .iter()
        .map(|(name, node)| (name.clone(), node.to_json()));
    (out, values.collect())
}

fn named_conditions(keys: &Keys<'_>, problems: &Problems) -> BTreeMap<String, Condition> {
    let Some(inner) = keys.keys("conditions") else {
        return BTreeMap::new();
    };
    let read = |entry: &Entry| {
        let place = format!("`conditions.{}`", entry.key);
        let keys = Keys::of(&entry.item, &place, problems)?;
        Some((entry.key.clone(), Condition::read(keys.all(), problems)))
    };
    inner.all().iter().filter_map(read).collect()
}

fn mark(keys: &Keys<'_>) -> MarkSpec {
    let none = MarkSpec {
        best: false,
        second: false,
        scope: MarkScope::Table,
        axis: MarkAxis::Column,
        min_cells: 2,
    };
    let Some(inner) = keys.keys("mark") else {
        return none;
    };
    let mark = MarkSpec {
        best: inner.flag("best").unwrap_or(false),
        second: inner.flag("second").unwrap_or(false),
        scope: inner
            .choice(
                "scope",
                &[("table", MarkScope::Table), ("group", MarkScope::Group)],
            )
            .unwrap_or(none.scope),
        axis: inner
            .choice(
                "axis",
                &[("column", MarkAxis::Column), ("row", MarkAxis::Row)],
            )
            .unwrap_or(none.axis),
        min_cells: inner.whole("min_cells").unwrap_or(none.min_cells),
    };
    inner.finish();
    mark
}

fn sort(keys: &Keys<'_>) -> Vec<SortKey> {
    let key = |text: String| {
        let (descending, column) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        SortKey {
            column: column.to_owned(),
            descending,
        }
    };
    let texts = keys.texts("sort").unwrap_or_default();
    let keys_read: Vec<SortKey> = texts.into_iter().map(key).collect();
    if keys_read.iter().any(|key| key.column.is_empty()) {
        keys.missing("`sort` needs columns, such as \"-Top-1\"");
    }
    keys_read
}

type Margins = (Option<Margin>, Option<Margin>, Vec<(bool, ColumnSpec)>);

fn margins(keys: &Keys<'_>, around: &Surroundings<'_>) -> Margins {
    let Some(inner) = keys.keys("margin") else {
        return (None, None, Vec::new());
    };
    let position = |keys: &Keys<'_>| {
        let position = keys.choice("position", &[("first", true), ("last", false)]);
        position.unwrap_or(false)
    };
    let margin = |key| {
        inner.keys(key).map(|keys| {
            let margin = Margin {
                label: keys.text("label").unwrap_or_default(),
                aggregate: keys
                    .choice("agg", &Aggregate::ALL)
                    .unwrap_or(Aggregate::Mean),
                first: position(&keys),
            };
            keys.finish();
            margin
        })
    };
    let (row, column) = (margin("row"), margin("column"));
    let mut plain = Vec::new();
    for item in inner.items("fields").unwrap_or_default() {
        // The position is the margin's, everything else the column's.
        let Some(keys) = Keys::of(&item, "`[[margin.fields]]`", around.problems) else {
            continue;
        };
        let first = position(&keys);
        plain.extend(
            ColumnSpec::read(&without(&item, "position"), around)
                .into_iter()
                .map(|column| (first, column)),
        );
    }
    inner.finish();
    (row, column, plain)
}

/// A table without one of its keys.
fn without(item: &Item, key: &str) -> Item {
    let mut item = item.clone();
    if let crate::config::Raw::Table(fields) = &mut item.node.raw {
        fields.retain(|field| field.key != key);
    }
    item
}

fn published(keys: &Keys<'_>) -> Option<Published> {
    let inner = keys.keys("published")?;
    let names = |key| -> BTreeMap<String, String> {
        let Some(inner) = inner.keys(key) else {
            return BTreeMap::new();
        };
        let pair = |entry: &Entry| Some((entry.key.clone(), entry.item.text()?.to_owned()));
        inner.all().iter().filter_map(pair).collect()
    };
    let published = Published {
        file: inner.text("file"),
        table: inner.text("table").unwrap_or_default(),
        rows: names("rows"),
        columns: names("columns"),
        transposed: inner.flag("transposed").unwrap_or(false),
    };
    if !inner.has("table") {
        inner.missing("`table` is missing");
    }
    inner.finish();
    Some(published)
}
