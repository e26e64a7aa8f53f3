//! Hands what is written to the disk while more is being written, so that the
//! end of a file does not wait for all of it.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::{CacheError, Result};

/// Bytes after which the disk is woken.
const STEP: u64 = 32 << 20;

/// Forces a file to the disk from another thread, now and then.
#[derive(Debug, Default)]
pub(super) struct WriteBehind {
    unsynced: u64,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Worker {
    fn start(file: File) -> Self {
        let (wake, woken) = sync_channel(1);
        let thread = thread::spawn(move || {
            while woken.recv().is_ok() {
                file.sync_data()?;
            }
            Ok(())
        });
        Self { wake, thread }
    }
}

impl WriteBehind {
    /// So many bytes of `file` were written, always of the same file.
    pub(super) fn wrote(&mut self, file: &File, bytes: u64) -> Result<()> {
        self.unsynced += bytes;
        if self.unsynced < STEP {
            return Ok(());
        }
        self.unsynced = 0;
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(file.try_clone().map_err(CacheError::Write)?)),
        };
        // While it is busy it will be woken again soon; if it has failed, the
        // end says why.
        let _ = worker.wake.try_send(());
        Ok(())
    }

    /// Waits for the thread. An error of the disk is told once only, so that of
    /// the thread is that of the file.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.unsynced = 0;
        let Some(Worker { wake, thread }) = self.worker.take() else {
            return Ok(());
        };
        drop(wake);
        match thread.join() {
            Ok(synced) => synced.map_err(CacheError::Write),
            Err(_) => Err(CacheError::WorkerStopped),
        }
    }
}
