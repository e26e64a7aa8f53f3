//! The columns of a table: `[[col]]`.

use serde_json::Value;

use super::reading::{Entry, Item, Keys, Problems};
use super::rows::{condition, field, format, json, parsed};
use super::source::SourceSpec;
use super::substitution::with_placeholders;
use super::table::Replicates;
use crate::config::{Location, nearest};
use crate::reports::condition::Condition;
use crate::reports::expression::Expression;
use crate::reports::field::Field;
use crate::reports::format::Format;

/// How the values of one cell become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Arithmetic mean.
    Mean,
    /// Largest value.
    Max,
    /// Smallest value.
    Min,
    /// Middle value.
    Median,
    /// Largest or smallest, whichever is better.
    Best,
    /// The oldest value.
    First,
    /// The newest value.
    Last,
    /// How many there are.
    Count,
    /// Their sum.
    Sum,
    /// Which different ones there are; of many numbers, their range.
    Distinct,
}

impl Aggregate {
    /// Their names.
    pub const ALL: [(&'static str, Aggregate); 10] = [
        ("mean", Self::Mean),
        ("max", Self::Max),
        ("min", Self::Min),
        ("median", Self::Median),
        ("best", Self::Best),
        ("first", Self::First),
        ("last", Self::Last),
        ("count", Self::Count),
        ("sum", Self::Sum),
        ("distinct", Self::Distinct),
    ];

    /// Whether it takes one of the values, so that there is a record it won
    /// with.
    pub fn has_winner(self) -> bool {
        matches!(
            self,
            Self::Max | Self::Min | Self::Best | Self::First | Self::Last
        )
    }
}

/// What is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Where a column's records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// One source.
    One(usize),
    /// The first that has a value.
    Any,
}

/// What is measured in a record.
#[derive(Clone, Debug)]
pub enum Measure {
    /// A field.
    Field(Field),
    /// Arithmetic on fields.
    Expression(Expression),
}

/// One aggregated value of a cell.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name in formats; empty for the only one.
    pub name: String,
    /// What is aggregated.
    pub measure: Measure,
    /// Records that count for it alone.
    pub condition: Option<Condition>,
}

/// A cell made of the texts whose values exist.
#[derive(Clone, Debug)]
pub struct Join {
    /// Between the texts of a group.
    pub separator: String,
    /// Groups of texts.
    pub groups: Vec<Vec<Format>>,
    /// Between the groups.
    pub between: String,
}

/// How a cell is coloured.
#[derive(Clone, Debug)]
pub enum Color {
    /// By the value of a field.
    Field(Field),
    /// By the first bound that is not above the value; else the last colour.
    Bands(Vec<(f64, String)>, String),
}

/// A mark behind the text of cells, explained below the table.
#[derive(Clone, Debug)]
pub struct Footnote {
    /// Cells that have it: any of their records satisfies this.
    pub when: Condition,
    /// The mark.
    pub mark: String,
    /// The explanation.
    pub text: String,
}

/// One column.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    /// Header.
    pub label: String,
    /// Where its records come from.
    pub source: SourceChoice,
    /// Records that count, beside the table's condition.
    pub condition: Condition,
    /// What is aggregated.
    pub parts: Vec<Part>,
    /// How.
    pub aggregate: Aggregate,
    /// The column whose winning record is taken.
    pub pick: Option<String>,
    /// What is best.
    pub direction: Direction,
    /// Cell text.
    pub format: Format,
    /// Cell text of several parts.
    pub join: Option<Join>,
    /// Decimals at which cells are compared.
    pub decimals: usize,
    /// Factor before formatting.
    pub scale: f64,
    /// Thin spaces between groups of three digits.
    pub thousands: bool,
    /// Whether its cells are marked.
    pub mark: bool,
    /// Whether it is shown for reference only.
    pub reference: bool,
    /// Characters that are shown.
    pub width: Option<usize>,
    /// Colour.
    pub color: Option<Color>,
    /// Whether it goes if all cells are missing.
    pub hide_empty: bool,
    /// Mark with an explanation.
    pub footnote: Option<Footnote>,
    /// Replicates, where they differ from the table's.
    pub replicates: Replicates,
    /// Where it stands.
    pub location: Option<Location>,
}

/// What columns need to know of their table.
pub(super) struct Surroundings<'a> {
    pub sources: &'a [SourceSpec],
    pub replicates: &'a Replicates,
    pub problems: &'a Problems,
}

impl ColumnSpec {
    /// Reads a column, which may be repeated.
    pub(super) fn read(item: &Item, around: &Surroundings<'_>) -> Vec<Self> {
        repetitions(item, around.problems)
            .iter()
            .filter_map(|item| {
                let keys = Keys::of(item, "`[[col]]`", around.problems)?;
                Self::read_one(keys, around)
            })
            .collect()
    }

