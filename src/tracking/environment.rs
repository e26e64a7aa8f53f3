//! The machine and the source tree a run was started on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// What may explain that the same run comes out differently elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Name of the machine.
    pub host: String,
    /// Operating system and architecture, such as `linux x86_64`.
    pub system: String,
    /// Name of the processor.
    pub cpu: String,
    /// Instruction sets that the numeric code may choose by.
    pub cpu_features: Vec<String>,
    /// Threads the operating system grants this process.
    pub cpus: usize,
    /// Threads of the numeric code.
    pub threads: usize,
    /// Physical memory in bytes.
    pub memory: u64,
}

impl Environment {
    /// Looks at this machine. Takes well below a millisecond.
    pub fn capture() -> Environment {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Environment {
            host: hostname::get()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu_name(),
            cpu_features: cpu_features(),
            cpus,
            threads: std::env::var("RAYON_NUM_THREADS")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or(cpus),
            memory: memory(),
        }
    }
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned())
        .unwrap_or_default()
}

fn memory() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    let found = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
    ];
    found
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<String> {
    Vec::new()
}

/// State of the git work tree a run was started in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// Commit hash.
    pub commit: String,
    /// Branch, or `HEAD` when detached.
    pub branch: String,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

impl GitState {
    /// Asks git; `None` outside of a work tree or without git.
    pub fn capture(dir: &Path) -> Option<GitState> {
        let commit = git(dir, &["rev-parse", "HEAD"])?;
        let branch = git(dir, &["rev-parse", "--abbrev-ref", "HEAD"])?;
        // Only looks: without the option, git may rewrite its index.
        let changes = git(
            dir,
            &[
                "--no-optional-locks",
                "status",
                "--porcelain",
                "--untracked-files=no",
            ],
        )?;
        Some(GitState {
            commit,
            branch,
            dirty: !changes.is_empty(),
        })
    }
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let environment = Environment::capture();
        assert!(environment.cpus >= 1 && environment.threads >= 1);
        assert!(environment.system.contains(std::env::consts::ARCH));
    }

    #[test]
    fn outside_of_git_there_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GitState::capture(dir.path()), None);
    }
}
