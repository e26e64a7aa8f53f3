//! The small parent of a run.
//!
//! When a process is killed, its parent alone can tell by which signal. A run
//! is therefore done by a child of the process that the user started. That one
//! looks whether there is anything to do, says what is to be said before, and
//! then does nothing but wait, pass on signals, and say how the child ended.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, Signal, getppid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use signal_hook::iterator::Signals;

use super::Exit;
use crate::runner::stop_signals;
use crate::tracking::Death;

/// For the child: the parent's process number and the file in which it wants to
/// find the directory of the run, separated by a colon.
const VARIABLE: &str = "NOVIC_PARENT";

/// For the child: the file that lists the runs of earlier children, which were
/// killed.
const KILLED: &str = "NOVIC_KILLED_RUNS";

/// Runs this command in a child process and returns its exit code. `None` in
/// the child, and where no child can be started: then the run does without.
/// With `goes_on`, another child follows one that was killed, except by
/// somebody who wanted that: it knows which stages took the other along.
pub(super) fn as_parent(goes_on: bool) -> Option<u8> {
    if is_child() {
        return None;
    }
    let mut killed = tempfile::NamedTempFile::new().ok()?;
    loop {
        let (signal, run) = match child(killed.path())? {
            Ended::Code(code) => return Some(code),
            Ended::Killed(death, run) => {
                if let Some(run) = &run {
                    // The lists say "ended without a word" then.
                    let _ = death.write(run);
                }
                let on_purpose = death.signal == SIGKILL && !death.out_of_memory;
                (death.signal, run.filter(|_| goes_on && !on_purpose))
            }
        };
        let noted = run.and_then(|run| {
            let line = [run.as_os_str().as_bytes(), b"\n"].concat();
            killed.write_all(&line).ok()
        });
        if noted.is_none() {
            eprintln!(
                "error: killed by signal {signal}; the same command goes on where it stopped"
            );
            return Some(128u8.saturating_add(signal as u8));
        }
        eprintln!("error: killed by signal {signal}; going on with what is left");
    }
}

/// Whether this process is the child of such a parent, which has told the user
/// what there is to know before a run.
pub(super) fn is_child() -> bool {
    file_of_parent().is_some()
}

/// How a child ended.
enum Ended {
    /// With an exit code.
    Code(u8),
    /// By a signal, in the run in this directory, if it had begun.
    Killed(Death, Option<PathBuf>),
}

/// Runs this command in a child process until it ends.
fn child(killed: &Path) -> Option<Ended> {
    let file = tempfile::NamedTempFile::new().ok()?;
    let mut told = OsString::from(format!("{}:", std::process::id()));
    told.push(file.path());
    // From now on, so that no signal ends this process before the child.
    let mut signals = Signals::new(stop_signals()).ok()?;
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe().ok()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command
        .args(arguments)
        .env(VARIABLE, told)
        .env(KILLED, killed);
    let kills = memory_kills();
    let mut child = command.spawn().ok()?;
    let handle = signals.handle();
    let pid = pid_of(&child);
    let passing_on = thread::spawn(move || {
        for signal in signals.forever() {
            if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
                // It may have ended just now.
                let _ = kill_process(pid, signal);
            }
        }
    });
    let status = child.wait();
    handle.close();
    let _ = passing_on.join();
    let status = status.ok()?;
    Some(match status.signal() {
        None => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Ended::Code(code.unwrap_or(1))
        }
        // Before it listened to signals.
        Some(SIGHUP | SIGINT | SIGTERM) => Ended::Code(Exit::Interrupted.code()),
        Some(signal) => {
            let run = fs::read(file.path()).unwrap_or_default();
            let run = (!run.is_empty()).then(|| PathBuf::from(OsString::from_vec(run)));
            let out_of_memory = signal == SIGKILL && memory_kills() > kills;
            Ended::Killed(Death::by(signal, out_of_memory), run)
        }
    })
}

/// Directories of the runs of earlier children of the same parent, which were
/// killed one after the other.
pub(super) fn killed_runs() -> Vec<PathBuf> {
    let file = file_of_parent().and_then(|_| env::var_os(KILLED));
    let lines = file
        .and_then(|file| fs::read(file).ok())
        .unwrap_or_default();
    let lines = lines.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| PathBuf::from(OsString::from_vec(line.to_vec())))
        .collect()
}

/// Tells the parent, if there is one, which run this is.
pub(super) fn tell_parent(run: &Path) {
    if let Some(file) = file_of_parent() {
        let _ = fs::write(file, run.as_os_str().as_bytes());
    }
}

/// How many processes the system has killed for want of memory so far.
fn memory_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    count.trim().parse().ok()
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// The file of the parent, in the child of one. Children of the child have the
/// variable too, but another parent.
fn file_of_parent() -> Option<PathBuf> {
    let told = env::var_os(VARIABLE)?;
    let told = told.as_bytes();
    let colon = told.iter().position(|byte| *byte == b':')?;
    let parent: i32 = std::str::from_utf8(&told[..colon]).ok()?.parse().ok()?;
    (getppid()?.as_raw_nonzero().get() == parent)
        .then(|| PathBuf::from(OsString::from_vec(told[colon + 1..].to_vec())))
}

/// In a child, ends this process with its parent: whoever kills the process he
/// started means the run.
#[cfg(target_os = "linux")]
pub(super) fn stay_no_longer_than_parent() {
    if !is_child() {
        return;
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if !is_child() {
        // It ended a moment ago.
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stay_no_longer_than_parent() {}
