//! Pieces of work as processes of this machine: what kills one leaves the
//! others alone, and each sees the GPUs that it was given.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::error::LaunchError;
use crate::runner::interrupt::Interrupt;
use crate::runner::sweep::{LISTS, OutcomeLine, Sweep, SweepError, Unit, UnitSpec};
use crate::store::StoreError;
use crate::tracking::StageOutcome;

/// Time between two looks whether the work is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts pieces of work as processes.
#[derive(Debug)]
pub struct Processes<'a> {
    sweep: &'a Sweep,
    list: PathBuf,
    options: Vec<String>,
    gpus: Mutex<Vec<usize>>,
}

impl<'a> Processes<'a> {
    /// Writes the list of the pieces; `options` are passed on, `gpus` is how many
    /// GPUs there are.
    pub fn new(
        sweep: &'a Sweep,
        units: &[Unit],
        options: Vec<String>,
        gpus: usize,
    ) -> Result<Processes<'a>, SweepError> {
        let specs: Vec<&UnitSpec> = units.iter().map(|unit| &unit.spec).collect();
        Ok(Processes {
            sweep,
            list: write_list(sweep, &specs)?,
            options,
            gpus: Mutex::new((0..gpus).rev().collect()),
        })
    }

    /// Does the piece of work with a place in the list.
    ///
    /// # Errors
    /// The process cannot be started, or what became of it not be written down.
    pub fn work(
        &self,
        place: usize,
        unit: &Unit,
        interrupt: &Interrupt,
    ) -> Result<OutcomeLine, SweepError> {
        let begun = Instant::now();
        let given: Vec<usize> = {
            let mut free = self.free();
            let count = unit.needs.gpus.min(free.len());
            let at = free.len() - count;
            free.split_off(at)
        };
        let ended = self.run(place, &given, interrupt);
        self.free().extend(&given);
        let (code, said) = ended?;
        // What it wrote itself is the last word on it.
        let lines = self.sweep.folder.outcomes()?;
        let own = lines.get(&unit.spec.unit).filter(|line| {
            let age = now_ms().saturating_sub(line.at_ms);
            u128::from(age) <= begun.elapsed().as_millis() + 1
        });
        if let Some(line) = own {
            return Ok(line.clone());
        }
        let line = OutcomeLine {
            unit: unit.spec.unit.clone(),
            point: unit.spec.point,
            outcome: match interrupt.is_raised() {
                true => StageOutcome::Interrupted,
                false => StageOutcome::Failed,
            },
            run: None,
            seconds: begun.elapsed().as_secs_f64(),
            message: (!interrupt.is_raised()).then(|| match said.is_empty() {
                true => code,
                false => format!("{code}: {said}"),
            }),
            at_ms: now_ms(),
            pruned: false,
        };
        self.sweep.folder.add_outcome(&line)?;
        Ok(line)
    }

    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.gpus
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Runs the process; how it ended, and the end of what it said.
    fn run(
        &self,
        place: usize,
        gpus: &[usize],
        interrupt: &Interrupt,
    ) -> Result<(String, String), SweepError> {
        let logs = self.sweep.folder.dir().join("logs");
        fs::create_dir_all(&logs).map_err(StoreError::io("make", &logs))?;
        let list = self.list.file_stem().unwrap_or_default().to_string_lossy();
        let log = logs.join(format!("{list}-{place}.log"));
        let file = fs::File::create(&log).map_err(StoreError::io("make", &log))?;
        let again = file.try_clone().map_err(StoreError::io("open", &log))?;
        let program = std::env::current_exe();
        let mut command = Command::new(program.unwrap_or_else(|_| "novic".into()));
        command
            .args(["sweep", "job"])
            .arg(self.sweep.folder.dir())
            .arg("--list")
            .arg(&self.list)
            .args(["--place", &place.to_string()])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again);
        if !gpus.is_empty() {
            let ids: Vec<String> = gpus.iter().map(usize::to_string).collect();
            command.env("CUDA_VISIBLE_DEVICES", ids.join(","));
        }
        let mut child = command.spawn().map_err(|source| LaunchError::Start {
            program: "a process for a point".to_owned(),
            source,
        })?;
        let status = wait(&mut child, interrupt).map_err(|source| LaunchError::Start {
            program: "a process for a point".to_owned(),
            source,
        })?;
        let code = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("ended with exit code {code}"),
            (None, None) => "ended".to_owned(),
        };
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        Ok((code, last.unwrap_or_default().trim().to_owned()))
    }
}

/// Waits for a process, which is told when the work is to stop.
fn wait(child: &mut Child, interrupt: &Interrupt) -> std::io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return child.wait();
    };
    let (ended, ending) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while ending.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_raised() {
                    // It may have ended just now.
                    let _ = kill_process(pid, Signal::TERM);
                    break;
                }
            }
        });
        // The number stays that of the process until nobody can signal it any more.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        drop(ended);
    });
    child.wait()
}

/// Writes a new list of pieces of work; its file.
pub(super) fn write_list(sweep: &Sweep, specs: &[&UnitSpec]) -> Result<PathBuf, SweepError> {
    let dir = sweep.folder.dir().join(LISTS);
    fs::create_dir_all(&dir).map_err(StoreError::io("make", &dir))?;
    let mut number = fs::read_dir(&dir).map_or(0, Iterator::count) + 1;
    let path = loop {
        let path = dir.join(format!("{number}.jsonl"));
        if !path.exists() {
            break path;
        }
        number += 1;
    };
    let mut text = String::new();
    for spec in specs {
        let line = serde_json::to_string(spec)
            .map_err(|error| StoreError::io("write", &path)(error.into()))?;
        text.push_str(&line);
        text.push('\n');
    }
    crate::store::write_file(&path, text.as_bytes())?;
    Ok(path)
}

fn now_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().max(0) as u64
}
