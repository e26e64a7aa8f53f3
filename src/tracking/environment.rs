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
    /// Commit hash, or `(initial)` before the first commit.
    pub commit: String,
    /// Branch, or `(detached)`.
    pub branch: String,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

impl GitState {
    /// Asks git; `None` outside of a work tree or without git.
    pub fn capture(dir: &Path) -> Option<GitState> {
        // Starting git only to hear that there is none would be a waste.
        dir.ancestors().find(|dir| dir.join(".git").exists())?;
        // Only looks: without the first option, git may rewrite its index.
        let output = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args([
                "--no-optional-locks",
                "status",
                "--porcelain=v2",
                "--branch",
                "--untracked-files=no",
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        GitState::from_status(&String::from_utf8_lossy(&output.stdout))
    }

    /// Reads `git status --porcelain=v2 --branch`.
    fn from_status(text: &str) -> Option<GitState> {
        let header = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix("# ")?.strip_prefix(name))
        };
        Some(GitState {
            commit: header("branch.oid ")?.to_owned(),
            branch: header("branch.head ")?.to_owned(),
            dirty: text.lines().any(|line| !line.starts_with('#')),
        })
    }
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

    #[test]
    fn the_state_of_the_sources_is_read() {
        let clean = "# branch.oid 5f1a\n# branch.head main\n# branch.upstream origin/main\n";
        let state = GitState {
            commit: "5f1a".into(),
            branch: "main".into(),
            dirty: false,
        };
        assert_eq!(GitState::from_status(clean), Some(state.clone()));
        let dirty = format!("{clean}1 .M N... 100644 100644 100644 aa bb src/lib.rs\n");
        assert_eq!(
            GitState::from_status(&dirty),
            Some(GitState {
                dirty: true,
                ..state
            })
        );
        assert_eq!(GitState::from_status(""), None);
    }
}
