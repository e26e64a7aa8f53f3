//! The small parent of a run.
//!
//! When a process is killed, its parent alone can tell by which signal. A run
//! is therefore done by a child of the process that the user started, which
//! does nothing but wait, pass on signals, and say how the child ended.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, Signal, getppid, kill_process};
use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};
use signal_hook::iterator::Signals;

use super::Exit;
use crate::tracking::Death;

/// For the child: the parent's process number and the file in which it wants to
/// find the directory of the run, separated by a colon.
const VARIABLE: &str = "NOVIC_PARENT";

/// Runs this command in a child process and returns its exit code. `None` in
/// the child, and where no child can be started: then the run does without.
pub(super) fn as_parent() -> Option<u8> {
    if file_of_parent().is_some() {
        stay_no_longer_than_parent();
        return None;
    }
    let file = tempfile::NamedTempFile::new().ok()?;
    let mut told = OsString::from(format!("{}:", std::process::id()));
    told.push(file.path());
    // From now on, so that no signal ends this process before the child.
    let mut signals = Signals::new([SIGINT, SIGTERM]).ok()?;
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe().ok()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let kills = memory_kills();
    let mut child = command.args(arguments).env(VARIABLE, told).spawn().ok()?;
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
    if let Some(SIGINT | SIGTERM) = status.signal() {
        // Before it listened to signals.
        return Some(Exit::Interrupted as u8);
    }
    if let Some(signal) = status.signal() {
        eprintln!("error: killed by signal {signal}; the same command goes on where it stopped");
        let run = fs::read(file.path()).unwrap_or_default();
        if !run.is_empty() {
            // The lists say "ended without a word" then.
            let out_of_memory = signal == SIGKILL && memory_kills() > kills;
            let _ = Death::by(signal, out_of_memory).write(Path::new(&OsString::from_vec(run)));
        }
        return Some(128u8.saturating_add(signal as u8));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.unwrap_or(1))
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

/// Whoever kills the process he started means the run.
#[cfg(target_os = "linux")]
fn stay_no_longer_than_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if file_of_parent().is_none() {
        // It ended a moment ago.
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_no_longer_than_parent() {}
