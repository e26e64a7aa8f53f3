//! How busy the GPUs are while a run is recorded, as the driver's own program
//! tells it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::value::Value;

/// The driver's program.
const PROGRAM: &str = "nvidia-smi";

/// What it is asked for, after the number of the GPU.
const QUERY: &str = "index,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw";

/// Values of a GPU: how busy it is (%), memory in use (%), temperature (°C), power
/// (W).
const NAMES: [&str; 4] = ["gpu", "memoryAllocated", "temp", "powerWatts"];

type Sample = [Option<f64>; 4];

/// Number of GPUs that the driver knows.
pub(super) fn count() -> usize {
    fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, Iterator::count)
}

/// Names of the values of `count` GPUs.
pub(super) fn names(count: usize) -> Vec<String> {
    let all = (0..count).flat_map(|gpu| NAMES.map(|name| format!("gpu.{gpu}.{name}")));
    all.collect()
}

/// Listens to the driver's program, which ends with it.
#[derive(Debug)]
pub(super) struct Gpus {
    child: Option<Child>,
    last: Arc<Mutex<Vec<Sample>>>,
}

impl Gpus {
    /// Starts the program, which tells of `count` GPUs once in `every`. Where it is
    /// not there, nothing is known.
    pub(super) fn watch(count: usize, every: Duration) -> Gpus {
        Gpus::of_program(Path::new(PROGRAM), count, every)
    }

    fn of_program(program: &Path, count: usize, every: Duration) -> Gpus {
        let last = Arc::new(Mutex::new(vec![Sample::default(); count]));
        let mut gpus = Gpus {
            child: None,
            last: last.clone(),
        };
        let child = Command::new(program)
            .arg(format!("--query-gpu={QUERY}"))
            .args(["--format=csv,noheader,nounits", "--loop"])
            .arg(every.as_secs().max(1).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            return gpus;
        };
        if let Some(output) = child.stdout.take() {
            let listen = move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some((gpu, sample)) = read(&line)
                        && let Some(known) = last.get_mut(gpu)
                    {
                        *known = sample;
                    }
                }
            };
            // It ends with the program.
            let _ = thread::Builder::new().name("gpus".into()).spawn(listen);
        }
        gpus.child = Some(child);
        gpus
    }

    /// The values of [`names`], as they were last.
    pub(super) fn sample(&self) -> Vec<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().flatten().map(|value| (*value).into()).collect()
    }
}

impl Drop for Gpus {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Number and values of a line; what the driver does not tell is none.
fn read(line: &str) -> Option<(usize, Sample)> {
    let words: Vec<&str> = line.split(',').map(str::trim).collect();
    let number = |at: usize| words.get(at)?.parse::<f64>().ok();
    let gpu = words.first()?.parse().ok()?;
    let memory = number(2).zip(number(3)).filter(|(_, all)| *all > 0.0);
    let memory = memory.map(|(used, all)| used / all * 100.0);
    Some((gpu, [number(1), memory, number(4), number(5)]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    #[test]
    fn lines_of_the_driver_are_read() {
        assert_eq!(
            read("1, 37, 2048, 8192, 61, 250.5"),
            Some((1, [Some(37.0), Some(25.0), Some(61.0), Some(250.5)]))
        );
        assert_eq!(
            read("0, [N/A], 0, 0, 40, [N/A]"),
            Some((0, [None, None, Some(40.0), None]))
        );
        assert_eq!(read("No devices were found"), None);
        assert_eq!(names(2)[4], "gpu.1.gpu");
    }

    #[test]
    fn the_driver_is_listened_to() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("smi");
        let text = "#!/bin/sh\necho '0, 5, 1, 4, 30, 60'\necho '1, 6, 2, 4, 31, 61'\nsleep 600\n";
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let gpus = Gpus::of_program(&program, 2, Duration::from_secs(10));
        let begun = Instant::now();
        while gpus.sample()[4].as_f64().is_none() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "nothing is heard"
            );
            thread::sleep(Duration::from_millis(5));
        }
        let values: Vec<_> = gpus.sample().iter().map(Value::as_f64).collect();
        let expected = [5.0, 25.0, 30.0, 60.0, 6.0, 50.0, 31.0, 61.0].map(Some);
        assert_eq!(values, expected);
        let missing = Gpus::of_program(&dir.path().join("none"), 1, Duration::from_secs(10));
        assert!(
            missing
                .sample()
                .iter()
                .all(|value| value.as_f64().is_none())
        );
    }
}
