//! Questions in SQL over records: every source is a frame, its columns the
//! fields of its records.

use std::collections::BTreeMap;

use polars::prelude::{AnyValue, Column, DataFrame, IntoLazy, PolarsError};
use polars::sql::SQLContext;
use serde_json::{Map, Value};
use thiserror::Error;

use super::record::{Record, plain};

/// A question that has no answer.
#[derive(Debug, Error)]
#[error("the query failed: {reason}{help}")]
pub struct QueryError {
    reason: String,
    help: String,
}

/// An answer: rows of values by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows of values.
    pub rows: Vec<Vec<Value>>,
}

impl Answer {
    /// The rows as objects.
    pub fn json(&self) -> Value {
        let row = |row: &Vec<Value>| -> Value {
            let fields = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(fields.collect::<Map<_, _>>())
        };
        self.rows.iter().map(row).collect()
    }
}

/// Answers a query over frames of these names.
pub fn answer(query: &str, frames: &[(String, Vec<Record>)]) -> Result<Answer, QueryError> {
    let failed = |error: PolarsError| {
        let known = frames.iter().map(|(name, records)| {
            let mut fields: Vec<&str> = fields(records).into_keys().collect();
            fields.truncate(40);
            format!("{name} ({})", fields.join(", "))
        });
        QueryError {
            reason: error.to_string(),
            help: format!(
                "; frames and their fields are {}; names with a dot stand in double quotes",
                known.collect::<Vec<_>>().join("; ")
            ),
        }
    };
    let mut context = SQLContext::new();
    for (name, records) in frames {
        context.register(name, frame(records).map_err(failed)?.lazy());
    }
    let found = context
        .execute(query)
        .and_then(|answer| answer.collect())
        .map_err(failed)?;
    let mut rows = vec![Vec::new(); found.height()];
    for column in found.columns() {
        for (at, row) in rows.iter_mut().enumerate() {
            row.push(value(&column.get(at).map_err(failed)?));
        }
    }
    let columns = found.columns().iter();
    Ok(Answer {
        columns: columns.map(|column| column.name().to_string()).collect(),
        rows,
    })
}

/// What the values of a field have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Number,
    Truth,
    Text,
}

fn fields(records: &[Record]) -> BTreeMap<&str, Kind> {
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

/// Records as a frame. A field with values of several types is one of texts.
fn frame(records: &[Record]) -> Result<DataFrame, PolarsError> {
    let column = |(name, kind): (&str, Kind)| -> Column {
        let values = records.iter().map(|record| record.get(name));
        match kind {
            Kind::Whole => {
                let values: Vec<Option<i64>> = values.map(|value| value?.as_i64()).collect();
                Column::new(name.into(), values)
            }
            Kind::Number => {
                let values: Vec<Option<f64>> = values.map(|value| value?.as_f64()).collect();
                Column::new(name.into(), values)
            }
            Kind::Truth => {
                let values: Vec<Option<bool>> = values.map(|value| value?.as_bool()).collect();
                Column::new(name.into(), values)
            }
            Kind::Text => {
                let values: Vec<Option<String>> = values.map(|value| value.map(plain)).collect();
                Column::new(name.into(), values)
            }
        }
    };
    DataFrame::new(
        records.len(),
        fields(records).into_iter().map(column).collect(),
    )
}

fn value(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(truth) => Value::Bool(*truth),
        AnyValue::String(text) => Value::from(*text),
        AnyValue::StringOwned(text) => Value::from(text.as_str()),
        other => match (other.extract::<i64>(), other.extract::<f64>()) {
            (Some(whole), Some(number)) if whole as f64 == number => Value::from(whole),
            (_, Some(number)) => Value::from(number),
            _ => Value::from(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_are_answered_and_mistakes_name_the_fields() {
        let record = |layers: i64, top1: f64| {
            Record::new()
                .with("config.layers", layers)
                .with("top1", top1)
                .with("dataset", "A")
        };
        let frames = [(
            "records".to_owned(),
            vec![record(4, 50.0), record(6, 60.5), record(6, 61.5)],
        )];
        let query = "SELECT \"config.layers\" AS layers, AVG(top1) AS top1, COUNT(*) AS n \
                     FROM records GROUP BY \"config.layers\" ORDER BY layers";
        let found = answer(query, &frames).unwrap();
        assert_eq!(
            found.json(),
            json!([
                {"layers": 4, "top1": 50, "n": 1},
                {"layers": 6, "top1": 61, "n": 2},
            ])
        );
        let error = answer("SELECT topp FROM records", &frames).unwrap_err();
        assert!(
            error.to_string().contains("config.layers, dataset, top1"),
            "{error}"
        );
    }
}
