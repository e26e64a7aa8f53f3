//! The metrics of a stage, read back.

use std::collections::BTreeSet;

use super::rows::Block;
use super::value::Value;

/// Rows with the same names.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    names: Vec<String>,
    block: Block,
}

impl Stream {
    pub(super) fn new(names: Vec<String>) -> Stream {
        let block = Block::new(names.len());
        Stream { names, block }
    }

    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.block.positions.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.block.positions.is_empty()
    }

    /// Number of each row within its stage.
    pub fn positions(&self) -> &[u64] {
        &self.block.positions
    }

    /// Time of each row, µs since 1970.
    pub fn times(&self) -> &[u64] {
        &self.block.times
    }

    /// A column's values as numbers, `None` where a value is none.
    pub fn numbers(&self, name: &str) -> Option<impl Iterator<Item = Option<f64>> + '_> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(self.block.columns[at].numbers())
    }

    /// A column's values.
    pub fn values(&self, name: &str) -> Option<impl Iterator<Item = Value> + '_> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(self.block.columns[at].values())
    }
}

/// One row of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number within the stage, from 0.
    pub position: u64,
    /// µs since 1970.
    pub time_us: u64,
    /// Names and values.
    pub values: Vec<(String, Value)>,
}

/// All metrics of one stage. Rewound rows are not among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    streams: Vec<Stream>,
}

impl Metrics {
    /// Rows grouped by their names, groups in order of first appearance.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// All names in use.
    pub fn names(&self) -> BTreeSet<&str> {
        self.streams
            .iter()
            .flat_map(|stream| stream.names.iter().map(String::as_str))
            .collect()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.streams.iter().map(Stream::len).sum()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(Stream::is_empty)
    }

    /// Number of values.
    pub fn points(&self) -> usize {
        self.streams
            .iter()
            .map(|stream| stream.len() * stream.names.len())
            .sum()
    }

    /// The points of a curve: `y` over `x`, of all rows that have both as
    /// numbers, in the order of logging.
    pub fn curve(&self, x: &str, y: &str) -> Vec<(f64, f64)> {
        let mut found = Vec::new();
        for stream in &self.streams {
            if let (Some(xs), Some(ys)) = (stream.numbers(x), stream.numbers(y)) {
                let points = stream.positions().iter().zip(xs).zip(ys);
                found.extend(points.filter_map(|((at, x), y)| Some((*at, x?, y?))));
            }
        }
        found.sort_by_key(|(at, _, _)| *at);
        found.into_iter().map(|(_, x, y)| (x, y)).collect()
    }

    /// The last value logged under a name.
    pub fn last(&self, name: &str) -> Option<Value> {
        let last =
            |stream: &Stream| Some((*stream.positions().last()?, stream.values(name)?.last()?));
        self.streams
            .iter()
            .filter_map(last)
            .max_by_key(|(at, _)| *at)
            .map(|(_, value)| value)
    }

    /// All rows in the order of logging.
    pub fn rows(&self) -> Vec<Row> {
        let mut found = Vec::with_capacity(self.len());
        for stream in &self.streams {
            let mut columns: Vec<_> = stream
                .block
                .columns
                .iter()
                .map(|column| column.values())
                .collect();
            for (position, time_us) in stream.positions().iter().zip(stream.times()) {
                let values = columns
                    .iter_mut()
                    .map(|column| column.next().unwrap_or(Value::Null));
                let values = stream.names.iter().cloned().zip(values).collect();
                found.push(Row {
                    position: *position,
                    time_us: *time_us,
                    values,
                });
            }
        }
        found.sort_by_key(|row| row.position);
        found
    }

    /// Adds rows behind those of the same names.
    pub(super) fn append(&mut self, names: &[String], block: Block) {
        match self.streams.iter_mut().find(|stream| stream.names == names) {
            Some(stream) => stream.block.append(block),
            None => {
                let mut stream = Stream::new(names.to_vec());
                stream.block.append(block);
                self.streams.push(stream);
            }
        }
    }

    /// Drops the rows from `position` on.
    pub(super) fn rewind(&mut self, position: u64) {
        for stream in &mut self.streams {
            stream.block.rewind(position);
        }
        self.streams.retain(|stream| !stream.is_empty());
    }

    /// Number of the row that would come next.
    pub(super) fn next_position(&self) -> u64 {
        self.streams
            .iter()
            .filter_map(|stream| stream.positions().last())
            .max()
            .map_or(0, |last| last + 1)
    }
}
