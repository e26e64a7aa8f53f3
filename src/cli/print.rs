//! Writing results to standard output.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CliError, Exit};

static PRINTED: AtomicBool = AtomicBool::new(false);

/// Whether a result was written.
pub(super) fn has_printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// Writes the result of a command.
pub(super) fn print(text: &str) -> Result<Exit, CliError> {
    PRINTED.store(true, Ordering::Relaxed);
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(Exit::Success),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => Err(CliError::failed(format!(
            "failed to write to standard output: {error}"
        ))),
    }
}

/// Standard output of a command that writes while it works.
pub(super) struct Out<W>(pub W);

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        PRINTED.store(true, Ordering::Relaxed);
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
