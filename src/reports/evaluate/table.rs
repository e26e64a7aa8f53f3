//! The whole of a table: rows, columns, cells, marks, order.

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::Value;
use thiserror::Error;

use super::automatic::{Combination, Combinations, key_of, label};
use super::cell::{Cell, Content, Several};
use super::{changed, compare, margins, marks, published};
use crate::reports::condition::Condition;
use crate::reports::field::Field;
use crate::reports::format::Format;
use crate::reports::record::{Record, plain};
use crate::reports::spec::{
    AutomaticRows, ColumnSpec, Direction, PartialPolicy, RowsSpec, SourceChoice, TableSpec,
};

pub use published::published_numbers;

/// A table that cannot be made of its records.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// Several records of one replicate, where `duplicates = "error"`.
    #[error(
        "table `{table}`, row `{row}`, column `{column}`: replicate {replicate} has several \
         records ({runs}); choose with `where`, or give `replicates.duplicates`"
    )]
    Several {
        /// Table.
        table: String,
        /// Row.
        row: String,
        /// Column.
        column: String,
        /// Key of the replicate.
        replicate: String,
        /// Runs of the records.
        runs: String,
    },
    /// A cell with too few replicates, where `partial = "error"`.
    #[error(
        "table `{table}`, row `{row}`, column `{column}`: {found} of {expected} replicates; run \
         the others, or give `partial = \"mark\"`"
    )]
    Partial {
        /// Table.
        table: String,
        /// Row.
        row: String,
        /// Column.
        column: String,
        /// Replicates found.
        found: usize,
        /// Replicates wanted.
        expected: usize,
    },
    /// A row that does not exist.
    #[error("table `{table}` has no row `{row}` to compare with; rows are {known}")]
    NoRow {
        /// Table.
        table: String,
        /// The row.
        row: String,
        /// Those that there are.
        known: String,
    },
    /// Published numbers that cannot be read.
    #[error("table `{table}`: {reason}")]
    Published {
        /// Table.
        table: String,
        /// Why.
        reason: String,
    },
}

/// The records of a table's sources, in their order.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Vec<Record>>);

/// A column of an evaluated table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Header.
    pub label: String,
    /// Whether it is shown for reference only.
    pub reference: bool,
    pub(super) direction: Direction,
    pub(super) decimals: usize,
    pub(super) mark: bool,
}

/// A row of an evaluated table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Label.
    pub label: String,
    /// Steps of indentation.
    pub indent: usize,
    /// Whether others are compared with it.
    pub baseline: bool,
    /// Whether it is shown for reference only.
    pub reference: bool,
    /// One cell per column.
    pub cells: Vec<Cell>,
}

/// Rows with a title.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Title.
    pub title: Option<String>,
    /// Rows.
    pub rows: Vec<Row>,
}

/// A remark below a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its mark; empty for a general remark.
    pub mark: String,
    /// Its text.
    pub text: String,
}

/// A table ready to be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedTable {
    /// Its name.
    pub name: String,
    /// Printed above.
    pub title: Option<String>,
    /// Printed below.
    pub caption: Option<String>,
    /// Header of the column of labels.
    pub corner: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Groups of rows.
    pub groups: Vec<Group>,
    /// Remarks: footnotes, then missing replicates.
    pub notes: Vec<Note>,
    /// Text of a cell without values.
    pub missing: String,
}

impl EvaluatedTable {
    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }

    /// A table of rows that are made already.
    pub fn of_rows(corner: &str, columns: &[String], rows: Vec<Row>) -> Self {
        let column = |label: &String| Column {
            label: label.clone(),
            reference: false,
            direction: Direction::Max,
            decimals: 2,
            mark: false,
        };
        Self {
            name: String::new(),
            title: None,
            caption: None,
            corner: corner.to_owned(),
            columns: columns.iter().map(column).collect(),
            groups: vec![Group { title: None, rows }],
            notes: Vec::new(),
            missing: String::new(),
        }
    }

    /// A table of texts alone: the first column has the labels.
    pub fn of_texts(columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> Self {
        let row = |cells: Vec<String>| {
            let mut cells = cells.into_iter();
            Row {
                label: cells.next().unwrap_or_default(),
                cells: cells.map(Cell::of_text).collect(),
                ..Row::default()
            }
        };
        let (corner, columns) = match columns {
            [corner, columns @ ..] => (corner.as_str(), columns),
            [] => ("", columns),
        };
        Self::of_rows(corner, columns, rows.map(row).collect())
    }

    /// Cells whose replicates are not complete.
    pub fn partial_cells(&self) -> usize {
        let cells = self.rows().flat_map(|row| &row.cells);
        cells.filter(|cell| cell.partial).count()
    }
}

