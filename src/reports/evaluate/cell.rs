//! One cell: its records, replicates, statistics and text.

use std::sync::Arc;

use serde_json::Value;

use super::compare::SamplePoints;
use super::summary::Statistics;
use crate::reports::record::{Record, plain};
use crate::reports::spec::{
    Aggregate, Color, ColumnSpec, Direction, Duplicates, Measure, Part, Replicates,
};
use crate::reports::wanted::each_name;

/// A mark of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The best.
    Best,
    /// The second best.
    Second,
}

/// One aggregated value of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartValue {
    /// Its name in formats; empty for the only one.
    pub name: String,
    /// Statistics of the replicates.
    pub statistics: Statistics,
    /// Values of the replicates, in order of their keys.
    pub values: Vec<f64>,
    /// The aggregated number, scaled.
    pub value: Option<f64>,
    /// What is shown where it is no number.
    pub shown: Option<Value>,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Text to show.
    pub text: String,
    /// Aggregated values; none for a missing cell.
    pub parts: Vec<PartValue>,
    /// Whether replicates are missing.
    pub partial: bool,
    /// Best or second best.
    pub mark: Option<Mark>,
    /// Name of its colour.
    pub color: Option<String>,
    /// Marks of footnotes behind it.
    pub footnotes: Vec<String>,
    /// Runs of the records it was made of.
    pub records: Vec<String>,
    /// Replicates that were found, as text.
    pub replicates: Vec<String>,
    /// Probability of a difference like this by chance, in cells that show one.
    pub p: Option<f64>,
    /// What each sample adds, in cells that are the mean over the samples of
    /// one record.
    pub(super) each: Option<Arc<SamplePoints>>,
    /// Index of the record that won, for columns that pick it.
    pub(super) winner: Option<usize>,
    /// The texts of its groups, for cells that are joined.
    pub(super) groups: Vec<String>,
}

impl Cell {
    /// A cell with a text alone.
    pub fn of_text(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// A cell with a number of so many values, and how it is shown.
    pub fn of_number(text: String, value: f64, n: usize) -> Self {
        let statistics = Statistics {
            n,
            ..Statistics::of(&[value], None, true)
        };
        Self {
            text,
            parts: vec![PartValue {
                value: Some(value),
                values: vec![value],
                statistics,
                ..PartValue::default()
            }],
            ..Self::default()
        }
    }

    /// The aggregated number.
    pub fn value(&self) -> Option<f64> {
        self.parts.first().and_then(|part| part.value)
    }

    /// Statistics of the first value.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.parts.first().map(|part| &part.statistics)
    }

    /// How many replicates there are.
    pub fn n(&self) -> usize {
        let counts = self.parts.iter().map(|part| part.statistics.n);
        counts.max().unwrap_or(0)
    }

    /// Whether there is no value.
    pub fn is_missing(&self) -> bool {
        self.n() == 0
    }
}

/// Several records of one replicate where only one may be.
#[derive(Debug)]
pub(super) struct Several {
    pub replicate: String,
    pub runs: Vec<String>,
}

/// The measured value of a record.
pub(super) fn measured(measure: &Measure, record: &Record) -> Option<Value> {
    match measure {
        Measure::Field(field) => field.of(record).cloned(),
        Measure::Expression(expression) => expression.of(record).map(Value::from),
    }
}

fn is_measured(measure: &Measure, record: &Record) -> bool {
    match measure {
        Measure::Field(field) => field.of(record).is_some(),
        Measure::Expression(expression) => expression.of(record).is_some(),
    }
}

/// What each sample adds to a measured value.
fn each(measure: &Measure, record: &Record, scale: f64) -> Option<Arc<SamplePoints>> {
    match measure {
        Measure::Field(field) => SamplePoints::of(record, each_name(field)?, scale),
        Measure::Expression(_) => None,
    }
}

/// A replicate of a cell: its key and its records, oldest first.
struct Replicate {
    key: String,
    members: Vec<usize>,
}

/// What fills a cell, beside its column.
pub(super) struct Content<'a> {
    pub records: &'a [Record],
    /// Indices of the records that count, oldest first.
    pub members: &'a [usize],
    pub missing: &'a str,
}

