//! Files of checksummed frames: how bytes lie in a record.
//!
//! A frame is whole or it does not exist: readers stop at the first one that
//! is cut short or fails its checksum.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::TrackingError;

/// First bytes of every record.
const MAGIC: &[u8; 8] = b"NOVICREC";

/// Format version of records.
pub const FORMAT: u32 = 1;

/// Bytes before the first frame: magic, version, four reserved bytes.
const FILE_HEADER: usize = 16;

/// Bytes before a frame's payload: kind, coding, two reserved bytes, stored
/// length, plain length, checksum (little-endian `u32` each).
const FRAME_HEADER: usize = 16;

/// Longest payload that is written or believed, in bytes.
pub(super) const PAYLOAD_LIMIT: usize = 64 << 20;

/// Payloads shorter than this are not worth compressing.
const COMPRESS_FROM: usize = 256;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A JSON event.
    Event,
    /// JSON: the column names behind a number used in rows.
    Columns,
    /// Metric rows, columnar.
    Rows,
    /// A sign of life: wall clock in ms since 1970, `u64`.
    Beat,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            FrameKind::Event => 1,
            FrameKind::Columns => 2,
            FrameKind::Rows => 3,
            FrameKind::Beat => 4,
        }
    }

    /// `None` for kinds of later versions, which are skipped.
    fn from_code(code: u8) -> Option<FrameKind> {
        [
            FrameKind::Event,
            FrameKind::Columns,
            FrameKind::Rows,
            FrameKind::Beat,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
    }
}

/// Appends one frame to `buffer`.
pub(super) fn push_frame(buffer: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) -> io::Result<()> {
    if payload.len() > PAYLOAD_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an entry of the run record is longer than 64 MiB",
        ));
    }
    let packed = if payload.len() >= COMPRESS_FROM {
        Some(zstd::bulk::compress(payload, 1)?)
    } else {
        None
    };
    let (coding, stored) = match &packed {
        Some(packed) if packed.len() < payload.len() => (1u8, packed.as_slice()),
        _ => (0u8, payload),
    };
    let start = buffer.len();
    buffer.extend_from_slice(&[kind.code(), coding, 0, 0]);
    buffer.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&buffer[start..]);
    crc.update(stored);
    buffer.extend_from_slice(&crc.finalize().to_le_bytes());
    buffer.extend_from_slice(stored);
    Ok(())
}

/// Reads the frames of a file one after the other.
#[derive(Debug)]
pub(super) struct FrameReader {
    file: io::BufReader<File>,
    path: PathBuf,
    /// Length of the file header and all whole frames so far.
    good: u64,
    /// Whether frames of rows are passed over.
    skips_rows: bool,
}

impl FrameReader {
    /// Opens a record.
    ///
    /// # Errors
    /// Not readable, no record, or of a newer format.
    pub(super) fn open(path: &Path) -> Result<FrameReader, TrackingError> {
        let mut file = File::open(path).map_err(TrackingError::io("open", path))?;
        let mut header = [0; FILE_HEADER];
        file.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => TrackingError::NotARecord {
                    path: path.to_path_buf(),
                    what: "it is too short".into(),
                },
                _ => TrackingError::io("read", path)(error),
            })?;
        if header[..8] != *MAGIC {
            return Err(TrackingError::NotARecord {
                path: path.to_path_buf(),
                what: "it begins otherwise".into(),
            });
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version > FORMAT {
            return Err(TrackingError::Newer {
                path: path.to_path_buf(),
                found: version,
                supported: FORMAT,
            });
        }
        let file = io::BufReader::with_capacity(1 << 16, file);
        Ok(FrameReader {
            file,
            path: path.to_path_buf(),
            good: FILE_HEADER as u64,
            skips_rows: false,
        })
    }

    /// The same without frames of rows: they are checked, not unpacked.
    pub(super) fn without_rows(self) -> FrameReader {
        FrameReader {
            skips_rows: true,
            ..self
        }
    }

    /// Goes on behind the first `good` bytes, which were read before.
    pub(super) fn resume(mut self, good: u64) -> Result<FrameReader, TrackingError> {
        self.file
            .seek(SeekFrom::Start(good))
            .map_err(TrackingError::io("read", &self.path))?;
        self.good = good;
        Ok(self)
    }

    /// The next whole frame of a known kind; `None` at the end or at a tear.
    pub(super) fn next(&mut self) -> Result<Option<(FrameKind, Vec<u8>)>, TrackingError> {
        loop {
            let Some((kind, payload)) = self
                .next_any()
                .map_err(TrackingError::io("read", &self.path))?
            else {
                return Ok(None);
            };
            match FrameKind::from_code(kind) {
                Some(FrameKind::Rows) if self.skips_rows => {}
                Some(kind) => return Ok(Some((kind, payload))),
                None => {}
            }
        }
    }

    fn next_any(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut header = [0; FRAME_HEADER];
        if !read_whole(&mut self.file, &mut header)? {
            return Ok(None);
        }
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (stored, plain, crc) = (number(4) as usize, number(8) as usize, number(12));
        if stored > PAYLOAD_LIMIT || plain > PAYLOAD_LIMIT {
            return Ok(None);
        }
        // Grows with what is really there, whatever the length field says.
        let mut payload = Vec::new();
        self.file
            .by_ref()
            .take(stored as u64)
            .read_to_end(&mut payload)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[..12]);
        hasher.update(&payload);
        if payload.len() != stored || hasher.finalize() != crc {
            return Ok(None);
        }
        let payload = match header[1] {
            _ if self.skips_rows && header[0] == FrameKind::Rows.code() => Vec::new(),
            0 if stored == plain => payload,
            1 => match zstd::bulk::decompress(&payload, plain) {
                Ok(payload) if payload.len() == plain => payload,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.good += (FRAME_HEADER + stored) as u64;
        Ok(Some((header[0], payload)))
    }

    /// Length of the readable part so far, in bytes.
    pub(super) fn good(&self) -> u64 {
        self.good
    }
}

