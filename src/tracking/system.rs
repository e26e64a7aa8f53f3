//! How busy the machine is while a run is recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::gpu::{self, Gpus};
use super::value::Value;

/// Where the samples stand among the metrics of stages.
pub const SYSTEM: &str = "(system)";

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(10);

/// Names of the values of a sample that every machine has.
const NAMES: [&str; 5] = [
    "cpu_percent",
    "memory_gib",
    "machine_cpu_percent",
    "machine_memory_percent",
    "disk_free_gib",
];

/// Bytes in a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// Takes samples from `/proc`; where it is missing there are none.
#[derive(Debug)]
pub(super) struct Sampler {
    /// A place on the disk that is written to.
    place: PathBuf,
    last: Instant,
    clocks: Clocks,
    gpu_count: usize,
    /// Those that sample GPUs, once they are needed.
    gpus: Option<Gpus>,
    /// Number of the next sample.
    pub number: u64,
}

/// Ticks of the processor: this process, the whole machine at work, all.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    process: u64,
    busy: u64,
    all: u64,
}

impl Sampler {
    pub(super) fn new(place: &Path) -> Sampler {
        Sampler {
            place: place.to_owned(),
            last: Instant::now(),
            clocks: clocks().unwrap_or_default(),
            gpu_count: gpu::count(),
            gpus: None,
            number: 0,
        }
    }

    /// Names of the values of a sample.
    pub(super) fn names(&self) -> Vec<String> {
        let gpus = gpu::names(self.gpu_count);
        NAMES.map(str::to_owned).into_iter().chain(gpus).collect()
    }

    /// When the next sample is due.
    pub(super) fn due(&self) -> Instant {
        self.last + EVERY
    }

    /// A sample, if one is due: the values of [`Sampler::names`].
    pub(super) fn sample(&mut self) -> Option<Vec<Value>> {
        if self.last.elapsed() < EVERY {
            return None;
        }
        self.last = Instant::now();
        let now = clocks()?;
        let before = std::mem::replace(&mut self.clocks, now);
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = now.all.saturating_sub(before.all).max(1) as f64;
        let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / all * 100.0;
        self.number += 1;
        let gpus = (self.gpu_count > 0).then(|| {
            // Short runs need none.
            let watch = || Gpus::watch(self.gpu_count, EVERY);
            self.gpus.get_or_insert_with(watch).sample()
        });
        let machine = [
            // Of one thread, as `top` shows it.
            (share(now.process, before.process) * threads).into(),
            resident().into(),
            share(now.busy, before.busy).into(),
            machine_memory().into(),
            disk_free(&self.place).into(),
        ];
        Some(
            machine
                .into_iter()
                .chain(gpus.into_iter().flatten())
                .collect(),
        )
    }
}

/// `/proc/self/stat` and the first line of `/proc/stat`.
fn clocks() -> Option<Clocks> {
    let own = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything.
    let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| own.get(at)?.parse::<u64>().ok();
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let machine: Vec<u64> = machine
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        // What follows counts twice.
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    let all = machine.iter().sum();
    // Idle, and waiting for a disk.
    let idle: u64 = machine.get(3..5)?.iter().sum();
    Some(Clocks {
        process: number(11)? + number(12)?,
        busy: all - idle,
        all,
    })
}

/// A line `NAME: N kB` of a file in `/proc`, in bytes.
fn kilobytes(file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.trim_start_matches(':').split_whitespace().next()?;
    Some(number.parse::<f64>().ok()? * 1024.0)
}

fn resident() -> Option<f64> {
    Some(kilobytes("/proc/self/status", "VmRSS")? / GIB)
}

fn machine_memory() -> Option<f64> {
    let all = kilobytes("/proc/meminfo", "MemTotal")?;
    let free = kilobytes("/proc/meminfo", "MemAvailable")?;
    Some((1.0 - free / all) * 100.0)
}

fn disk_free(place: &Path) -> Option<f64> {
    let disk = rustix::fs::statvfs(place).ok()?;
    Some(disk.f_bavail as f64 * disk.f_frsize as f64 / GIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_when_due() {
        let dir = tempfile::tempdir().unwrap();
        let mut sampler = Sampler::new(dir.path());
        assert_eq!(sampler.sample(), None);
        let Some(past) = sampler.last.checked_sub(EVERY) else {
            return;
        };
        sampler.last = past;
        let sample = sampler.sample().expect("a sample");
        let percent = |at: usize| sample[at].as_f64().unwrap();
        assert!(percent(0) >= 0.0);
        assert!(percent(1) > 0.0);
        assert!((0.0..=100.0).contains(&percent(2)));
        assert!((0.0..=100.0).contains(&percent(3)));
        assert!(percent(4) >= 0.0);
        assert_eq!(sampler.number, 1);
    }
}
