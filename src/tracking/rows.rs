//! Metric rows in columns: how points lie in a frame.
//!
//! Rows with the same column names share a block. A column stores its whole
//! numbers as differences, its numbers as single precision where nothing is
//! lost by it, byte plane by byte plane, so that general compression bites.

use super::value::Value;

/// How a cell is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Null,
    False,
    True,
    Integer,
    Number,
    Text,
    Json,
}

const TAGS: [Tag; 7] = [
    Tag::Null,
    Tag::False,
    Tag::True,
    Tag::Integer,
    Tag::Number,
    Tag::Text,
    Tag::Json,
];

/// Marks a column whose cells are not all stored alike.
const MIXED: u8 = 0xFF;

/// The values of one column, split by how they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Column {
    tags: Vec<Tag>,
    integers: Vec<i64>,
    numbers: Vec<f64>,
    texts: Vec<String>,
}

impl Column {
    pub(super) fn push(&mut self, value: &Value) {
        let tag = match value {
            Value::Null => Tag::Null,
            Value::Bool(false) => Tag::False,
            Value::Bool(true) => Tag::True,
            Value::Integer(value) => {
                self.integers.push(*value);
                Tag::Integer
            }
            Value::Number(value) => {
                self.numbers.push(*value);
                Tag::Number
            }
            Value::Text(text) => {
                self.texts.push(text.clone());
                Tag::Text
            }
            Value::Json(value) => {
                self.texts.push(value.to_string());
                Tag::Json
            }
        };
        self.tags.push(tag);
    }

    /// The values in order.
    pub(super) fn values(&self) -> impl Iterator<Item = Value> + '_ {
        let mut integers = self.integers.iter();
        let mut numbers = self.numbers.iter();
        let mut texts = self.texts.iter();
        self.tags.iter().map(move |tag| match tag {
            Tag::Null => Value::Null,
            Tag::False => Value::Bool(false),
            Tag::True => Value::Bool(true),
            Tag::Integer => integers
                .next()
                .map_or(Value::Null, |value| Value::Integer(*value)),
            Tag::Number => numbers
                .next()
                .map_or(Value::Null, |value| Value::Number(*value)),
            Tag::Text => texts
                .next()
                .map_or(Value::Null, |text| Value::Text(text.clone())),
            Tag::Json => texts
                .next()
                .and_then(|text| serde_json::from_str(text).ok())
                .map_or(Value::Null, Value::Json),
        })
    }

    /// The values in order as numbers, without the detour over [`Value`].
    pub(super) fn numbers(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        let mut integers = self.integers.iter();
        let mut numbers = self.numbers.iter();
        self.tags.iter().map(move |tag| match tag {
            Tag::Integer => integers.next().map(|value| *value as f64),
            Tag::Number => numbers.next().copied(),
            _ => None,
        })
    }

    fn append(&mut self, other: Column) {
        self.tags.extend(other.tags);
        self.integers.extend(other.integers);
        self.numbers.extend(other.numbers);
        self.texts.extend(other.texts);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let code = |tag: Tag| {
            TAGS.iter()
                .position(|other| *other == tag)
                .unwrap_or_default() as u8
        };
        match self.tags.first() {
            Some(first) if self.tags.iter().all(|tag| tag == first) => out.push(code(*first)),
            _ => {
                out.push(MIXED);
                out.extend(self.tags.iter().map(|tag| code(*tag)));
            }
        }
        push_differences(out, self.integers.iter().copied());
        push_numbers(out, &self.numbers);
        for text in &self.texts {
            push_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn decode(bytes: &mut Bytes<'_>, rows: usize) -> Option<Column> {
        let tag_of = |code: u8| TAGS.get(usize::from(code)).copied();
        let tags = match bytes.byte()? {
            MIXED => bytes
                .take(rows)?
                .iter()
                .map(|code| tag_of(*code))
                .collect::<Option<Vec<_>>>()?,
            code => vec![tag_of(code)?; rows],
        };
        let count = |wanted: &[Tag]| tags.iter().filter(|tag| wanted.contains(tag)).count();
        let integers = read_differences(bytes, count(&[Tag::Integer]))?;
        let numbers = read_numbers(bytes, count(&[Tag::Number]))?;
        let mut texts = Vec::new();
        for _ in 0..count(&[Tag::Text, Tag::Json]) {
            let length = usize::try_from(bytes.varint()?).ok()?;
            texts.push(String::from_utf8(bytes.take(length)?.to_vec()).ok()?);
        }
        Some(Column {
            tags,
            integers,
            numbers,
            texts,
        })
    }
}

/// Rows with the same column names, in the order they were logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block {
    /// Number of each row within its stage, from 0.
    pub(super) positions: Vec<u64>,
    /// Time of each row, µs since the start of the run.
    pub(super) times: Vec<u64>,
    /// One per column name.
    pub(super) columns: Vec<Column>,
}

