//! Metrics as an event file of TensorBoard: `Event` messages of protocol
//! buffers in the frames of TFRecord files.

use std::io::{self, Write};

use super::super::metrics::Metrics;
use super::super::value::Value;

/// Writes the numbers and truth values of all rows. `step` is the column that
/// counts steps: rows without it take the one before; without such a column,
/// rows are counted. Texts are left out.
///
/// # Errors
/// An output error.
pub fn write_tensorboard(
    metrics: &Metrics,
    step: Option<&str>,
    out: &mut impl Write,
) -> io::Result<()> {
    let rows = metrics.rows();
    let begin = rows.first().map_or(0, |row| row.time_us);
    let mut version = event(begin, 0);
    // Field 3: file_version.
    bytes_field(&mut version, 3, b"brain.Event:2");
    record(out, &version)?;
    let mut counted = 0;
    for row in rows {
        counted = match step {
            None => row.position as i64,
            Some(name) => {
                let value = row.values.iter().find(|(other, _)| other == name);
                let value = value.and_then(|(_, value)| value.as_f64());
                value.map_or(counted, |value| value as i64)
            }
        };
        let mut summary = Vec::new();
        for (name, value) in row.values.iter().filter(|(name, _)| Some(&**name) != step) {
            let number = match value {
                Value::Bool(value) => f64::from(u8::from(*value)),
                value => match value.as_f64() {
                    Some(number) => number,
                    None => continue,
                },
            };
            let mut scalar = Vec::new();
            // Fields 1 and 2: tag, simple_value.
            bytes_field(&mut scalar, 1, name.as_bytes());
            scalar.push((2 << 3) | 5);
            scalar.extend_from_slice(&(number as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &scalar);
        }
        if !summary.is_empty() {
            let mut event = event(row.time_us, counted);
            // Field 5: summary.
            bytes_field(&mut event, 5, &summary);
            record(out, &event)?;
        }
    }
    Ok(())
}

/// Fields 1 and 2 of an event: wall_time in seconds, step.
fn event(time_us: u64, step: i64) -> Vec<u8> {
    let mut message = vec![(1 << 3) | 1];
    message.extend_from_slice(&(time_us as f64 / 1e6).to_le_bytes());
    message.push(2 << 3);
    varint(&mut message, step as u64);
    message
}

fn bytes_field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    message.push((number << 3) | 2);
    varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// A frame: length, its checksum, content, its checksum.
fn record(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = (content.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(content)?;
    out.write_all(&masked_crc(content).to_le_bytes())
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ (0x82F6_3B78 & (value & 1).wrapping_neg());
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    /// Contents of the frames, checked.
    fn records(mut file: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(head[8..], masked_crc(&head[..8]).to_le_bytes());
            let (content, rest) = rest.split_at(length);
            let (crc, rest) = rest.split_at(4);
            assert_eq!(crc, masked_crc(content).to_le_bytes());
            found.push(content);
            file = rest;
        }
        found
    }

    fn steps(file: &[u8]) -> Vec<u8> {
        records(file).iter().map(|event| event[10]).collect()
    }

    #[test]
    fn numbers_become_scalars() {
        let metrics = super::super::tests::metrics();
        let mut file = Vec::new();
        write_tensorboard(&metrics, None, &mut file).unwrap();
        let events = records(&file);
        assert!(events[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        let first = [
            &b"\x2a\x0d\x0a\x0b\x0a\x04loss\x15"[..],
            &0.5f32.to_le_bytes(),
        ]
        .concat();
        assert!(events[1].ends_with(&first), "{:?}", events[1]);
        assert_eq!(steps(&file), [0, 0, 1, 2, 3]);
        let mut file = Vec::new();
        write_tensorboard(&metrics, Some("step"), &mut file).unwrap();
        // A row of which nothing but the step is left makes no event.
        assert_eq!(steps(&file), [0, 0, 20, 30]);
    }
}
