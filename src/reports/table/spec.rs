//! The keys of a table cell (`reports.md` 10.3): automatic rows by field
//! values and explicit columns.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::reports::condition::{Condition, ConditionError};
use crate::reports::format::{Format, FormatError};

/// A table cell that cannot be understood.
#[derive(Debug, Error)]
pub enum TableError {
    /// A key that tables do not have.
    #[error("table `{table}`: unknown key `{key}` in {place}{hint}")]
    UnknownKey {
        /// Table name.
        table: String,
        /// The key.
        key: String,
        /// Where it stands.
        place: &'static str,
        /// `; did you mean …`, or empty.
        hint: String,
    },
    /// A value of the wrong type.
    #[error("table `{table}`: `{key}` must be {expected}")]
    WrongType {
        /// Table name.
        table: String,
        /// The key.
        key: String,
        /// What is wanted.
        expected: &'static str,
    },
    /// A required key is missing.
    #[error("table `{table}`: {what}")]
    Missing {
        /// Table name.
        table: String,
        /// What to add.
        what: &'static str,
    },
    /// A condition is malformed.
    #[error("table `{table}`: {source}")]
    Condition {
        /// Table name.
        table: String,
        /// What is wrong.
        source: ConditionError,
    },
    /// A format text is malformed.
    #[error("table `{table}`: {source}")]
    Format {
        /// Table name.
        table: String,
        /// What is wrong.
        source: FormatError,
    },
}

/// How the values of one cell become one number.
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
    /// The newest value.
    Last,
    /// How many there are.
    Count,
    /// Their sum.
    Sum,
}

/// One row per distinct combination of field values.
#[derive(Clone, Debug)]
pub struct RowsSpec {
    /// Header of the label column.
    pub header: String,
    /// Fields that tell rows apart.
    pub by: Vec<String>,
    /// Row label; without it the field values joined by ` / `.
    pub label: Option<Format>,
    /// Reverses the order.
    pub descending: bool,
}

/// One column.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    /// Header.
    pub label: String,
    /// Field to aggregate.
    pub value: String,
    /// Records that count, beside the table's condition.
    pub condition: Condition,
    /// How to aggregate.
    pub aggregate: Aggregate,
    /// Factor before formatting.
    pub scale: f64,
    /// Cell text.
    pub format: Format,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Name of the cell.
    pub name: String,
    /// Printed above the table.
    pub title: Option<String>,
    /// Printed below the table.
    pub caption: Option<String>,
    /// Condition on all records.
    pub condition: Condition,
    /// Text of a cell without values.
    pub missing: String,
    /// The rows.
    pub rows: RowsSpec,
    /// The columns.
    pub columns: Vec<ColumnSpec>,
}

impl TableSpec {
    /// Reads the cell `[table.NAME]`.
    pub fn parse(name: &str, cell: &Map<String, Value>) -> Result<Self, TableError> {
        let reader = Reader {
            table: name,
            place: "the table",
            map: cell,
        };
        reader.only(&["title", "caption", "where", "missing", "rows", "col"])?;
        let rows = reader.map("rows")?.ok_or_else(|| TableError::Missing {
            table: name.to_owned(),
            what: "`rows` is missing; add for example `rows = { by = [\"dataset\"] }`",
        })?;
        let columns = match cell.get("col") {
            Some(Value::Array(items)) if !items.is_empty() => items
                .iter()
                .map(|item| match item {
                    Value::Object(map) => parse_column(name, map),
                    _ => Err(reader.wrong("col", "a list of tables (`[[table.NAME.col]]`)")),
                })
                .collect::<Result<_, _>>()?,
            _ => {
                return Err(TableError::Missing {
                    table: name.to_owned(),
                    what: "no column; add `[[table.NAME.col]]` with `label` and `value`",
                });
            }
        };
        Ok(Self {
            name: name.to_owned(),
            title: reader.text("title")?,
            caption: reader.text("caption")?,
            condition: reader.condition("where")?,
            missing: reader.text("missing")?.unwrap_or_else(|| "-".to_owned()),
            rows: parse_rows(name, rows)?,
            columns,
        })
    }
}

fn parse_rows(table: &str, map: &Map<String, Value>) -> Result<RowsSpec, TableError> {
    let reader = Reader {
        table,
        place: "`rows`",
        map,
    };
    reader.only(&["header", "by", "label", "descending"])?;
    let by: Vec<String> = match map.get("by") {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>(),
        _ => None,
    }
    .ok_or_else(|| reader.wrong("rows.by", "a list of field names"))?;
    Ok(RowsSpec {
        header: reader.text("header")?.unwrap_or_default(),
        by,
        label: reader.format("label")?,
        descending: reader.boolean("descending")?.unwrap_or(false),
    })
}

fn parse_column(table: &str, map: &Map<String, Value>) -> Result<ColumnSpec, TableError> {
    let reader = Reader {
        table,
        place: "`col`",
        map,
    };
    reader.only(&["label", "value", "where", "agg", "scale", "format"])?;
    let required = |key: &str, what: &'static str| -> Result<String, TableError> {
        reader.text(key)?.ok_or_else(|| TableError::Missing {
            table: table.to_owned(),
            what,
        })
    };
    let aggregate = match reader.text("agg")?.as_deref() {
        None | Some("mean") => Aggregate::Mean,
        Some("max") => Aggregate::Max,
        Some("min") => Aggregate::Min,
        Some("median") => Aggregate::Median,
        Some("last") => Aggregate::Last,
        Some("count") => Aggregate::Count,
        Some("sum") => Aggregate::Sum,
        Some(_) => {
            return Err(reader.wrong("agg", "one of mean, max, min, median, last, count, sum"));
        }
    };
    let scale = match map.get("scale") {
        None => 1.0,
        Some(value) => value
            .as_f64()
            .ok_or_else(|| reader.wrong("scale", "a number"))?,
    };
    let format = match reader.format("format")? {
        Some(format) => format,
        None => Format::parse("{value:.2f}").map_err(|source| TableError::Format {
            table: table.to_owned(),
            source,
        })?,
    };
    Ok(ColumnSpec {
        label: required("label", "a column has no `label`")?,
        value: required("value", "a column has no `value` (the field to show)")?,
        condition: reader.condition("where")?,
        aggregate,
        scale,
        format,
    })
}

struct Reader<'a> {
    table: &'a str,
    place: &'static str,
    map: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn only(&self, known: &[&str]) -> Result<(), TableError> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(TableError::UnknownKey {
                table: self.table.to_owned(),
                key: key.clone(),
                place: self.place,
                hint: nearest(key, known),
            }),
        }
    }

    fn wrong(&self, key: &str, expected: &'static str) -> TableError {
        TableError::WrongType {
            table: self.table.to_owned(),
            key: key.to_owned(),
            expected,
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, TableError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, TableError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn map(&self, key: &str) -> Result<Option<&Map<String, Value>>, TableError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(key, "a table")),
        }
    }

    fn format(&self, key: &str) -> Result<Option<Format>, TableError> {
        self.text(key)?
            .map(|text| Format::parse(&text))
            .transpose()
            .map_err(|source| TableError::Format {
                table: self.table.to_owned(),
                source,
            })
    }

    fn condition(&self, key: &str) -> Result<Condition, TableError> {
        self.map(key)?
            .map(Condition::parse)
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|source| TableError::Condition {
                table: self.table.to_owned(),
                source,
            })
    }
}

fn nearest(key: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(key, name), name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_else(|| format!("; known are {}", known.join(", ")))
}