impl Content<'_> {
    /// The cell of a column.
    pub fn cell(&self, column: &ColumnSpec) -> Result<Cell, Several> {
        let mut cell = Cell::default();
        for part in &column.parts {
            let value = self.part(part, column, &mut cell)?;
            cell.parts.push(value);
        }
        cell.records.sort_unstable();
        cell.records.dedup();
        self.finish(column, &mut cell);
        Ok(cell)
    }

    /// The cell of a column that shows the record which won in another one.
    pub fn picked(&self, column: &ColumnSpec, from: &Cell) -> Cell {
        let mut cell = Cell::default();
        let record = from.winner.map(|winner| &self.records[winner]);
        for part in &column.parts {
            let value = record.and_then(|record| measured(&part.measure, record));
            let number = value.as_ref().and_then(Value::as_f64);
            let mut part = PartValue {
                name: part.name.clone(),
                value: number.map(|number| number * column.scale),
                values: number.into_iter().collect(),
                shown: value.clone(),
                ..PartValue::default()
            };
            let best_is_max = column.direction == Direction::Max;
            let expected = from.statistics().and_then(|own| own.expected);
            part.statistics = Statistics::of(&part.values, expected, best_is_max);
            part.statistics.n = usize::from(value.is_some());
            cell.parts.push(part);
        }
        if let (Some(record), Some(part)) = (record, column.parts.first()) {
            cell.each = each(&part.measure, record, column.scale);
        }
        cell.records = record.and_then(run_of).into_iter().collect();
        cell.replicates.clone_from(&from.replicates);
        cell.winner = from.winner;
        self.finish(column, &mut cell);
        cell.partial = from.partial && !cell.is_missing();
        cell
    }

    fn part(
        &self,
        part: &Part,
        column: &ColumnSpec,
        cell: &mut Cell,
    ) -> Result<PartValue, Several> {
        let counts = |index: &usize| {
            let record = &self.records[*index];
            is_measured(&part.measure, record)
                && part.condition.as_ref().is_none_or(|own| own.holds(record))
        };
        let members: Vec<usize> = self.members.iter().copied().filter(counts).collect();
        let replicates = &column.replicates;
        // Number of a replicate, or the text it shows; the record it is of.
        let mut numbers: Vec<f64> = Vec::new();
        let mut shown: Vec<(Value, usize)> = Vec::new();
        for replicate in self.grouped(&members, replicates) {
            let read = |index: usize| measured(&part.measure, &self.records[index]);
            let Some(&newest) = replicate.members.last() else {
                continue;
            };
            let value = match replicates.duplicates {
                Duplicates::Error if replicate.members.len() > 1 => {
                    let runs = replicate.members.iter();
                    return Err(Several {
                        replicate: replicate.key,
                        runs: runs.filter_map(|at| run_of(&self.records[*at])).collect(),
                    });
                }
                Duplicates::Mean => {
                    let all: Vec<f64> = replicate
                        .members
                        .iter()
                        .filter_map(|at| read(*at)?.as_f64())
                        .collect();
                    match Statistics::of(&all, None, true).mean {
                        Some(mean) => Some(Value::from(mean)),
                        None => read(newest),
                    }
                }
                _ => read(newest),
            };
            let Some(value) = value else { continue };
            numbers.extend(value.as_f64());
            shown.push((value, newest));
            let runs = replicate.members.iter();
            cell.records
                .extend(runs.filter_map(|at| run_of(&self.records[*at])));
            if cell.parts.is_empty() {
                cell.replicates.push(replicate.key);
            }
        }
        let best_is_max = column.direction == Direction::Max;
        let mut statistics = Statistics::of(&numbers, replicates.expected, best_is_max);
        let winner = winner(column, &shown);
        if let Some(winner) = winner.filter(|_| cell.winner.is_none()) {
            cell.winner = Some(shown[winner].1);
        }
        let one = match (winner, shown.as_slice()) {
            (Some(winner), _) => Some(shown[winner].1),
            (None, [(_, one)]) => Some(*one),
            _ => None,
        };
        if let Some(one) =
            one.filter(|_| cell.parts.is_empty() && replicates.duplicates != Duplicates::Mean)
        {
            cell.each = each(&part.measure, &self.records[one], column.scale);
        }
        let value = match column.aggregate {
            Aggregate::Mean => statistics.mean,
            Aggregate::Max => statistics.max,
            Aggregate::Min => statistics.min,
            Aggregate::Median => statistics.median,
            Aggregate::Best => statistics.best,
            Aggregate::Sum => statistics.sum,
            Aggregate::Count => (!shown.is_empty()).then_some(shown.len() as f64),
            Aggregate::Distinct => None,
            Aggregate::First | Aggregate::Last => {
                winner.and_then(|winner| shown[winner].0.as_f64())
            }
        };
        // Texts have no mean: where there is no number, the newest is shown.
        let text = winner
            .or_else(|| newest(&shown))
            .map(|at| shown[at].0.clone());
        let text = match column.aggregate {
            Aggregate::Distinct if !shown.is_empty() => Some(distinct(&shown).into()),
            _ => text,
        };
        statistics.n = statistics
            .n
            .max(if numbers.is_empty() { shown.len() } else { 0 });
        let scale = if column.aggregate == Aggregate::Count {
            1.0
        } else {
            column.scale
        };
        Ok(PartValue {
            name: part.name.clone(),
            value: value.map(|value| value * scale),
            shown: text,
            values: numbers,
            statistics,
        })
    }

    /// The members by replicate, in order of the replicates' keys.
    fn grouped(&self, members: &[usize], replicates: &Replicates) -> Vec<Replicate> {
        let key = |index: &usize| (self.replicate_key(*index, replicates), *index);
        let mut keyed: Vec<(String, usize)> = members.iter().map(key).collect();
        keyed.sort_by(|left, right| left.0.cmp(&right.0));
        let mut found: Vec<Replicate> = Vec::new();
        for (key, index) in keyed {
            let same = found.last_mut().filter(|last| last.key == key);
            match same.filter(|_| replicates.duplicates != Duplicates::All) {
                Some(replicate) => replicate.members.push(index),
                None => found.push(Replicate {
                    key,
                    members: vec![index],
                }),
            }
        }
        found
    }

    fn replicate_key(&self, index: usize, replicates: &Replicates) -> String {
        let record = &self.records[index];
        let text = |field: &crate::reports::field::Field| {
            let value = field.of(record);
            value.map_or_else(|| "null".to_owned(), key_text)
        };
        let parts: Vec<String> = replicates.by.iter().map(text).collect();
        format!("[{}]", parts.join(", "))
    }

    /// Text, colour and footnotes of a cell whose values are known.
    fn finish(&self, column: &ColumnSpec, cell: &mut Cell) {
        let expected = column.replicates.expected;
        let n = cell.n();
        cell.partial = expected.is_some_and(|expected| n > 0 && n < expected);
        write(column, cell, self.missing);
        if cell.is_missing() {
            return;
        }
        let newest = self.members.last().copied();
        let record = cell.winner.or(newest).map(|at| &self.records[at]);
        cell.color = column.color.as_ref().and_then(|color| match color {
            Color::Field(field) => field.of(record?).map(plain),
            Color::Bands(bands, last) => {
                let value = cell.value()?;
                let band = bands.iter().find(|(bound, _)| *bound <= value);
                Some(band.map_or_else(|| last.clone(), |(_, color)| color.clone()))
            }
        });
        if let Some(note) = &column.footnote
            && self
                .members
                .iter()
                .any(|at| note.when.holds(&self.records[*at]))
        {
            cell.footnotes.push(note.mark.clone());
        }
    }
}

