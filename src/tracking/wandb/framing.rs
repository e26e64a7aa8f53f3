//! The framing of `.wandb` files: a log in blocks of 32 KiB, as LevelDB has it,
//! but with the plain CRC-32. A record that does not fit into what is left of a
//! block goes on in the next one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::error::WandbError;

const BLOCK: usize = 32 << 10;

/// Magic, and version 0.
const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xE1, 0xBE, 0];

/// Bytes before the data of a chunk: checksum, length, type.
const CHUNK_HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Writes a log from its beginning.
#[derive(Debug)]
pub struct LogWriter<W: Write> {
    out: W,
    /// Bytes so far: where in its block the next chunk begins.
    position: usize,
}

impl LogWriter<BufWriter<File>> {
    /// Makes the file `path`, which must not exist.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> Result<Self, WandbError> {
        let failed = WandbError::io("make", path);
        let file = File::create_new(path).map_err(&failed)?;
        LogWriter::new(BufWriter::new(file)).map_err(failed)
    }
}

impl<W: Write> LogWriter<W> {
    /// Begins a log.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let position = HEADER.len();
        Ok(Self { out, position })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Those of the output.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let mut rest = record;
        let mut begun = false;
        loop {
            let mut left = BLOCK - self.position % BLOCK;
            if left < CHUNK_HEADER {
                self.write(&[0; CHUNK_HEADER][..left])?;
                left = BLOCK;
            }
            let (part, behind) = rest.split_at(rest.len().min(left - CHUNK_HEADER));
            let kind = match (begun, behind.is_empty()) {
                (false, true) => FULL,
                (false, false) => FIRST,
                (true, false) => MIDDLE,
                (true, true) => LAST,
            };
            self.write(&checksum(kind, part).to_le_bytes())?;
            self.write(&(part.len() as u16).to_le_bytes())?;
            self.write(&[kind])?;
            self.write(part)?;
            if behind.is_empty() {
                return Ok(());
            }
            (rest, begun) = (behind, true);
        }
    }

    /// Hands the bytes on.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len();
        self.out.write_all(bytes)
    }
}

fn checksum(kind: u8, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(data);
    hasher.finalize()
}

/// A chunk of a log, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Where it begins.
    pub offset: usize,
    /// 1 whole record, 2 first, 3 middle, 4 last part of one.
    pub kind: u8,
    /// CRC-32 of type and data.
    pub checksum: u32,
    /// The part of the record.
    pub data: &'a [u8],
}

/// Why the rest of a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// It begins otherwise.
    #[error("it is no log of Weights & Biases")]
    NoLog,
    /// It ends inside a record; of a live file: not yet.
    #[error("it ends inside a record at byte {0}")]
    Truncated(usize),
    /// A checksum, length or type is wrong.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
}

/// The chunks of a log, up to the first fault.
///
/// # Errors
/// As an item: where and why reading ends.
pub fn chunks(bytes: &[u8]) -> impl Iterator<Item = Result<Chunk<'_>, LogFault>> {
    let mut at = HEADER.len();
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let next = next_chunk(bytes, &mut at);
        over = !matches!(next, Some(Ok(_)));
        next
    })
}

fn next_chunk<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Result<Chunk<'a>, LogFault>> {
    if !bytes.starts_with(&HEADER) {
        return Some(Err(LogFault::NoLog));
    }
    let left = BLOCK - *at % BLOCK;
    if left < CHUNK_HEADER {
        *at += left;
    }
    let offset = *at;
    let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
    let Some((header, rest)) = rest.split_at_checked(CHUNK_HEADER) else {
        return Some(Err(LogFault::Truncated(offset)));
    };
    let sum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let kind = header[6];
    let Some(data) = rest.get(..length) else {
        return Some(Err(LogFault::Truncated(offset)));
    };
    let room = BLOCK - offset % BLOCK - CHUNK_HEADER;
    if length > room || !(FULL..=LAST).contains(&kind) || checksum(kind, data) != sum {
        return Some(Err(LogFault::Damaged(offset)));
    }
    *at = offset + CHUNK_HEADER + length;
    Some(Ok(Chunk {
        offset,
        kind,
        checksum: sum,
        data,
    }))
}

/// The records of a log, and why reading ended, unless at its end.
pub fn records(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<LogFault>) {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for chunk in chunks(bytes) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(fault) => return (found, Some(fault)),
        };
        let begun = open.take();
        match (chunk.kind, begun) {
            (FULL, None) => found.push(chunk.data.to_vec()),
            (FIRST, None) => open = Some((chunk.offset, chunk.data.to_vec())),
            (kind @ (MIDDLE | LAST), Some((offset, mut record))) => {
                record.extend_from_slice(chunk.data);
                if kind == LAST {
                    found.push(record);
                } else {
                    open = Some((offset, record));
                }
            }
            _ => return (found, Some(LogFault::Damaged(chunk.offset))),
        }
    }
    let fault = open.map(|(offset, _)| LogFault::Truncated(offset));
    (found, fault)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(records: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = LogWriter::new(Vec::new()).unwrap();
        for record in records {
            writer.append(record).unwrap();
        }
        writer.into_inner()
    }

    proptest! {
        #[test]
        fn records_come_back(sizes in proptest::collection::vec(0usize..70_000, 0..6)) {
            let written: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
            prop_assert_eq!(records(&log(&written)), (written, None));
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [HEADER.to_vec(), bytes].concat();
            let _ = records(&bytes);
        }
    }

    #[test]
    fn a_cut_and_a_flipped_bit_end_the_readable_part() {
        let whole = log(&[vec![1; 10], vec![2; 40_000]]);
        let (found, fault) = records(&whole[..whole.len() - 1]);
        assert_eq!((found.len(), fault), (1, Some(LogFault::Truncated(BLOCK))));
        let mut damaged = whole;
        damaged[20] ^= 1;
        assert_eq!(records(&damaged), (vec![], Some(LogFault::Damaged(7))));
        assert_eq!(records(b"something"), (vec![], Some(LogFault::NoLog)));
    }
}
