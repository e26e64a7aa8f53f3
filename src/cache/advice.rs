//! What the system is told about how a file is read. Advice only: where it is
//! not known, reading is the same, but slower.

use std::fs::File;
use std::ops::Range;

/// Bytes that are asked for together: systems bring in less at once than they
/// are asked for if it is much more.
const STEP: u64 = 512 << 10;

/// The file is read in pieces that have nothing to do with each other: nothing
/// but what is asked for shall be read.
pub(super) fn read_at_random(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// These bytes are read soon: the disk shall begin.
pub(super) fn read_soon(file: &File, bytes: Range<u64>) {
    let mut start = bytes.start;
    while start < bytes.end {
        let end = (start + STEP).min(bytes.end);
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(
            file,
            start,
            std::num::NonZeroU64::new(end - start),
            rustix::fs::Advice::WillNeed,
        );
        #[cfg(not(target_os = "linux"))]
        let _ = file;
        start = end;
    }
}
