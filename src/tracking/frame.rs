//! Files of checksummed frames: how bytes lie in a record.
//!
//! A frame is whole or it does not exist: readers stop at the first one that
//! is cut short or fails its checksum. Only readers of what is over look for
//! whole ones behind it.

use std::fs::{self, File, OpenOptions};
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

/// Bytes behind the beginning of a damaged frame in which the next whole one is
/// looked for.
const SEARCH_BYTES: usize = 2 * PAYLOAD_LIMIT;

/// Most bytes whose checksums one search computes: what only looks like the
/// beginning of a frame costs some.
const SEARCH_EFFORT: usize = 1 << 30;

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
    /// Whether damaged frames are.
    skips_damage: bool,
    /// Bytes of damaged frames that were passed over.
    damaged: u64,
}

impl FrameReader {
    /// Opens a record. What is no regular file is never opened: a pipe would
    /// keep the reader for ever.
    ///
    /// # Errors
    /// Not readable, no record, or of a newer format.
    pub(super) fn open(path: &Path) -> Result<FrameReader, TrackingError> {
        let no_record = |what: &str| TrackingError::NotARecord {
            path: path.to_path_buf(),
            what: what.into(),
        };
        let found = fs::metadata(path).map_err(TrackingError::io("open", path))?;
        if found.is_dir() {
            return Err(no_record("it is a folder"));
        }
        if !found.is_file() {
            return Err(no_record("it is no regular file"));
        }
        let mut file = File::open(path).map_err(TrackingError::io("open", path))?;
        let mut header = [0; FILE_HEADER];
        file.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof if found.len() == 0 => no_record("it is empty"),
                io::ErrorKind::UnexpectedEof => no_record("it is too short"),
                _ => TrackingError::io("read", path)(error),
            })?;
        if header[..8] != *MAGIC {
            return Err(no_record("it begins otherwise"));
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
            skips_damage: false,
            damaged: 0,
        })
    }

    /// The same without frames of rows: they are checked, not unpacked.
    pub(super) fn without_rows(self) -> FrameReader {
        FrameReader {
            skips_rows: true,
            ..self
        }
    }

    /// The same, going on behind damaged frames where whole ones follow.
    pub(super) fn past_damage(self) -> FrameReader {
        FrameReader {
            skips_damage: true,
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
        loop {
            let found = self.read_frame()?;
            if found.is_some() || !self.skips_damage || !self.find_next()? {
                return Ok(found);
            }
        }
    }

    /// Goes to the first whole frame behind a damaged one; `false` if there is
    /// none.
    fn find_next(&mut self) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(self.good))?;
        let mut bytes = Vec::new();
        self.file
            .by_ref()
            .take(SEARCH_BYTES as u64)
            .read_to_end(&mut bytes)?;
        let Some(skipped) = next_frame(&bytes) else {
            return Ok(false);
        };
        self.good += skipped as u64;
        self.damaged += skipped as u64;
        self.file.seek(SeekFrom::Start(self.good))?;
        Ok(true)
    }

    fn read_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut header = [0; FRAME_HEADER];
        if !read_whole(&mut self.file, &mut header)? {
            return Ok(None);
        }
        let [stored, plain, crc] = numbers(&header);
        let (stored, plain) = (stored as usize, plain as usize);
        if stored > PAYLOAD_LIMIT || plain > PAYLOAD_LIMIT {
            return Ok(None);
        }
        // Grows with what is really there, whatever the length field says.
        let mut payload = Vec::new();
        self.file
            .by_ref()
            .take(stored as u64)
            .read_to_end(&mut payload)?;
        if payload.len() != stored || checksum(&header, &payload) != crc {
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

    /// Length of the readable part so far, in bytes, with what was passed over.
    pub(super) fn good(&self) -> u64 {
        self.good
    }

    /// Bytes of damaged frames that were passed over.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// Whether a record was begun and nothing stands in it yet: its run is just
/// starting, if it is alive.
pub(super) fn is_begun(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() < FILE_HEADER as u64 => true,
        Ok(_) => FrameReader::open(path).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Stored length, plain length and checksum of a frame.
fn numbers(header: &[u8; FRAME_HEADER]) -> [u32; 3] {
    [4usize, 8, 12]
        .map(|at| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
}

fn checksum(header: &[u8; FRAME_HEADER], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(payload);
    hasher.finalize()
}

/// Where the first whole frame behind a damaged one begins, which begins with
/// `bytes`.
fn next_frame(bytes: &[u8]) -> Option<usize> {
    let mut effort = SEARCH_EFFORT;
    // Mostly the length of the damaged one is as it was.
    let header = bytes.first_chunk::<FRAME_HEADER>();
    let behind = header.map(|header| FRAME_HEADER + numbers(header)[0] as usize);
    let mut places = behind.into_iter().chain(1..bytes.len());
    places.find(|at| {
        bytes
            .get(*at..)
            .is_some_and(|bytes| is_frame(bytes, &mut effort))
    })
}

/// Whether a whole frame of a known kind begins here.
fn is_frame(bytes: &[u8], effort: &mut usize) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER>() else {
        return false;
    };
    let [stored, plain, crc] = numbers(header);
    let (stored, plain) = (stored as usize, plain as usize);
    let has_lengths = match header[1] {
        0 => stored == plain,
        1 => stored < plain,
        _ => false,
    };
    let is_likely = FrameKind::from_code(header[0]).is_some()
        && header[2..4] == [0, 0]
        && has_lengths
        && plain <= PAYLOAD_LIMIT
        && stored <= rest.len()
        && stored <= *effort;
    if !is_likely {
        return false;
    }
    *effort -= stored;
    checksum(header, &rest[..stored]) == crc
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

    /// Payloads, and the bytes that were passed over between them.
    fn read_past_damage(path: &Path) -> (Vec<Vec<u8>>, u64) {
        let mut reader = FrameReader::open(path).unwrap().past_damage();
        let mut found = Vec::new();
        while let Some((_, payload)) = reader.next().unwrap() {
            found.push(payload);
        }
        (found, reader.damaged())
    }

    #[test]
    fn one_damaged_frame_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let payloads = sample(&path);
        let bytes = fs::read(&path).unwrap();
        let mut begin = FILE_HEADER;
        for (number, payload) in payloads.iter().enumerate() {
            let mut frame = Vec::new();
            push_frame(&mut frame, FrameKind::Rows, payload).unwrap();
            let mut others = payloads.clone();
            others.remove(number);
            let is_last = number + 1 == payloads.len();
            // Behind the last one there is nothing to go on with.
            let lost = if is_last { 0 } else { frame.len() as u64 };
            for at in begin..begin + frame.len() {
                let mut broken = bytes.clone();
                broken[at] ^= 0x41;
                fs::write(&path, &broken).unwrap();
                assert_eq!(read_past_damage(&path), (others.clone(), lost), "byte {at}");
            }
            begin += frame.len();
        }
        assert_eq!(begin, bytes.len());
    }

    #[test]
    fn several_damaged_frames_in_a_row_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let payloads = sample(&path);
        let mut bytes = fs::read(&path).unwrap();
        let mut last = Vec::new();
        push_frame(&mut last, FrameKind::Rows, &payloads[3]).unwrap();
        let end = bytes.len() - last.len();
        bytes[FILE_HEADER..end].fill(0x55);
        fs::write(&path, &bytes).unwrap();
        let lost = (end - FILE_HEADER) as u64;
        assert_eq!(read_past_damage(&path), (vec![payloads[3].clone()], lost));
        bytes[end..].fill(0x55);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read_past_damage(&path), (Vec::new(), 0));
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| FrameReader::open(path).unwrap_err().to_string();
        assert!(said(dir.path()).contains("it is a folder"));
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(said(&pipe).contains("it is no regular file"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert!(said(&link).contains("it is no regular file"));
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(said(&socket).contains("it is no regular file"));
        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert!(said(&empty).contains("it is empty") && is_begun(&empty));
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