/// Evaluates a table: one per combination of the fields that it is split by.
/// `titles` has the values that its title may name.
pub fn evaluate(spec: &TableSpec, sources: &Sources) -> Result<Vec<EvaluatedTable>, EvaluateError> {
    let selected: Vec<Vec<Record>> = spec
        .sources
        .iter()
        .zip(&sources.0)
        .map(|(source, records)| {
            let holds =
                |record: &&Record| source.condition.holds(record) && spec.condition.holds(record);
            let mut kept: Vec<Record> = records.iter().filter(holds).cloned().collect();
            // Oldest first; records without a run stay in the order of their files.
            kept.sort_by(|left, right| age(left).cmp(&age(right)));
            kept
        })
        .collect();
    if spec.split.is_empty() {
        let all = Records {
            of: selected
                .iter()
                .map(|all| (0..all.len()).collect())
                .collect(),
            all: &selected,
        };
        return Ok(vec![one(spec, &all, None)?]);
    }
    let every = selected.iter().flatten();
    let combinations = Combinations::of(
        &spec.split,
        crate::reports::spec::Order::Value,
        every.collect::<Vec<_>>().into_iter(),
    );
    combinations
        .keys
        .iter()
        .map(|part_of| {
            let of = |records: &Vec<Record>| {
                let mine = |at: &usize| key_of(&spec.split, &records[*at]) == part_of.text;
                (0..records.len()).filter(mine).collect()
            };
            let part = Records {
                of: selected.iter().map(of).collect(),
                all: &selected,
            };
            one(spec, &part, Some(part_of))
        })
        .collect()
}

fn age(record: &Record) -> (Option<&str>, Option<&str>) {
    (record.text("run.created_at"), record.text("run.id"))
}

/// The records of each source that belong to a table, oldest first.
pub(super) struct Records<'a> {
    pub of: Vec<Vec<usize>>,
    pub all: &'a [Vec<Record>],
}

impl<'a> Records<'a> {
    fn iter(&self, source: usize) -> impl DoubleEndedIterator<Item = &'a Record> + Clone + '_ {
        let all = &self.all[source];
        self.of[source].iter().map(move |at| &all[*at])
    }
}

/// A row before its cells.
struct Draft {
    row: Row,
    /// Its records, by source.
    members: Vec<Vec<usize>>,
}

fn one(
    spec: &TableSpec,
    records: &Records<'_>,
    split: Option<&Combination<'_>>,
) -> Result<EvaluatedTable, EvaluateError> {
    let changed;
    let (row_spec, mut column_specs) = match &spec.rows {
        RowsSpec::Changed => {
            let all = (0..records.all.len()).flat_map(|source| records.iter(source));
            let all: Vec<&Record> = all.collect();
            let (rows, columns) = changed::rows_and_columns(all.iter().copied(), &spec.replicates);
            changed = RowsSpec::Automatic(rows);
            (&changed, columns)
        }
        own => (own, expanded_columns(spec, records)),
    };
    let with_margin = column_specs.clone();
    add_fields(spec, &mut column_specs);
    let drafts = match row_spec {
        RowsSpec::Automatic(automatic) => vec![(None, automatic_rows(spec, automatic, records))],
        RowsSpec::Groups(groups) => groups
            .iter()
            .map(|group| {
                let row = |row: &crate::reports::spec::RowSpec| Draft {
                    row: Row {
                        label: row.label.clone(),
                        indent: row.indent,
                        baseline: row.baseline,
                        reference: row.reference,
                        cells: Vec::new(),
                    },
                    members: members(records, &row.condition),
                };
                (group.title.clone(), group.rows.iter().map(row).collect())
            })
            .collect(),
        RowsSpec::Changed => Vec::new(),
    };
    let mut groups = Vec::new();
    for (title, drafts) in drafts {
        let drafts: Vec<Draft> = drafts;
        let rows = drafts
            .into_par_iter()
            .map(|draft| filled(spec, &column_specs, records, draft))
            .collect::<Result<Vec<Row>, EvaluateError>>()?;
        groups.push(Group { title, rows });
    }
    let mut columns: Vec<Column> = column_specs.iter().map(column_of).collect();
    margins::add(spec, &with_margin, &column_specs, &mut columns, &mut groups);
    hide_empty(&mut column_specs, &mut columns, &mut groups);
    margins::align_joined(&mut groups);
    sort(spec, &columns, &mut groups);
    marks::set(&spec.mark, &columns, &mut groups);
    let mut notes = notes(&column_specs, &columns, &groups);
    if let Some(row) = &spec.compare_to {
        compare::compare(spec, row, &mut columns, &mut groups, &mut notes)?;
    }
    if let Some(own) = &spec.published {
        published::add(spec, own, &mut columns, &mut groups).map_err(|reason| {
            EvaluateError::Published {
                table: spec.name.clone(),
                reason,
            }
        })?;
    }
    let named = |name: &str| {
        let at = spec.split.iter().position(|field| field.name() == name);
        match (at, split) {
            (Some(at), Some(split)) => split.key[at].clone(),
            _ => {
                let mut own = spec.parameters.iter();
                own.find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
            }
        }
    };
    let text = |format: &Format| format.fill(named, &spec.missing);
    let mut title = spec.title.as_ref().map(text);
    if let Some(split) = split {
        let names_split = spec.title.as_ref().is_some_and(|title| {
            let mut names = title.names();
            names.any(|name| spec.split.iter().any(|field| field.name() == name))
        });
        if !names_split {
            let own = label(&spec.split, None, split, &spec.missing);
            title = Some(match title {
                Some(title) => format!("{title} · {own}"),
                None => own,
            });
        }
    }
    Ok(EvaluatedTable {
        name: spec.name.clone(),
        title,
        caption: spec.caption.as_ref().map(text),
        corner: match (&spec.rows, row_spec) {
            (RowsSpec::Changed, RowsSpec::Automatic(rows)) => {
                let names = rows.by.iter().map(|field| {
                    let parts = field.name().split_once("config.");
                    parts.map_or(field.name(), |(_, key)| key)
                });
                names.collect::<Vec<_>>().join(" / ")
            }
            _ => spec.header.clone(),
        },
        columns,
        groups,
        notes,
        missing: spec.missing.clone(),
    })
}

