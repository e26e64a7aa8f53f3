//! Records as frames of polars, with one type per column.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame};
use serde_json::Value;

use super::record::{Record, plain};

/// Records as a frame: a row per record, and a column per field in the order of
/// their names. Columns are `i64`, `f64`, `bool` or texts. A field of whole and
/// other numbers is one of numbers, of several types one of texts; lists are
/// texts of JSON. What a record does not have is null.
pub fn frame(records: &[Record]) -> DataFrame {
    let column = |(name, kind): (&str, Kind)| -> Column {
        let values = records.iter().map(|record| record.get(name));
        let name = name.into();
        match kind {
            Kind::Whole => Column::new(name, values.map(|v| v?.as_i64()).collect::<Vec<_>>()),
            Kind::Number => Column::new(name, values.map(|v| v?.as_f64()).collect::<Vec<_>>()),
            Kind::Truth => Column::new(name, values.map(|v| v?.as_bool()).collect::<Vec<_>>()),
            Kind::Text => Column::new(name, values.map(|v| v.map(plain)).collect::<Vec<_>>()),
        }
    };
    let columns = kinds(records).into_iter().map(column).collect();
    // Names differ and all columns are as long as the records.
    DataFrame::new(records.len(), columns).unwrap_or_default()
}

/// What the values of a field have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Number,
    Truth,
    Text,
}

fn kinds(records: &[Record]) -> BTreeMap<&str, Kind> {
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
    for (name, value) in records.iter().flat_map(|record| &record.0) {
        let kind = match value {
            Value::Null => continue,
            Value::Number(number) if number.is_i64() => Kind::Whole,
            Value::Number(_) => Kind::Number,
            Value::Bool(_) => Kind::Truth,
            _ => Kind::Text,
        };
        let known = kinds.entry(name).or_insert(kind);
        *known = match (*known, kind) {
            (one, other) if one == other => one,
            (Kind::Whole | Kind::Number, Kind::Whole | Kind::Number) => Kind::Number,
            _ => Kind::Text,
        };
    }
    kinds
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_have_the_type_that_all_their_values_have() {
        let records = [
            Record::new()
                .with("whole", 1)
                .with("number", 1)
                .with("truth", true)
                .with("text", 1)
                .with("list", json!([1, 2])),
            Record::new().with("number", 1.5).with("text", "one"),
        ];
        let frame = frame(&records);
        let types = frame.columns().iter();
        let types: Vec<_> = types
            .map(|column| (column.name().to_string(), column.dtype().clone()))
            .collect();
        let expected = [
            ("list", DataType::String),
            ("number", DataType::Float64),
            ("text", DataType::String),
            ("truth", DataType::Boolean),
            ("whole", DataType::Int64),
        ];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(types, expected);
        assert_eq!(frame.height(), 2);
        assert_eq!(frame.column("whole").unwrap().null_count(), 1);
        assert_eq!(super::frame(&[]).height(), 0);
    }
}
