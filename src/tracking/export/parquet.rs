//! Metrics as a table of Apache Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::super::metrics::{Metrics, Row};
use super::super::value::Value;

/// Columns that every table has: number of the row within its stage, and its
/// time.
const FIXED: [&str; 2] = ["row", "time_us"];

/// Writes a row per logged row: `row` (its number within the stage), `time_us`
/// (UTC), and one column per name, null where there is no value. A
/// column is of whole numbers, numbers or truth values if all of its values
/// are, else of texts, in JSON where a value is no text.
///
/// # Errors
/// An output error.
pub fn write_parquet(metrics: &Metrics, out: &mut (impl Write + Send)) -> io::Result<()> {
    write(metrics, out).map_err(io::Error::other)
}

fn write(metrics: &Metrics, out: &mut (impl Write + Send)) -> Result<(), ParquetError> {
    let rows = metrics.rows();
    let columns: Vec<Column> = metrics
        .names()
        .into_iter()
        .map(|name| Column::of(name, &rows))
        .collect();
    let fields = [fixed(FIXED[0], None), fixed(FIXED[1], Some(timestamp()))];
    let fields = fields.into_iter().chain(columns.iter().map(Column::field));
    let schema = Type::group_type_builder("metrics")
        .with_fields(fields.collect::<Result<_, _>>()?)
        .build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let positions: Vec<_> = rows.iter().map(|row| whole(row.position)).collect();
    put::<Int64Type, _>(&mut group, &positions, None)?;
    let times: Vec<_> = rows.iter().map(|row| whole(row.time_us)).collect();
    put::<Int64Type, _>(&mut group, &times, None)?;
    for column in &columns {
        column.put(&rows, &mut group)?;
    }
    group.close()?;
    file.close()?;
    Ok(())
}

fn timestamp() -> LogicalType {
    LogicalType::timestamp(true, TimeUnit::MICROS)
}

fn fixed(name: &str, meaning: Option<LogicalType>) -> Result<TypePtr, ParquetError> {
    Type::primitive_type_builder(name, Physical::INT64)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(meaning)
        .build()
        .map(Arc::new)
}

/// Writes a column; `present` has a 1 for each row with a value, else a 0.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".into()));
    };
    column.typed::<T>().write_batch(values, present, None)?;
    column.close()
}

/// What the values of a column have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Number,
    Bool,
    Text,
}

struct Column<'a> {
    name: &'a str,
    kind: Kind,
}

impl<'a> Column<'a> {
    fn of(name: &'a str, rows: &[Row]) -> Column<'a> {
        let of_value = |value: &Value| match value {
            Value::Null => None,
            Value::Integer(_) => Some(Kind::Integer),
            Value::Number(_) => Some(Kind::Number),
            Value::Bool(_) => Some(Kind::Bool),
            Value::Text(_) | Value::Json(_) => Some(Kind::Text),
        };
        let kinds = rows.iter().filter_map(|row| of_value(value(row, name)?));
        let both = |a, b| match (a, b) {
            (a, b) if a == b => a,
            (Kind::Integer, Kind::Number) | (Kind::Number, Kind::Integer) => Kind::Number,
            _ => Kind::Text,
        };
        // A column without a value may as well be one of numbers.
        let kind = kinds.reduce(both).unwrap_or(Kind::Number);
        Column { name, kind }
    }

    fn field(&self) -> Result<TypePtr, ParquetError> {
        let (physical, meaning) = match self.kind {
            Kind::Integer => (Physical::INT64, None),
            Kind::Number => (Physical::DOUBLE, None),
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let taken = FIXED.contains(&self.name);
        let name = format!("{}{}", self.name, if taken { "_" } else { "" });
        Type::primitive_type_builder(&name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(meaning)
            .build()
            .map(Arc::new)
    }

    fn put<W: Write + Send>(
        &self,
        rows: &[Row],
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let cells = || rows.iter().map(|row| value(row, self.name));
        let is_there = |cell: Option<&Value>| i16::from(!matches!(cell, None | Some(Value::Null)));
        let present: Vec<i16> = cells().map(is_there).collect();
        let values = cells().flatten();
        match self.kind {
            Kind::Integer => {
                let whole = |value: &Value| match value {
                    Value::Integer(value) => Some(*value),
                    _ => None,
                };
                let values: Vec<_> = values.filter_map(whole).collect();
                put::<Int64Type, _>(group, &values, Some(&present))
            }
            Kind::Number => {
                let values: Vec<_> = values.filter_map(Value::as_f64).collect();
                put::<DoubleType, _>(group, &values, Some(&present))
            }
            Kind::Bool => {
                let truth = |value: &Value| match value {
                    Value::Bool(value) => Some(*value),
                    _ => None,
                };
                let values: Vec<_> = values.filter_map(truth).collect();
                put::<BoolType, _>(group, &values, Some(&present))
            }
            Kind::Text => {
                let text = |value: &Value| match value {
                    Value::Null => None,
                    Value::Text(text) => Some(text.as_str().into()),
                    value => Some(value.to_json().to_string().as_str().into()),
                };
                let values: Vec<ByteArray> = values.filter_map(text).collect();
                put::<ByteArrayType, _>(group, &values, Some(&present))
            }
        }
    }
}

fn value<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    let found = row.values.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    #[test]
    fn values_keep_their_types() {
        let metrics = super::super::tests::metrics();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.parquet");
        let mut file = std::fs::File::create(&path).unwrap();
        write_parquet(&metrics, &mut file).unwrap();
        let reader = SerializedFileReader::try_from(path.as_path()).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let row = row.unwrap().to_string();
                row.split(", time_us: ").next().unwrap().to_owned()
                    + row.find(", good").map_or("", |at| &row[at..])
            })
            .collect();
        assert_eq!(
            rows,
            [
                r#"{row: 0, good: null, loss: 0.5, note: "a, "b"", step: null}"#,
                "{row: 1, good: null, loss: NaN, note: null, step: 20}",
                "{row: 2, good: null, loss: null, note: null, step: 30}",
                "{row: 3, good: true, loss: 3.0, note: null, step: null}",
            ]
        );
    }
}
