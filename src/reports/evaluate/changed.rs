//! "What changed?": rows and columns of a table that names none, all values of
//! the configuration that differ between the records, and everything that was
//! measured.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::key_text;
use crate::reports::condition::Condition;
use crate::reports::field::{CONFIGURATIONS, Field};
use crate::reports::format::Format;
use crate::reports::record::Record;
use crate::reports::spec::{
    Aggregate, AutomaticRows, ColumnSpec, Direction, Measure, Order, Part, Replicates, SourceChoice,
};

/// Whether a number was measured: all that have a plain name, those of
/// predictions, and how a training ended.
fn is_measured(name: &str, record: &Record) -> bool {
    match name.split_once('.') {
        None => name != "seed",
        Some(("pred", _)) => true,
        Some(_) => name.starts_with("train.summary.") && record.text("run.action") == Some("train"),
    }
}

/// Rows and columns of these records. Fields that tell replicates apart make
/// no rows.
pub(super) fn rows_and_columns<'r>(
    records: impl Iterator<Item = &'r Record> + Clone,
    replicates: &Replicates,
) -> (AutomaticRows, Vec<ColumnSpec>) {
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut measured: BTreeSet<&str> = BTreeSet::new();
    for record in records.clone() {
        for (name, value) in &record.0 {
            let configured = CONFIGURATIONS.iter().any(|prefix| name.starts_with(prefix));
            if configured || matches!(name.as_str(), "dataset" | "gencfg" | "annotations") {
                values.entry(name).or_default().insert(key_text(value));
            } else if value.is_number() && is_measured(name, record) {
                measured.insert(name);
            }
        }
    }
    let mut by: Vec<Field> = Vec::new();
    for (name, texts) in values {
        let field = Field::new(name);
        if texts.len() > 1 && !replicates.by.iter().any(|own| own.is_same(&field)) {
            by.push(field);
        }
    }
    let rows = AutomaticRows {
        by,
        label: None,
        descending: false,
        order: Order::Value,
        union: Vec::new(),
        base: Condition::default(),
    };
    let column = |name: &&str| ColumnSpec {
        label: (*name).to_owned(),
        source: SourceChoice::Any,
        condition: Condition::default(),
        parts: vec![Part {
            name: String::new(),
            measure: Measure::Field(Field::new(name)),
            condition: None,
        }],
        aggregate: Aggregate::Mean,
        pick: None,
        direction: Direction::Max,
        format: Format::of_value(),
        join: None,
        decimals: 2,
        scale: 1.0,
        thousands: false,
        mark: true,
        reference: false,
        width: None,
        color: None,
        hide_empty: true,
        footnote: None,
        replicates: replicates.clone(),
        location: None,
    };
    (rows, measured.iter().map(column).collect())
}