fn column_of(spec: &ColumnSpec) -> Column {
    Column {
        label: spec.label.clone(),
        reference: spec.reference,
        direction: spec.direction,
        decimals: spec.decimals,
        mark: spec.mark,
    }
}

fn members(records: &Records<'_>, condition: &Condition) -> Vec<Vec<usize>> {
    let of = |(indices, all): (&Vec<usize>, &Vec<Record>)| {
        let holds = |at: &usize| condition.holds(&all[*at]);
        indices.iter().copied().filter(holds).collect()
    };
    records.of.iter().zip(records.all).map(of).collect()
}

/// Columns, the automatic ones written out.
fn expanded_columns(spec: &TableSpec, records: &Records<'_>) -> Vec<ColumnSpec> {
    let Some(cols) = &spec.cols else {
        return spec.columns.clone();
    };
    let mut columns = Vec::new();
    for pattern in &spec.columns {
        let sources: Vec<usize> = match pattern.source {
            SourceChoice::One(source) => vec![source],
            SourceChoice::Any => (0..records.all.len()).collect(),
        };
        let all: Vec<&Record> = sources
            .iter()
            .flat_map(|source| records.iter(*source))
            .filter(|record| pattern.condition.holds(record))
            .collect();
        for own_key in Combinations::of(&cols.by, cols.order, all.into_iter()).keys {
            let own = cols.by.iter().zip(&own_key.key);
            let condition = own.fold(pattern.condition.clone(), |condition, (field, value)| {
                condition.and(&Condition::equals(field, value.as_ref()))
            });
            let key_label = label(&cols.by, cols.label.as_ref(), &own_key, &spec.missing);
            let label = if pattern.label.is_empty() || spec.columns.len() == 1 {
                key_label
            } else {
                format!("{key_label} {}", pattern.label)
            };
            columns.push(ColumnSpec {
                label,
                condition,
                ..pattern.clone()
            });
        }
    }
    columns
}

fn add_fields(spec: &TableSpec, columns: &mut Vec<ColumnSpec>) {
    let own = |first: bool| {
        let all = spec.fields.iter().filter(move |(at, _)| *at == first);
        all.map(|(_, column)| column.clone())
    };
    columns.splice(0..0, own(true));
    columns.extend(own(false));
}