/// A value as part of a replicate's key: equal numbers have equal texts.
pub(super) fn key_text(value: &Value) -> String {
    match value {
        Value::Number(_) => plain(value),
        other => other.to_string(),
    }
}

/// The run of a record, else the file it comes from.
pub(super) fn run_of(record: &Record) -> Option<String> {
    let own = |field: &str| record.get(field).map(plain);
    own("run.id").or_else(|| own("file"))
}

/// Different values that are listed; of more numbers, the range is.
const LISTED: usize = 4;

/// The different values in order, or the range of many numbers.
fn distinct(shown: &[(Value, usize)]) -> String {
    let mut numbers: Vec<f64> = shown
        .iter()
        .filter_map(|(value, _)| value.as_f64())
        .collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let text = |number: &f64| plain(&Value::from(*number));
    if let (Some(low), Some(high)) = (numbers.first(), numbers.last())
        && numbers.len() > LISTED
    {
        return format!("{}–{}", text(low), text(high));
    }
    let others = shown.iter().filter(|(value, _)| !value.is_number());
    let mut others: Vec<String> = others.map(|(value, _)| plain(value)).collect();
    others.sort_unstable();
    others.dedup();
    let mut all: Vec<String> = numbers.iter().map(text).collect();
    all.extend(others);
    all.join(", ")
}