    fn read_one(keys: Keys<'_>, around: &Surroundings<'_>) -> Option<Self> {
        let _ = keys.item("foreach");
        let parts = parts(&keys);
        let aggregate = keys.choice("agg", &Aggregate::ALL);
        let named = keys.has("values") || keys.has("variants");
        let format = match format(&keys, "format") {
            Some(format) => {
                check_names(&keys, &format, &parts);
                format
            }
            None if named && !keys.has("join") && !keys.has("format") => {
                keys.missing("several values need a `format` or a `join`");
                Format::of_value()
            }
            None => Format::of_value(),
        };
        let column = Self {
            label: keys.label("label").unwrap_or_default(),
            source: source(&keys, around),
            condition: condition(&keys, "where"),
            aggregate: aggregate.unwrap_or(Aggregate::Mean),
            pick: keys.text("pick"),
            direction: keys
                .choice(
                    "direction",
                    &[("max", Direction::Max), ("min", Direction::Min)],
                )
                .unwrap_or(Direction::Max),
            format,
            join: join(&keys),
            decimals: keys.whole("decimals").unwrap_or(2),
            scale: keys.number("scale").unwrap_or(1.0),
            thousands: keys.flag("thousands").unwrap_or(false),
            mark: keys.flag("mark").unwrap_or(true),
            reference: keys.flag("reference").unwrap_or(false),
            width: keys.whole("width"),
            color: color(&keys),
            hide_empty: keys.flag("hide_empty").unwrap_or(false),
            footnote: footnote(&keys),
            replicates: match keys.keys("replicates") {
                Some(inner) => Replicates::read(inner, around.replicates),
                None => around.replicates.clone(),
            },
            location: Some(keys.location.clone()),
            parts,
        };
        keys.finish();
        (!column.parts.is_empty()).then_some(column)
    }
}

/// A column once for every combination of the values of `foreach`.
fn repetitions(item: &Item, problems: &Problems) -> Vec<Item> {
    let Some(foreach) = item.entries().and_then(|entries| {
        let mut entries = entries.into_iter();
        entries.find(|entry| entry.key == "foreach")
    }) else {
        return vec![item.clone()];
    };
    let Some(parameters) = foreach.item.entries() else {
        foreach
            .item
            .wrong("`foreach`", "a table such as { k = [1, 2, 3] }", problems);
        return Vec::new();
    };
    let mut combinations: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for parameter in &parameters {
        let Some(values) = values(&parameter.item) else {
            let expected = "a list, or a range such as \"1..3\"";
            parameter.item.wrong(&parameter.key, expected, problems);
            return Vec::new();
        };
        combinations = combinations
            .iter()
            .flat_map(|earlier| {
                values.iter().map(|value| {
                    let mut all = earlier.clone();
                    all.push((parameter.key.clone(), value.clone()));
                    all
                })
            })
            .collect();
    }
    let with = |values: &Vec<_>| with_placeholders(item, values);
    combinations.iter().map(with).collect()
}

/// Repetitions of a column at most.
const REPETITIONS: i64 = 10_000;

fn values(item: &Item) -> Option<Vec<Value>> {
    if let Some(items) = item.items() {
        return Some(items.iter().map(|item| item.node.to_json()).collect());
    }
    let (from, to) = item.text()?.split_once("..")?;
    let (from, to): (i64, i64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (to.checked_sub(from)? < REPETITIONS).then(|| (from..=to).map(Value::from).collect())
}

/// The values of a cell.
fn parts(keys: &Keys<'_>) -> Vec<Part> {
    let single = |measure: Measure| Part {
        name: String::new(),
        measure,
        condition: None,
    };
    let measure = match (field(keys, "value"), keys.text("expr")) {
        (Some(field), None) => Some(Measure::Field(field)),
        (None, Some(text)) => match Expression::parse(&text) {
            Ok(expression) => Some(Measure::Expression(expression)),
            Err(error) => {
                if let Some(item) = keys.item("expr") {
                    item.fault(format!("`expr`: {error}"), None, keys.problems);
                }
                None
            }
        },
        (Some(_), Some(_)) => {
            keys.missing("`value` and `expr` exclude each other");
            None
        }
        (None, None) => None,
    };
    let named = |entry: &Entry| {
        let Some(name) = entry.item.text() else {
            entry
                .item
                .wrong(&entry.key, "the name of a field", keys.problems);
            return None;
        };
        Some(Part {
            name: entry.key.clone(),
            measure: Measure::Field(Field::checked(name, &entry.item.location(), keys.problems)),
            condition: None,
        })
    };
    let values = keys.keys("values");
    let variants = keys.keys("variants");
    match (values, variants, measure) {
        (Some(values), None, None) => values.all().iter().filter_map(named).collect(),
        (None, Some(variants), Some(measure)) => {
            let variant = |entry: &Entry| {
                let conditions = entry.item.entries();
                if conditions.is_none() {
                    entry
                        .item
                        .wrong(&entry.key, "a condition table", keys.problems);
                }
                Some(Part {
                    name: entry.key.clone(),
                    measure: measure.clone(),
                    condition: Some(Condition::read(&conditions?, keys.problems)),
                })
            };
            variants.all().iter().filter_map(variant).collect()
        }
        (None, None, Some(measure)) => vec![single(measure)],
        (None, None, None) => {
            if !keys.has("value") && !keys.has("expr") {
                keys.missing("a column has no `value` (the field to show)");
            }
            Vec::new()
        }
        _ => {
            keys.missing("give one of `value`, `expr` and `values`, or `value` with `variants`");
            Vec::new()
        }
    }
}

/// Statistics that formats may name.
const STATISTICS: [&str; 12] = [
    "value", "mean", "std", "sem", "min", "max", "median", "best", "n", "expected", "ci_lo",
    "ci_hi",
];

fn check_names(keys: &Keys<'_>, format: &Format, parts: &[Part]) {
    let known = |name: &str| {
        let (part, statistic) = match name.rsplit_once('.') {
            Some((part, statistic)) => (part, statistic),
            None if parts.iter().any(|part| part.name == name) => (name, "value"),
            None => ("", name),
        };
        let has_part = part.is_empty() || parts.iter().any(|own| own.name == part);
        has_part && STATISTICS.contains(&statistic)
    };
    for name in format.names().filter(|name| !known(name)) {
        let names = parts.iter().map(|part| part.name.as_str());
        let names: Vec<&str> = STATISTICS.into_iter().chain(names).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => format!("known are {}", names.join(", ")),
        };
        if let Some(item) = keys.item("format") {
            let title = format!("there is no value `{name}`");
            item.fault(title, Some(help), keys.problems);
        }
    }
}