impl Block {
    pub(super) fn new(columns: usize) -> Block {
        Block {
            columns: vec![Column::default(); columns],
            ..Default::default()
        }
    }

    pub(super) fn append(&mut self, other: Block) {
        self.positions.extend(other.positions);
        self.times.extend(other.times);
        for (ours, theirs) in self.columns.iter_mut().zip(other.columns) {
            ours.append(theirs);
        }
    }

    /// The payload of a frame: number of the column names, number of rows
    /// (`u32` each), positions, times, columns.
    pub(super) fn encode(&self, names: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.positions.len() * (4 + 8 * self.columns.len()));
        out.extend_from_slice(&names.to_le_bytes());
        out.extend_from_slice(&(self.positions.len() as u32).to_le_bytes());
        push_differences(&mut out, self.positions.iter().map(|value| *value as i64));
        push_differences(&mut out, self.times.iter().map(|value| *value as i64));
        for column in &self.columns {
            column.encode(&mut out);
        }
        out
    }

    /// Reads a payload. `columns_of` tells how many columns a number of names
    /// has. `None` if it cannot be a block.
    pub(super) fn decode(
        payload: &[u8],
        columns_of: impl Fn(u32) -> Option<usize>,
    ) -> Option<(u32, Block)> {
        let mut bytes = Bytes(payload);
        let names = bytes.word()?;
        let rows = bytes.word()? as usize;
        // A row takes at least one byte of position and one of time.
        if rows > bytes.0.len() / 2 {
            return None;
        }
        let unsigned = |values: Vec<i64>| {
            values
                .into_iter()
                .map(|value| value as u64)
                .collect::<Vec<_>>()
        };
        let positions = unsigned(read_differences(&mut bytes, rows)?);
        let times = unsigned(read_differences(&mut bytes, rows)?);
        let columns = (0..columns_of(names)?)
            .map(|_| Column::decode(&mut bytes, rows))
            .collect::<Option<Vec<_>>>()?;
        bytes.0.is_empty().then_some((
            names,
            Block {
                positions,
                times,
                columns,
            },
        ))
    }

    /// Drops the rows from `position` on.
    pub(super) fn rewind(&mut self, position: u64) {
        if self.positions.iter().all(|at| *at < position) {
            return;
        }
        let keep: Vec<bool> = self.positions.iter().map(|at| *at < position).collect();
        let mut kept = Block::new(self.columns.len());
        let pick = |values: &[u64]| {
            values
                .iter()
                .zip(&keep)
                .filter(|(_, keep)| **keep)
                .map(|(v, _)| *v)
                .collect()
        };
        kept.positions = pick(&self.positions);
        kept.times = pick(&self.times);
        for (column, kept) in self.columns.iter().zip(&mut kept.columns) {
            for (value, _) in column.values().zip(&keep).filter(|(_, keep)| **keep) {
                kept.push(&value);
            }
        }
        *self = kept;
    }
}

/// Whole numbers as variable-length differences.
fn push_differences(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let mut last = 0i64;
    for value in values {
        let difference = value.wrapping_sub(last);
        push_varint(out, ((difference << 1) ^ (difference >> 63)) as u64);
        last = value;
    }
}