/// Which of the replicates won.
fn winner(column: &ColumnSpec, shown: &[(Value, usize)]) -> Option<usize> {
    let best = |max: bool| {
        let numbers = shown.iter().enumerate();
        let numbers = numbers.filter_map(|(at, (value, _))| Some((at, value.as_f64()?)));
        numbers
            .reduce(|best, next| {
                let better = if max {
                    next.1 > best.1
                } else {
                    next.1 < best.1
                };
                if better { next } else { best }
            })
            .map(|(at, _)| at)
    };
    match column.aggregate {
        Aggregate::Max => best(true),
        Aggregate::Min => best(false),
        Aggregate::Best => best(column.direction == Direction::Max),
        Aggregate::Last => newest(shown),
        Aggregate::First => {
            let oldest = shown.iter().enumerate().min_by_key(|(_, (_, at))| *at);
            oldest.map(|(at, _)| at)
        }
        _ => None,
    }
}

/// Records are in order of age, so that the last is the newest.
fn newest(shown: &[(Value, usize)]) -> Option<usize> {
    let newest = shown.iter().enumerate().max_by_key(|(_, (_, at))| *at);
    newest.map(|(at, _)| at)
}

/// Writes the text of a cell.
pub(super) fn write(column: &ColumnSpec, cell: &mut Cell, missing: &str) {
    if cell.is_missing() {
        missing.clone_into(&mut cell.text);
        return;
    }
    if let Some(join) = &column.join {
        let texts = |formats: &Vec<crate::reports::format::Format>| {
            let exists = |format: &&crate::reports::format::Format| {
                format
                    .names()
                    .all(|name| named(cell, column, name).is_some())
            };
            let texts: Vec<String> = formats
                .iter()
                .filter(exists)
                .map(|format| format.fill(|name| named(cell, column, name), missing))
                .collect();
            texts.join(&join.separator)
        };
        cell.groups = join.groups.iter().map(texts).collect();
        cell.text = cell.groups.join(&join.between);
        return;
    }
    let mut text = column
        .format
        .fill(|name| named(cell, column, name), missing);
    if column.thousands {
        text = with_thousands(&text);
    }
    if let Some(width) = column.width {
        text = text.chars().take(width).collect();
    }
    cell.text = text;
}

/// A value of a cell by its name in formats.
fn named(cell: &Cell, column: &ColumnSpec, name: &str) -> Option<Value> {
    let own = |name: &str| cell.parts.iter().find(|part| part.name == name);
    if let Some(part) = own(name) {
        return statistic(part, column, "value");
    }
    if let Some((part, rest)) = name.rsplit_once('.')
        && let Some(part) = own(part)
    {
        return statistic(part, column, rest);
    }
    statistic(cell.parts.first()?, column, name)
}

fn statistic(part: &PartValue, column: &ColumnSpec, name: &str) -> Option<Value> {
    let own = &part.statistics;
    let scaled = |value: Option<f64>| value.map(|value| Value::from(value * column.scale));
    match name {
        "value" => part.value.map(Value::from).or_else(|| part.shown.clone()),
        "n" => Some(own.n.into()),
        "expected" => own.expected.map(Value::from),
        "mean" => scaled(own.mean),
        "std" => scaled(own.std),
        "sem" => scaled(own.sem),
        "min" => scaled(own.min),
        "max" => scaled(own.max),
        "median" => scaled(own.median),
        "best" => scaled(own.best),
        "ci_lo" => scaled(own.interval.map(|interval| interval.0)),
        "ci_hi" => scaled(own.interval.map(|interval| interval.1)),
        _ => None,
    }
}

/// Thin spaces between groups of three digits before the point.
fn with_thousands(text: &str) -> String {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let digits = text[start..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(text.len() - start, |length| length);
    let mut out = text[..start].to_owned();
    for (at, digit) in text[start..start + digits].chars().enumerate() {
        if at > 0 && (digits - at) % 3 == 0 {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out.push_str(&text[start + digits..]);
    out
}

#[cfg(test)]
mod tests {
    use super::with_thousands;

    #[test]
    fn thin_spaces_stand_between_groups_of_three() {
        assert_eq!(with_thousands("42919"), "42\u{2009}919");
        assert_eq!(
            with_thousands("-1234567.125 %"),
            "-1\u{2009}234\u{2009}567.125 %"
        );
        assert_eq!(with_thousands("919"), "919");
        assert_eq!(with_thousands("-"), "-");
    }
}