fn source(keys: &Keys<'_>, around: &Surroundings<'_>) -> SourceChoice {
    let Some(name) = keys.text("source") else {
        if around.sources.len() > 1 {
            keys.missing("there are several sources: say which with `source`");
        }
        return SourceChoice::One(0);
    };
    if name == "any" {
        return SourceChoice::Any;
    }
    let position = around.sources.iter().position(|source| source.name == name);
    if let (None, Some(item)) = (position, keys.item("source")) {
        let names: Vec<&str> = around.sources.iter().map(|s| s.name.as_str()).collect();
        let help = match nearest(&name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", names.join(", ")),
        };
        let title = format!("there is no source `{name}`");
        item.fault(title, Some(help), keys.problems);
    }
    SourceChoice::One(position.unwrap_or(0))
}

fn join(keys: &Keys<'_>) -> Option<Join> {
    let inner = keys.keys("join")?;
    let group = |item: &Item| -> Option<Vec<Format>> {
        let Some(items) = item.items() else {
            item.wrong("`groups`", "a list of lists of texts", inner.problems);
            return None;
        };
        let text = |item: &Item| {
            if item.text().is_none() {
                item.wrong("`groups`", "a list of lists of texts", inner.problems);
            }
            parsed(item.text()?, item, &inner)
        };
        items.iter().map(text).collect()
    };
    let groups = inner.items("groups").unwrap_or_default();
    let join = Join {
        separator: inner.text("separator").unwrap_or_else(|| " ".to_owned()),
        groups: groups.iter().filter_map(group).collect(),
        between: inner.text("between").unwrap_or_else(|| " ".to_owned()),
    };
    inner.finish();
    Some(join)
}

fn color(keys: &Keys<'_>) -> Option<Color> {
    let item = keys.item("color")?;
    let Some(items) = item.items() else {
        return field(keys, "color").map(Color::Field);
    };
    let mut bands = Vec::new();
    let mut last = None;
    for item in &items {
        let pair = item.items().unwrap_or_default();
        match (item.text(), pair.as_slice()) {
            (Some(color), _) if last.is_none() => last = Some(color.to_owned()),
            (None, [bound, color]) if bound.number().is_some() && color.text().is_some() => {
                let color = color.text().unwrap_or_default().to_owned();
                bands.push((bound.number().unwrap_or(0.0), color));
            }
            _ => {
                let expected = "a field, or bands such as [[-2, \"green\"], \"red\"]";
                item.wrong("`color`", expected, keys.problems);
                return None;
            }
        }
    }
    Some(Color::Bands(bands, last.unwrap_or_default()))
}

fn footnote(keys: &Keys<'_>) -> Option<Footnote> {
    let inner = keys.keys("footnote")?;
    let note = Footnote {
        when: condition(&inner, "when"),
        mark: inner.text("mark").unwrap_or_else(|| "†".to_owned()),
        text: inner.text("text").unwrap_or_default(),
    };
    inner.finish();
    Some(note)
}

/// Constants of a parameter table.
pub(super) fn parameters(entry: &Entry) -> Vec<(String, Value)> {
    let entries = entry.item.entries().unwrap_or_default();
    let pair = |entry: &Entry| (entry.key.clone(), json(entry));
    entries.iter().map(pair).collect()
}