fn automatic_rows(spec: &TableSpec, rows: &AutomaticRows, records: &Records<'_>) -> Vec<Draft> {
    let takes_part =
        |source: &usize| rows.union.is_empty() || rows.union.contains(&spec.sources[*source].name);
    let base = members(records, &rows.base);
    let of = |source: usize| {
        let all = &records.all[source];
        base[source].iter().map(move |at| &all[*at])
    };
    let sources = (0..records.all.len()).filter(takes_part);
    let all: Vec<&Record> = sources.flat_map(of).collect();
    let mut keys = Combinations::of(&rows.by, rows.order, all.into_iter()).keys;
    if rows.descending {
        keys.reverse();
    }
    // Records of every key, found in one go.
    let mut of_key: Vec<HashMap<String, Vec<usize>>> = Vec::new();
    for (source, indices) in base.iter().enumerate() {
        let mut found: HashMap<String, Vec<usize>> = HashMap::new();
        for at in indices {
            let key = key_of(&rows.by, &records.all[source][*at]);
            found.entry(key).or_default().push(*at);
        }
        of_key.push(found);
    }
    keys.into_iter()
        .map(|own| Draft {
            row: Row {
                label: row_label(rows, &own, spec),
                ..Row::default()
            },
            members: of_key
                .iter_mut()
                .map(|found| found.remove(&own.text).unwrap_or_default())
                .collect(),
        })
        .collect()
}

fn row_label(rows: &AutomaticRows, own: &Combination<'_>, spec: &TableSpec) -> String {
    if rows.by.is_empty() {
        return spec.missing.clone();
    }
    label(&rows.by, rows.label.as_ref(), own, &spec.missing)
}

/// The row with its cells.
fn filled(
    spec: &TableSpec,
    columns: &[ColumnSpec],
    records: &Records<'_>,
    draft: Draft,
) -> Result<Row, EvaluateError> {
    let Draft { mut row, members } = draft;
    let mut cells: Vec<Option<Cell>> = vec![None; columns.len()];
    let several = |column: &ColumnSpec, several: Several| EvaluateError::Several {
        table: spec.name.clone(),
        row: row.label.clone(),
        column: column.label.clone(),
        replicate: several.replicate,
        runs: several.runs.join(", "),
    };
    for (at, column) in columns.iter().enumerate() {
        if column.pick.is_some() {
            continue;
        }
        let sources: Vec<usize> = match column.source {
            SourceChoice::One(source) => vec![source],
            SourceChoice::Any => (0..records.all.len()).collect(),
        };
        let mut cell = Cell::default();
        for source in sources {
            let mine = column_members(column, records, source, &members[source]);
            let content = Content {
                records: &records.all[source],
                members: &mine,
                missing: &spec.missing,
            };
            cell = content.cell(column).map_err(|own| several(column, own))?;
            if !cell.is_missing() {
                break;
            }
        }
        cells[at] = Some(cell);
    }
    for (at, column) in columns.iter().enumerate() {
        let Some(pick) = &column.pick else { continue };
        let from = columns
            .iter()
            .position(|other| other.label == *pick && other.pick.is_none());
        let source = match from.map(|from| columns[from].source) {
            Some(SourceChoice::One(source)) => source,
            _ => 0,
        };
        let from = from
            .and_then(|from| cells[from].clone())
            .unwrap_or_default();
        let mine = column_members(column, records, source, &members[source]);
        let content = Content {
            records: &records.all[source],
            members: &mine,
            missing: &spec.missing,
        };
        cells[at] = Some(content.picked(column, &from));
    }
    row.cells = cells.into_iter().map(Option::unwrap_or_default).collect();
    for (cell, column) in row.cells.iter_mut().zip(columns) {
        if !cell.partial {
            continue;
        }
        match spec.partial {
            PartialPolicy::Mark => {}
            PartialPolicy::Missing => {
                *cell = Cell {
                    text: spec.missing.clone(),
                    ..Cell::default()
                };
            }
            PartialPolicy::Error => {
                return Err(EvaluateError::Partial {
                    table: spec.name.clone(),
                    row: row.label.clone(),
                    column: column.label.clone(),
                    found: cell.n(),
                    expected: column.replicates.expected.unwrap_or(0),
                });
            }
        }
    }
    Ok(row)
}

fn column_members(
    column: &ColumnSpec,
    records: &Records<'_>,
    source: usize,
    members: &[usize],
) -> Vec<usize> {
    let all = &records.all[source];
    let holds = |at: &usize| column.condition.holds(&all[*at]);
    members.iter().copied().filter(holds).collect()
}

fn hide_empty(specs: &mut Vec<ColumnSpec>, columns: &mut Vec<Column>, groups: &mut [Group]) {
    for at in (0..columns.len()).rev() {
        let hides = specs
            .iter()
            .any(|spec| spec.hide_empty && spec.label == columns[at].label);
        let rows = groups.iter().flat_map(|group| &group.rows);
        if !hides || rows.into_iter().any(|row| !row.cells[at].is_missing()) {
            continue;
        }
        let gone = columns.remove(at);
        specs.retain(|spec| spec.label != gone.label);
        for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
            row.cells.remove(at);
        }
    }
}