/// Fills `buffer`; `false` if the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A record being written. Only whole batches of frames stay in it.
#[derive(Debug)]
pub(super) struct FrameFile {
    file: File,
    path: PathBuf,
    good: u64,
}

impl FrameFile {
    /// Begins a new record.
    pub(super) fn create(path: &Path) -> Result<FrameFile, TrackingError> {
        let mut file = File::create_new(path).map_err(TrackingError::io("make", path))?;
        let mut header = [0; FILE_HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        file.write_all(&header)
            .map_err(TrackingError::io("write", path))?;
        Ok(FrameFile {
            file,
            path: path.to_path_buf(),
            good: FILE_HEADER as u64,
        })
    }

    /// Continues a record behind its first `good` bytes; the torn rest goes.
    pub(super) fn continue_at(path: &Path, good: u64) -> Result<FrameFile, TrackingError> {
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(TrackingError::io("open", path))?;
        file.set_len(good)
            .and_then(|()| file.seek(SeekFrom::Start(good)))
            .map_err(TrackingError::io("continue", path))?;
        Ok(FrameFile {
            file,
            path: path.to_path_buf(),
            good,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole frames; after an error the file is as before.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        match self.file.write_all(frames) {
            Ok(()) => {
                self.good += frames.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.good)?;
                self.file.seek(SeekFrom::Start(self.good))?;
                Err(error)
            }
        }
    }

    /// Forces everything to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &Path) -> Vec<Vec<u8>> {
        let payloads = vec![
            vec![1, 2, 3],
            vec![7; 5000],
            Vec::new(),
            (0..=255).cycle().take(999).collect(),
        ];
        let mut file = FrameFile::create(path).unwrap();
        for payload in &payloads {
            let mut frames = Vec::new();
            push_frame(&mut frames, FrameKind::Rows, payload).unwrap();
            file.append(&frames).unwrap();
        }
        payloads
    }

    fn read(path: &Path) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::open(path).unwrap();
        let mut found = Vec::new();
        while let Some((_, payload)) = reader.next().unwrap() {
            found.push(payload);
        }
        found
    }

    #[test]
    fn every_torn_tail_reads_up_to_the_tear() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let payloads = sample(&path);
        assert_eq!(read(&path), payloads);
        let bytes = std::fs::read(&path).unwrap();
        for length in FILE_HEADER..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let found = read(&path);
            assert!(found.len() < payloads.len());
            assert_eq!(found, payloads[..found.len()]);
        }
        for length in 0..FILE_HEADER {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(FrameReader::open(&path).is_err());
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let payloads = sample(&path);
        let bytes = std::fs::read(&path).unwrap();
        for at in FILE_HEADER..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x41;
            std::fs::write(&path, &broken).unwrap();
            let found = read(&path);
            assert!(found.len() < payloads.len(), "byte {at}");
            assert_eq!(found, payloads[..found.len()]);
        }
    }

    #[test]
    fn a_torn_record_is_continued_behind_its_last_whole_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let payloads = sample(&path);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let mut reader = FrameReader::open(&path).unwrap();
        while reader.next().unwrap().is_some() {}
        let mut file = FrameFile::continue_at(&path, reader.good()).unwrap();
        let mut frames = Vec::new();
        push_frame(&mut frames, FrameKind::Event, b"after").unwrap();
        file.append(&frames).unwrap();
        let mut expected = payloads[..payloads.len() - 1].to_vec();
        expected.push(b"after".to_vec());
        assert_eq!(read(&path), expected);
    }

    #[test]
    fn frames_of_later_versions_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut file = FrameFile::create(&path).unwrap();
        let mut frames = Vec::new();
        push_frame(&mut frames, FrameKind::Event, b"one").unwrap();
        let unknown = frames.len();
        push_frame(&mut frames, FrameKind::Event, b"two").unwrap();
        frames[unknown] = 200;
        let crc = {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&frames[unknown..unknown + 12]);
            hasher.update(b"two");
            hasher.finalize()
        };
        frames[unknown + 12..unknown + 16].copy_from_slice(&crc.to_le_bytes());
        push_frame(&mut frames, FrameKind::Event, b"three").unwrap();
        file.append(&frames).unwrap();
        assert_eq!(read(&path), [b"one".to_vec(), b"three".to_vec()]);
    }
}
