//! Tables as Apache Parquet: a row per value of a cell, for other programs.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::reports::evaluate::{EvaluatedTable, Mark, PartValue};

/// One value of a cell.
struct Line<'a> {
    table: &'a EvaluatedTable,
    group: Option<&'a str>,
    row: &'a str,
    column: &'a str,
    text: &'a str,
    mark: Option<Mark>,
    partial: bool,
    runs: &'a [String],
    part: Option<&'a PartValue>,
}

const TEXTS: [&str; 8] = [
    "table", "group", "row", "column", "part", "text", "mark", "runs",
];
const NUMBERS: [&str; 3] = ["value", "std", "sem"];
const COUNTS: [&str; 3] = ["n", "expected", "partial"];

/// Writes tables one below the other.
///
/// # Errors
/// An output error.
pub fn write_parquet(tables: &[EvaluatedTable], out: &mut (impl Write + Send)) -> io::Result<()> {
    write(tables, out).map_err(io::Error::other)
}

fn write(tables: &[EvaluatedTable], out: &mut (impl Write + Send)) -> Result<(), ParquetError> {
    let lines: Vec<Line<'_>> = tables.iter().flat_map(lines).collect();
    let field = |name: &&str, physical: Physical, meaning: Option<LogicalType>| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(meaning)
            .build()
            .map(Arc::new)
    };
    let texts = TEXTS
        .iter()
        .map(|name| field(name, Physical::BYTE_ARRAY, Some(LogicalType::String)));
    let numbers = NUMBERS
        .iter()
        .map(|name| field(name, Physical::DOUBLE, None));
    let counts = COUNTS.iter().map(|name| field(name, Physical::INT64, None));
    let fields: Vec<TypePtr> = texts
        .chain(numbers)
        .chain(counts)
        .collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("table")
        .with_fields(fields)
        .build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for name in TEXTS {
        let values = lines.iter().map(|line| line.text(name));
        put::<ByteArrayType, _>(
            &mut group,
            values.map(|text| Some(ByteArray::from(text?.as_str()))),
        )?;
    }
    for name in NUMBERS {
        put::<DoubleType, _>(&mut group, lines.iter().map(|line| line.number(name)))?;
    }
    for name in COUNTS {
        put::<Int64Type, _>(&mut group, lines.iter().map(|line| line.count(name)))?;
    }
    group.close()?;
    file.close()?;
    Ok(())
}

fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".into()));
    };
    let values: Vec<Option<T::T>> = values.collect();
    let present: Vec<i16> = values
        .iter()
        .map(|value| i16::from(value.is_some()))
        .collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    column
        .typed::<T>()
        .write_batch(&values, Some(&present), None)?;
    column.close()
}

fn lines(table: &EvaluatedTable) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for group in &table.groups {
        for row in &group.rows {
            for (cell, column) in row.cells.iter().zip(&table.columns) {
                let line = |part| Line {
                    table,
                    group: group.title.as_deref(),
                    row: &row.label,
                    column: &column.label,
                    text: &cell.text,
                    mark: cell.mark,
                    partial: cell.partial,
                    runs: &cell.records,
                    part,
                };
                if cell.parts.is_empty() {
                    lines.push(line(None));
                }
                lines.extend(cell.parts.iter().map(|part| line(Some(part))));
            }
        }
    }
    lines
}

impl Line<'_> {
    fn text(&self, name: &str) -> Option<String> {
        Some(match name {
            "table" => self.table.name.clone(),
            "group" => self.group?.to_owned(),
            "row" => self.row.to_owned(),
            "column" => self.column.to_owned(),
            "part" => self.part?.name.clone(),
            "text" => self.text.to_owned(),
            "mark" => match self.mark? {
                Mark::Best => "best".to_owned(),
                Mark::Second => "second".to_owned(),
            },
            _ => self.runs.join(" "),
        })
    }

    fn number(&self, name: &str) -> Option<f64> {
        let part = self.part?;
        match name {
            "value" => part.value,
            "std" => part.statistics.std,
            _ => part.statistics.sem,
        }
    }

    fn count(&self, name: &str) -> Option<i64> {
        let whole = |count: usize| i64::try_from(count).ok();
        match name {
            "n" => whole(self.part.map_or(0, |part| part.statistics.n)),
            "expected" => whole(self.part?.statistics.expected?),
            _ => Some(i64::from(self.partial)),
        }
    }
}
