//! Just enough of MATLAB's files (version 5) to read a list of records: the
//! classes in the development kit of ImageNet.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Largest array after decompression.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes before the first element.
const HEADER: usize = 128;

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
/// Classes of arrays.
const STRUCT: u8 = 2;

/// An element of a file: its type and its bytes.
struct Element<'a> {
    kind: u32,
    bytes: &'a [u8],
}

/// Elements one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn element(&mut self) -> Option<Element<'a>> {
        let word = u32::from_le_bytes(self.0.get(..4)?.try_into().ok()?);
        if word >> 16 != 0 {
            // Small ones have type and size in one word.
            let size = (word >> 16) as usize;
            let bytes = self.0.get(4..8)?.get(..size)?;
            self.0 = self.0.get(8..)?;
            return Some(Element {
                kind: word & 0xffff,
                bytes,
            });
        }
        let size = u32::from_le_bytes(self.0.get(4..8)?.try_into().ok()?) as usize;
        let bytes = self.0.get(8..)?.get(..size)?;
        let padded = match word {
            COMPRESSED => size,
            _ => size.next_multiple_of(8),
        };
        self.0 = self.0.get(8 + padded..).unwrap_or_default();
        Some(Element { kind: word, bytes })
    }

    fn matrix(&mut self) -> Option<&'a [u8]> {
        let element = self.element()?;
        (element.kind == MATRIX).then_some(element.bytes)
    }
}

/// Values of two fields, a number and a text, of all records of the array
/// `name` of a file; `None` if it has none such.
pub(super) fn numbers_and_texts(
    file: &[u8],
    name: &str,
    number: &str,
    text: &str,
) -> Option<Vec<(u64, String)>> {
    if file.get(126..128)? != b"IM" {
        return None;
    }
    let mut elements = Elements(file.get(HEADER..)?);
    while let Some(element) = elements.element() {
        let found = match element.kind {
            COMPRESSED => {
                let mut bytes = Vec::new();
                ZlibDecoder::new(element.bytes)
                    .take(MAX_BYTES)
                    .read_to_end(&mut bytes)
                    .ok()?;
                records(Elements(&bytes).matrix()?, name, number, text)
            }
            MATRIX => records(element.bytes, name, number, text),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn records(matrix: &[u8], name: &str, number: &str, text: &str) -> Option<Vec<(u64, String)>> {
    let mut parts = Elements(matrix);
    let class = *parts.element()?.bytes.first()?;
    let dimensions = parts.element()?.bytes;
    if class != STRUCT || parts.element()?.bytes != name.as_bytes() {
        return None;
    }
    let count = dimensions.as_chunks::<4>().0.iter();
    let count: u64 = count
        .map(|size| u64::from(u32::from_le_bytes(*size)))
        .product();
    let width = parts.element()?.bytes.get(..4)?;
    let width = u32::from_le_bytes(width.try_into().ok()?) as usize;
    let names: Vec<&[u8]> = (parts.element()?.bytes.chunks(width.max(1)))
        .map(|name| name.split(|byte| *byte == 0).next().unwrap_or_default())
        .collect();
    let place = |field: &str| names.iter().position(|name| *name == field.as_bytes());
    let (number, text) = (place(number)?, place(text)?);
    let mut records = Vec::new();
    for _ in 0..count {
        let (mut value, mut word) = (None, None);
        for field in 0..names.len() {
            let matrix = parts.matrix()?;
            if field == number {
                value = Some(scalar(matrix)?);
            } else if field == text {
                word = Some(characters(matrix)?);
            }
        }
        records.push((value?, word?));
    }
    Some(records)
}

/// The data of an array, behind flags, dimensions and name.
fn data(matrix: &[u8]) -> Option<Element<'_>> {
    let mut parts = Elements(matrix);
    parts.element()?;
    parts.element()?;
    parts.element()?;
    parts.element()
}

/// A single number that is not negative.
fn scalar(matrix: &[u8]) -> Option<u64> {
    let data = data(matrix)?;
    let little = |size: usize| {
        let bytes = data.bytes.get(..size)?.iter().rev();
        Some(bytes.fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    match data.kind {
        1 | 2 => little(1),
        3 | 4 => little(2),
        5 | 6 => little(4),
        12 | 13 => little(8),
        7 => Some(f32::from_le_bytes(data.bytes.get(..4)?.try_into().ok()?) as u64),
        9 => Some(f64::from_le_bytes(data.bytes.get(..8)?.try_into().ok()?) as u64),
        _ => None,
    }
}

fn characters(matrix: &[u8]) -> Option<String> {
    let data = data(matrix)?;
    match data.kind {
        // Wide characters.
        4 | 17 => {
            let units = data.bytes.as_chunks::<2>().0.iter();
            let units: Vec<u16> = units.map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16(&units).ok()
        }
        _ => String::from_utf8(data.bytes.to_vec()).ok(),
    }
}