fn read_differences(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<i64>> {
    let mut values = Vec::with_capacity(count.min(bytes.0.len()));
    let mut last = 0i64;
    for _ in 0..count {
        let coded = bytes.varint()?;
        last = last.wrapping_add((coded >> 1) as i64 ^ -((coded & 1) as i64));
        values.push(last);
    }
    Some(values)
}

/// Numbers as byte planes of 4 bytes where that loses nothing, else of 8.
fn push_numbers(out: &mut Vec<u8>, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    let single = values
        .iter()
        .all(|value| f64::from(*value as f32).to_bits() == value.to_bits());
    let width = if single { 4 } else { 8 };
    out.push(width as u8);
    let start = out.len();
    out.resize(start + width * values.len(), 0);
    let planes = &mut out[start..];
    for (row, value) in values.iter().enumerate() {
        let bytes = if single {
            u64::from((*value as f32).to_bits())
        } else {
            value.to_bits()
        }
        .to_le_bytes();
        for plane in 0..width {
            planes[plane * values.len() + row] = bytes[plane];
        }
    }
}

fn read_numbers(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<f64>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let width = match bytes.byte()? {
        width @ (4 | 8) => usize::from(width),
        _ => return None,
    };
    let planes = bytes.take(width.checked_mul(count)?)?;
    let values = (0..count).map(|row| {
        let mut word = [0; 8];
        for (plane, byte) in word.iter_mut().take(width).enumerate() {
            *byte = planes[plane * count + row];
        }
        let bits = u64::from_le_bytes(word);
        if width == 4 {
            f64::from(f32::from_bits(bits as u32))
        } else {
            f64::from_bits(bits)
        }
    });
    Some(values.collect())
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The unread rest of a payload.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Integer),
            any::<u64>().prop_map(|bits| Value::Number(f64::from_bits(bits))),
            any::<u32>().prop_map(|bits| Value::Number(f64::from(f32::from_bits(bits)))),
            ".{0,12}".prop_map(Value::Text),
            any::<i32>().prop_map(|number| Value::Json(serde_json::json!({ "rows": [number] }))),
        ]
    }

    /// Equality by bits, so that NaN equals itself.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits(),
            _ => a == b,
        }
    }

    proptest! {
        #[test]
        fn blocks_come_back(
            rows in proptest::collection::vec((any::<u64>(), any::<u64>(), value(), value()), 0..40),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut block = Block::new(2);
            for (position, time, a, b) in &rows {
                block.positions.push(*position);
                block.times.push(*time);
                block.columns[0].push(a);
                block.columns[1].push(b);
            }
            let payload = block.encode(7);
            let (names, found) = Block::decode(&payload, |names| (names == 7).then_some(2)).unwrap();
            prop_assert_eq!(names, 7);
            prop_assert_eq!(&found.positions, &block.positions);
            prop_assert_eq!(&found.times, &block.times);
            for (column, expected) in [(0, 2), (1, 3)] {
                for (found, row) in found.columns[column].values().zip(&rows) {
                    let expected = if expected == 2 { &row.2 } else { &row.3 };
                    prop_assert!(same(&found, expected), "{:?} {:?}", found, expected);
                }
            }
            let cut = cut.index(payload.len());
            prop_assert!(Block::decode(&payload[..cut], |_| Some(2)).is_none());
        }

        #[test]
        fn no_bytes_break_the_reader(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Block::decode(&payload, |_| Some(3));
        }
    }

    #[test]
    fn rewinding_drops_the_later_rows() {
        let mut block = Block::new(1);
        for at in 0..5u64 {
            block.positions.push(at);
            block.times.push(at * 10);
            block.columns[0].push(&if at % 2 == 0 {
                Value::Integer(at as i64)
            } else {
                Value::Number(0.5)
            });
        }
        block.rewind(3);
        assert_eq!(block.positions, [0, 1, 2]);
        assert_eq!(block.times, [0, 10, 20]);
        let values: Vec<_> = block.columns[0].values().collect();
        assert_eq!(
            values,
            [Value::Integer(0), Value::Number(0.5), Value::Integer(2)]
        );
    }
}
