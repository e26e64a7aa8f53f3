//! How much memory may be taken to put rows in order: whatever fits is read
//! and written front to back, whatever the order of the rows.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Taken even where little is free: with less, every row is a call of its own.
const LEAST: u64 = 64 << 20;

/// Not more than this: what was gathered is lost when the program is killed.
const MOST: u64 = 4 << 30;

/// Bytes of rows to gather: a quarter of what this process may still take, by
/// the machine's memory, its control group and its own limit.
pub(super) fn gathering_bytes() -> u64 {
    let own = address_space().unwrap_or(u64::MAX);
    (available_bytes().min(own) / 4).clamp(LEAST, MOST)
}

/// Bytes that the machine and the control group have left, for files that the
/// system keeps in memory, too.
pub(super) fn available_bytes() -> u64 {
    let limits = [available(), group_limit()];
    limits.into_iter().flatten().min().unwrap_or(0)
}

/// Memory that the machine can give without swapping.
fn available() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// A line `NAME N kB`, in bytes.
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
}

/// What the control group (version 2) of this process has left.
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |file: &str| -> Option<u64> {
        let path = format!("/sys/fs/cgroup{group}/{file}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    // "max" is no number: no limit.
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// What the limit of the address space leaves (`ulimit -v`).
fn address_space() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    Some(limit.saturating_sub(kilobytes("/proc/self/status", "VmSize:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_is_within_its_bounds_and_what_is_free() {
        let bytes = gathering_bytes();
        assert!((LEAST..=MOST).contains(&bytes));
        assert!(available().is_some_and(|free| bytes <= LEAST.max(free)));
    }
}
