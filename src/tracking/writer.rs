//! The thread that writes a record, and the queue before it.
//!
//! Whoever logs only appends to memory. The thread wakes at the latest
//! [`FLUSH`] after something was logged, so that a killed process loses no
//! more. While the disk refuses, everything waits in memory up to a bound;
//! beyond it metric rows are counted and dropped, and logging goes on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::error::TrackingError;
use super::event::{Event, StampedEvent};
use super::frame::{FrameFile, FrameKind, push_frame};
use super::listing::RunOverview;
use super::rows::Block;
use super::system::{SYSTEM, Sampler};
use super::value::Value;
use super::watch::{Watch, Watching};

/// Longest time that something stays in memory only.
const FLUSH: Duration = Duration::from_millis(80);

/// A sign of life is written when nothing else was for this long.
const BEAT: Duration = Duration::from_secs(5);

/// Time between two attempts while the disk refuses.
const RETRY: Duration = Duration::from_secs(1);

/// The thread is woken early when this many cells wait.
const EARLY: usize = 1 << 16;

/// Most cells that wait; then logging waits, or drops while the disk refuses.
const MOST_CELLS: usize = 1 << 22;

/// Most events that wait while the disk refuses.
const MOST_ITEMS: usize = 1 << 17;

/// Something to write.
#[derive(Debug)]
enum Item {
    Event(StampedEvent),
    Rows {
        names: usize,
        block: Block,
    },
    Rewind {
        stage: usize,
        event: StampedEvent,
    },
    Attach {
        stage: usize,
        file: FrameFile,
        attempt: StampedEvent,
    },
    Detach {
        stage: usize,
    },
}

/// The column names of some rows of a stage.
#[derive(Clone, Debug)]
struct Names {
    stage: usize,
    columns: Vec<String>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    /// Number of the next row.
    position: u64,
    /// Rows that an earlier attempt left in the stage's own file.
    stored: u64,
    /// Whether this attempt has decided what becomes of those.
    begun: bool,
    last_names: usize,
}

#[derive(Debug)]
struct Pending {
    stages: Vec<Stage>,
    names: Vec<Names>,
    items: Vec<Item>,
    /// For each number of names, the item that takes its rows.
    open: HashMap<usize, usize>,
    /// When the oldest item came.
    oldest: Option<Instant>,
    cells: usize,
    lost: u64,
    flush_wanted: u64,
    flush_done: u64,
    stop: bool,
    trouble: Option<(PathBuf, io::Error)>,
    stage_trouble: HashMap<usize, (PathBuf, io::Error)>,
    overview: RunOverview,
}

/// The queue between those who log and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    wake: Condvar,
    written: Condvar,
    start: Instant,
}