/// Sorts within groups: numbers as numbers, what is missing last. A line that
/// summarizes the others stays where it is.
fn sort(spec: &TableSpec, columns: &[Column], groups: &mut [Group]) {
    for key in spec.sort.iter().rev() {
        let at = columns.iter().position(|column| column.label == key.column);
        for group in groups.iter_mut() {
            let all = group.rows.len();
            let summary = spec.margin_row.as_ref().filter(|own| {
                let end = if own.first {
                    group.rows.first()
                } else {
                    group.rows.last()
                };
                end.is_some_and(|row| row.label == own.label)
            });
            let sorted = match summary {
                Some(own) if own.first => &mut group.rows[1..],
                Some(_) => &mut group.rows[..all - 1],
                None => &mut group.rows[..],
            };
            sorted.sort_by(|left, right| {
                let value = |row: &Row| match at {
                    Some(at) => sort_value(&row.cells[at]),
                    None => Some(Value::from(row.label.as_str())),
                };
                let (left, right) = (value(left), value(right));
                let missing = left.is_none().cmp(&right.is_none());
                let (Some(left), Some(right)) = (left, right) else {
                    return missing;
                };
                let ordering = match (left.as_f64(), right.as_f64()) {
                    (Some(left), Some(right)) => left.total_cmp(&right),
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (None, None) => plain(&left).cmp(&plain(&right)),
                };
                if key.descending {
                    ordering.reverse()
                } else {
                    ordering
                }
            });
        }
    }
}

fn sort_value(cell: &Cell) -> Option<Value> {
    let part = cell.parts.first().filter(|_| !cell.is_missing())?;
    let number = part.value.map(Value::from);
    number.or_else(|| part.shown.clone())
}

/// Footnotes that are used, then the replicates that are missing.
fn notes(specs: &[ColumnSpec], columns: &[Column], groups: &[Group]) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    let rows = || groups.iter().flat_map(|group| &group.rows);
    let used = |mark: &str| {
        rows()
            .flat_map(|row| &row.cells)
            .any(|cell| cell.footnotes.iter().any(|own| own == mark))
    };
    for note in specs.iter().filter_map(|spec| spec.footnote.as_ref()) {
        let text = Note {
            mark: note.mark.clone(),
            text: note.text.clone(),
        };
        if used(&note.mark) && !notes.contains(&text) {
            notes.push(text);
        }
    }
    for row in rows() {
        for (cell, column) in row.cells.iter().zip(columns) {
            let Some(statistics) = cell.statistics().filter(|_| cell.partial) else {
                continue;
            };
            notes.push(Note {
                mark: String::new(),
                text: format!(
                    "{}, {}: {} of {} replicates, found {}",
                    row.label,
                    column.label,
                    statistics.n,
                    statistics.expected.unwrap_or(0),
                    cell.replicates.join(", ")
                ),
            });
        }
    }
    notes
}

impl TableSpec {
    /// All fields that a source's records need for this table; none if it
    /// wants whatever there is.
    pub fn fields(&self) -> Option<Vec<&Field>> {
        let mut found: Vec<&Field> = Vec::new();
        match &self.rows {
            RowsSpec::Changed => return None,
            RowsSpec::Automatic(rows) => {
                found.extend(&rows.by);
                rows.base.fields(&mut found);
            }
            RowsSpec::Groups(groups) => {
                for row in groups.iter().flat_map(|group| &group.rows) {
                    row.condition.fields(&mut found);
                }
            }
        }
        found.extend(&self.split);
        self.condition.fields(&mut found);
        for source in &self.sources {
            source.condition.fields(&mut found);
        }
        if let Some(cols) = &self.cols {
            found.extend(&cols.by);
        }
        let fields = self.fields.iter().map(|(_, column)| column);
        for column in self.columns.iter().chain(fields) {
            column.fields(&mut found);
        }
        Some(found)
    }
}

impl ColumnSpec {
    fn fields<'a>(&'a self, found: &mut Vec<&'a Field>) {
        use crate::reports::spec::{Color, Measure};
        self.condition.fields(found);
        found.extend(&self.replicates.by);
        for part in &self.parts {
            match &part.measure {
                Measure::Field(field) => found.push(field),
                Measure::Expression(expression) => expression.fields(found),
            }
            if let Some(condition) = &part.condition {
                condition.fields(found);
            }
        }
        if let Some(Color::Field(field)) = &self.color {
            found.push(field);
        }
        if let Some(note) = &self.footnote {
            note.when.fields(found);
        }
    }
}
