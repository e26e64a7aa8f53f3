//! Automatic rows and columns: the distinct combinations of field values among
//! the records.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::Value;

use super::cell::key_text;
use crate::reports::field::Field;
use crate::reports::format::Format;
use crate::reports::record::{Record, plain};
use crate::reports::spec::Order;

/// A combination of field values.
pub(in crate::reports) type Key = Vec<Option<Value>>;

/// The combination of a record as one text, for maps.
pub(in crate::reports) fn key_of(by: &[Field], record: &Record) -> String {
    let mut text = String::new();
    for field in by {
        match field.of(record) {
            Some(value) => text.push_str(&key_text(value)),
            None => text.push_str("null"),
        }
        text.push('\n');
    }
    text
}

/// Distinct combinations, with the records of each.
pub(in crate::reports) struct Combinations<'r> {
    /// In order.
    pub keys: Vec<Combination<'r>>,
}

/// A combination.
pub(in crate::reports) struct Combination<'r> {
    /// Its values.
    pub key: Key,
    /// The same as a text.
    pub text: String,
    /// A record that has it.
    pub record: &'r Record,
    seen: usize,
}

impl<'r> Combinations<'r> {
    /// Of these records, sorted. `records` come oldest first.
    pub fn of(
        by: &[Field],
        order: Order,
        records: impl DoubleEndedIterator<Item = &'r Record>,
    ) -> Self {
        let mut found: HashMap<String, Combination<'r>> = HashMap::new();
        let add = |found: &mut HashMap<String, Combination<'r>>, record: &'r Record| {
            let text = key_of(by, record);
            let seen = found.len();
            found.entry(text.clone()).or_insert_with(|| Combination {
                key: by.iter().map(|field| field.of(record).cloned()).collect(),
                text,
                record,
                seen,
            });
        };
        match order {
            Order::FirstSeen => records.rev().for_each(|record| add(&mut found, record)),
            _ => records.for_each(|record| add(&mut found, record)),
        }
        let mut keys: Vec<Combination<'r>> = found.into_values().collect();
        match order {
            Order::Value => keys.sort_by(|left, right| {
                compare(&left.key, &right.key).then_with(|| left.text.cmp(&right.text))
            }),
            Order::File | Order::FirstSeen => keys.sort_by_key(|own| own.seen),
        }
        Self { keys }
    }
}

/// Null first, then numbers, then texts.
fn compare(left: &Key, right: &Key) -> Ordering {
    let rank = |value: &Option<Value>| match value {
        None => 0,
        Some(Value::Number(_)) => 1,
        Some(_) => 2,
    };
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| {
            let by_value = || match (left, right) {
                (Some(Value::Number(left)), Some(Value::Number(right))) => left
                    .as_f64()
                    .partial_cmp(&right.as_f64())
                    .unwrap_or(Ordering::Equal),
                (Some(left), Some(right)) => plain(left).cmp(&plain(right)),
                _ => Ordering::Equal,
            };
            rank(left).cmp(&rank(right)).then_with(by_value)
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The label of a combination; it may name other fields of its records too.
pub(in crate::reports) fn label(
    by: &[Field],
    format: Option<&Format>,
    combination: &Combination<'_>,
    missing: &str,
) -> String {
    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| missing.to_owned(), plain);
    let key = &combination.key;
    match format {
        None => key.iter().map(text).collect::<Vec<_>>().join(" / "),
        Some(format) => format.fill(
            |name| match by.iter().position(|field| field.name() == name) {
                Some(position) => key[position].clone(),
                None => Field::new(name).of(combination.record).cloned(),
            },
            missing,
        ),
    }
}