impl Queue {
    pub(super) fn new(overview: RunOverview) -> Arc<Queue> {
        Arc::new(Queue {
            pending: Mutex::new(Pending {
                stages: Vec::new(),
                names: Vec::new(),
                items: Vec::new(),
                open: HashMap::new(),
                oldest: None,
                cells: 0,
                lost: 0,
                flush_wanted: 0,
                flush_done: 0,
                stop: false,
                trouble: None,
                stage_trouble: HashMap::new(),
                overview,
            }),
            wake: Condvar::new(),
            written: Condvar::new(),
            start: Instant::now(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn stamp(&self, what: Event) -> StampedEvent {
        StampedEvent {
            time_us: self.start.elapsed().as_micros() as u64,
            what,
        }
    }

    /// Appends to the queue; what follows must not overtake it.
    fn push(&self, pending: &mut Pending, item: Item) {
        pending.open.clear();
        if pending.trouble.is_some() && pending.items.len() >= MOST_ITEMS {
            return;
        }
        pending.items.push(item);
        self.came(pending);
    }

    fn came(&self, pending: &mut Pending) {
        if pending.oldest.is_none() {
            pending.oldest = Some(Instant::now());
            self.wake.notify_one();
        }
    }

    pub(super) fn event(&self, what: Event) {
        let event = self.stamp(what);
        let mut pending = self.lock();
        pending.overview.apply(&event);
        self.push(&mut pending, Item::Event(event));
    }

    /// What is known of the run so far.
    pub(super) fn overview(&self) -> RunOverview {
        self.lock().overview.clone()
    }

    /// Number for a stage's rows.
    pub(super) fn stage(&self, name: &str) -> usize {
        let mut pending = self.lock();
        if let Some(found) = pending.stages.iter().position(|stage| stage.name == name) {
            return found;
        }
        let stage = Stage {
            name: name.to_owned(),
            position: 0,
            stored: 0,
            begun: true,
            last_names: usize::MAX,
        };
        pending.stages.push(stage);
        pending.stages.len() - 1
    }

    /// Sends a stage's rows to `file` too, which has `stored` rows already.
    pub(super) fn attach(&self, stage: usize, file: FrameFile, stored: u64, attempt: Event) {
        let attempt = self.stamp(attempt);
        let mut pending = self.lock();
        let state = &mut pending.stages[stage];
        state.stored = stored;
        state.begun = stored == 0;
        state.position = 0;
        self.push(
            &mut pending,
            Item::Attach {
                stage,
                file,
                attempt,
            },
        );
    }

    /// Closes the stage's own file, durably.
    pub(super) fn detach(&self, stage: usize) -> Result<(), TrackingError> {
        let mut pending = self.lock();
        self.settle(&mut pending, stage);
        self.push(&mut pending, Item::Detach { stage });
        drop(pending);
        // A record that cannot be written is no reason to lose the output.
        let _ = self.flush();
        match self.lock().stage_trouble.remove(&stage) {
            Some((path, error)) => Err(TrackingError::io("write", &path)(error)),
            None => Ok(()),
        }
    }

    /// Rows of the stage from `position` on are void.
    pub(super) fn rewind(&self, stage: usize, position: u64) {
        let mut pending = self.lock();
        self.rewind_locked(&mut pending, stage, position);
    }

    fn rewind_locked(&self, pending: &mut Pending, stage: usize, position: u64) {
        let state = &mut pending.stages[stage];
        state.begun = true;
        state.position = position;
        let event = self.stamp(Event::Rewind {
            stage: state.name.clone(),
            position,
        });
        self.push(pending, Item::Rewind { stage, event });
    }

    /// An attempt that never said where it goes on has begun again.
    fn settle(&self, pending: &mut Pending, stage: usize) {
        if !pending.stages[stage].begun {
            self.rewind_locked(pending, stage, 0);
        }
    }

    /// Number of rows of the stage, all of them written.
    pub(super) fn position(&self, stage: usize) -> Result<u64, TrackingError> {
        let mut pending = self.lock();
        self.settle(&mut pending, stage);
        let position = pending.stages[stage].position;
        drop(pending);
        self.flush()?;
        Ok(position)
    }

    /// Appends a metric row. Never waits for the disk, except while more is
    /// queued than the bound and the disk is keeping up.
    pub(super) fn log(&self, stage: usize, row: &[(&str, Value)]) {
        let mut pending = self.lock();
        while pending.cells + row.len() > MOST_CELLS && !pending.stop {
            if pending.trouble.is_some() {
                pending.lost += 1;
                return;
            }
            self.wake.notify_one();
            pending = self
                .written
                .wait(pending)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        self.settle(&mut pending, stage);
        let names = names_of(&mut pending, stage, row);
        let time = self.start.elapsed().as_micros() as u64;
        let Pending {
            stages,
            items,
            open,
            cells,
            ..
        } = &mut *pending;
        let at = *open.entry(names).or_insert_with(|| {
            items.push(Item::Rows {
                names,
                block: Block::new(row.len()),
            });
            items.len() - 1
        });
        if let Some(Item::Rows { block, .. }) = items.get_mut(at) {
            block.positions.push(stages[stage].position);
            block.times.push(time);
            for (column, (_, value)) in block.columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        stages[stage].position += 1;
        let before = *cells;
        *cells += row.len();
        if before < EARLY && *cells >= EARLY {
            self.wake.notify_one();
        }
        self.came(&mut pending);
    }

    /// Waits until everything so far is written and forced to the disk.
    pub(super) fn flush(&self) -> Result<(), TrackingError> {
        let mut pending = self.lock();
        if pending.stop {
            return Ok(());
        }
        pending.flush_wanted += 1;
        let ticket = pending.flush_wanted;
        self.wake.notify_one();
        while pending.flush_done < ticket {
            pending = self
                .written
                .wait(pending)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        match &pending.trouble {
            Some((path, error)) => Err(TrackingError::io("write", path)(again(error))),
            None => Ok(()),
        }
    }

    /// Tells the thread to write what is left and end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    /// Why the record cannot be written at the moment.
    pub(super) fn trouble(&self) -> Option<TrackingError> {
        self.lock()
            .trouble
            .as_ref()
            .map(|(path, error)| TrackingError::io("write", path)(again(error)))
    }
}

/// Number of the row's column names, known or new.
fn names_of(pending: &mut Pending, stage: usize, row: &[(&str, Value)]) -> usize {
    let is = |names: &Names| {
        names.stage == stage
            && names.columns.len() == row.len()
            && names
                .columns
                .iter()
                .zip(row)
                .all(|(known, (name, _))| known == name)
    };
    let last = pending.stages[stage].last_names;
    if pending.names.get(last).is_some_and(is) {
        return last;
    }
    let found = pending.names.iter().position(is).unwrap_or_else(|| {
        let columns = row.iter().map(|(name, _)| (*name).to_owned()).collect();
        pending.names.push(Names { stage, columns });
        pending.names.len() - 1
    });
    pending.stages[stage].last_names = found;
    found
}

/// The same error once more; the original stays for later.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::new(error.kind(), error.to_string()),
        io::Error::from_raw_os_error,
    )
}

/// A file being written, what could not be written to it yet, and which column
/// names it has.
#[derive(Debug)]
struct Sink {
    file: FrameFile,
    backlog: Vec<u8>,
    names: HashSet<usize>,
}

impl Sink {
    fn new(file: FrameFile) -> Sink {
        Sink {
            file,
            backlog: Vec::new(),
            names: HashSet::new(),
        }
    }

    /// Adds frames; the names of rows first where they are new to the file.
    fn take(&mut self, names: Option<(usize, &[u8])>, frame: &[u8]) {
        if let Some((number, frame)) = names
            && self.names.insert(number)
        {
            self.backlog.extend_from_slice(frame);
        }
        self.backlog.extend_from_slice(frame);
    }

    fn write(&mut self, sync: bool) -> Result<(), (PathBuf, io::Error)> {
        let done = self
            .file
            .append(&self.backlog)
            .and_then(|()| if sync { self.file.sync() } else { Ok(()) });
        done.map_err(|error| (self.file.path().to_path_buf(), error))?;
        self.backlog.clear();
        Ok(())
    }
}

/// The writing side, owned by its thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    record: Sink,
    stages: HashMap<usize, Sink>,
    names: Vec<(Names, Vec<u8>)>,
    stage_names: Vec<String>,
    watching: Option<Watching>,
    /// None if the machine is not sampled.
    sampler: Option<Sampler>,
    /// Number of the names of a sample.
    sample_names: usize,
    last_write: Instant,
    last_try: Instant,
}

impl Writer {
    pub(super) fn new(
        queue: Arc<Queue>,
        file: FrameFile,
        watch: Option<Watch>,
        samples: bool,
    ) -> Writer {
        let now = Instant::now();
        let sampler = samples.then(|| Sampler::new(file.path()));
        let stage = queue.stage(SYSTEM);
        let names = sampler.as_ref().map(Sampler::names).unwrap_or_default();
        let row: Vec<(&str, Value)> = names
            .iter()
            .map(|name| (name.as_str(), Value::Null))
            .collect();
        let sample_names = names_of(&mut queue.lock(), stage, &row);
        Writer {
            sampler,
            sample_names,
            queue,
            record: Sink::new(file),
            stages: HashMap::new(),
            names: Vec::new(),
            stage_names: Vec::new(),
            watching: watch.map(Watching::new),
            last_write: now,
            last_try: now,
        }
    }

    /// Writes until told to stop; then returns the last trouble, if any.
    pub(super) fn run(mut self) -> Option<TrackingError> {
        let queue = self.queue.clone();
        loop {
            let (items, ticket, stop, lost) = self.next_batch(&queue);
            let flush = stop || ticket.is_some();
            for item in items {
                self.encode(item);
            }
            self.sample();
            if lost > 0 {
                let event = queue.stamp(Event::Lost { rows: lost });
                self.encode(Item::Event(event));
            }
            if self.record.backlog.is_empty() && self.last_write.elapsed() >= BEAT {
                let now = jiff::Timestamp::now().as_millisecond();
                let mut frame = Vec::new();
                if push_frame(&mut frame, FrameKind::Beat, &now.to_le_bytes()).is_ok() {
                    self.record.take(None, &frame);
                }
            }
            let trouble = self.record.write(flush).err();
            self.last_try = Instant::now();
            if trouble.is_none() {
                self.last_write = self.last_try;
            }
            let mut stage_trouble = Vec::new();
            for (stage, sink) in &mut self.stages {
                if let Err(error) = sink.write(flush) {
                    stage_trouble.push((*stage, error));
                }
            }
            let mut pending = queue.lock();
            pending.trouble = trouble;
            pending.stage_trouble.extend(stage_trouble);
            if let Some(ticket) = ticket {
                pending.flush_done = ticket;
            }
            queue.written.notify_all();
            if stop {
                pending.flush_done = pending.flush_wanted;
                return pending
                    .trouble
                    .as_ref()
                    .map(|(path, error)| TrackingError::io("write", path)(again(error)));
            }
        }
    }

    /// Waits until there is something to do, and takes it.
    fn next_batch(&mut self, queue: &Queue) -> (Vec<Item>, Option<u64>, bool, u64) {
        let mut pending = queue.lock();
        let stuck = !self.record.backlog.is_empty();
        loop {
            let due = match pending.oldest {
                _ if stuck => self.last_try + RETRY,
                Some(oldest) => oldest + FLUSH,
                None => {
                    let beat = self.last_write + BEAT;
                    let sample = self.sampler.as_ref().map(Sampler::due);
                    sample.map_or(beat, |sample| sample.min(beat))
                }
            };
            let wanted = pending.flush_wanted > pending.flush_done;
            let many = !stuck && pending.cells >= EARLY;
            let now = Instant::now();
            if pending.stop || wanted || many || now >= due {
                break;
            }
            let waited = queue.wake.wait_timeout(pending, due - now);
            pending = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        for names in &pending.names[self.names.len()..] {
            let frame = columns_frame(self.names.len(), names, &pending.stages[names.stage].name);
            self.names.push((names.clone(), frame));
        }
        let known = self.stage_names.len();
        self.stage_names.extend(
            pending.stages[known..]
                .iter()
                .map(|stage| stage.name.clone()),
        );
        let ticket = (pending.flush_wanted > pending.flush_done).then_some(pending.flush_wanted);
        let stop = pending.stop;
        // While stuck, nothing is taken: the queue's bound is the bound.
        if stuck && !stop && ticket.is_none() {
            return (Vec::new(), None, false, 0);
        }
        pending.open.clear();
        pending.oldest = None;
        pending.cells = 0;
        let lost = std::mem::take(&mut pending.lost);
        (std::mem::take(&mut pending.items), ticket, stop, lost)
    }

    fn encode(&mut self, item: Item) {
        self.watch(&item);
        match item {
            Item::Event(event) => self.record.take(None, &event_frame(&event)),
            Item::Rows { names, block } => {
                let Some((of, columns)) = self.names.get(names) else {
                    return;
                };
                let mut frame = Vec::new();
                if push_frame(&mut frame, FrameKind::Rows, &block.encode(names as u32)).is_err() {
                    return;
                }
                self.record.take(Some((names, columns)), &frame);
                if let Some(sink) = self.stages.get_mut(&of.stage) {
                    sink.take(Some((names, columns)), &frame);
                }
            }
            Item::Rewind { stage, event } => {
                let frame = event_frame(&event);
                self.record.take(None, &frame);
                if let Some(sink) = self.stages.get_mut(&stage) {
                    sink.take(None, &frame);
                }
            }
            Item::Attach {
                stage,
                file,
                attempt,
            } => {
                let mut sink = Sink::new(file);
                sink.take(None, &event_frame(&attempt));
                self.stages.insert(stage, sink);
            }
            Item::Detach { stage } => {
                if let Some(mut sink) = self.stages.remove(&stage)
                    && let Err(error) = sink.write(true)
                {
                    self.queue.lock().stage_trouble.insert(stage, error);
                }
            }
        }
    }
}

impl Writer {
    /// Adds a sample of the machine when one is due.
    fn sample(&mut self) {
        // While the disk refuses, memory is for others.
        if !self.record.backlog.is_empty() && self.last_write.elapsed() > RETRY {
            return;
        }
        let Some(sampler) = &mut self.sampler else {
            return;
        };
        let Some(sample) = sampler.sample() else {
            return;
        };
        let mut block = Block::new(sample.len());
        block.positions.push(sampler.number - 1);
        let time = self.queue.start.elapsed();
        block.times.push(time.as_micros() as u64);
        for (column, value) in block.columns.iter_mut().zip(&sample) {
            column.push(value);
        }
        let names = self.sample_names;
        self.encode(Item::Rows { names, block });
    }

    fn watch(&mut self, item: &Item) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        match item {
            Item::Event(event) | Item::Rewind { event, .. } => watching.event(&event.what),
            Item::Rows { names, block } => {
                if let Some((of, _)) = self.names.get(*names)
                    && let Some(stage) = self.stage_names.get(of.stage)
                {
                    watching.rows(stage, &of.columns, block);
                }
            }
            Item::Attach { .. } | Item::Detach { .. } => {}
        }
    }
}

/// An event as a frame; nothing for an event too large to be written.
fn event_frame(event: &StampedEvent) -> Vec<u8> {
    let mut frame = Vec::new();
    if let Ok(text) = serde_json::to_vec(event)
        && push_frame(&mut frame, FrameKind::Event, &text).is_err()
    {
        frame.clear();
    }
    frame
}

fn columns_frame(number: usize, names: &Names, stage: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let text =
        serde_json::json!({ "number": number, "stage": stage, "names": names.columns }).to_string();
    if push_frame(&mut frame, FrameKind::Columns, text.as_bytes()).is_err() {
        frame.clear();
    }
    frame
}
