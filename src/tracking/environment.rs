//! The machine and the source tree a run was started on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::store::{ContentHashes, Project};

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
    /// Names of the GPUs.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// What the program was built with.
    #[serde(default)]
    pub toolchain: String,
}

impl Environment {
    /// Looks at this machine, once per process.
    pub fn capture() -> Environment {
        static HERE: OnceLock<Environment> = OnceLock::new();
        HERE.get_or_init(Environment::look).clone()
    }

    fn look() -> Environment {
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
            gpus: gpus(),
            toolchain: env!("NOVIC_TOOLCHAIN").to_owned(),
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

/// As the driver names them.
fn gpus() -> Vec<String> {
    let folders = fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten();
    let mut paths: Vec<_> = folders.flatten().map(|folder| folder.path()).collect();
    paths.sort();
    let model = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path.join("information")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(line.trim().to_owned())
    };
    paths.iter().filter_map(model).collect()
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
    /// Where the sources come from (the remote `origin`), without anything
    /// secret; none if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// How they differ; none if they do not, or if it is longer than 4 MiB.
    #[serde(default)]
    pub patch: Option<String>,
}

/// What is the same for all runs of a process.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub(super) git: Option<GitState>,
    pub(super) program: Option<String>,
}

impl Surroundings {
    /// Looks at sources and program, for many runs at once.
    pub fn capture(project: &Project) -> Surroundings {
        Surroundings {
            git: GitState::capture(project.working_dir()),
            program: program_hash(project),
        }
    }

    /// The same for one run, told piece by piece: the patch, which may take
    /// long, comes last, with the state once more.
    pub(super) fn look(project: &Project, tell: impl Fn(Surroundings)) {
        let program = program_hash(project);
        tell(Surroundings { program, git: None });
        let dir = project.working_dir();
        let Some(state) = GitState::without_patch(dir) else {
            return;
        };
        let told = |git: &GitState| Surroundings {
            program: None,
            git: Some(git.clone()),
        };
        tell(told(&state));
        if state.dirty {
            tell(told(&state.with_patch(dir)));
        }
    }
}

/// Longest patch that is kept, in bytes.
const PATCH_BYTES: usize = 4 << 20;

/// Identity of the running program: the hash of its file, which the project
/// remembers as long as the file does not change.
fn program_hash(project: &Project) -> Option<String> {
    static HASH: OnceLock<Option<String>> = OnceLock::new();
    let hash = || {
        let hashes = ContentHashes::open(project, false);
        let hash = hashes.file(&std::env::current_exe().ok()?).ok()?;
        // Else the next process reads the file again.
        let _ = hashes.save();
        Some(hash.to_string())
    };
    HASH.get_or_init(hash).clone()
}

impl GitState {
    /// Asks git; `None` outside of a work tree or without git.
    pub fn capture(dir: &Path) -> Option<GitState> {
        Some(GitState::without_patch(dir)?.with_patch(dir))
    }

    fn without_patch(dir: &Path) -> Option<GitState> {
        // Starting git only to hear that there is none would be a waste.
        dir.ancestors().find(|dir| dir.join(".git").exists())?;
        let status = [
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=no",
        ];
        let mut state = GitState::from_status(&git(dir, &status)?)?;
        let remote = git(dir, &["config", "--get", "remote.origin.url"]);
        state.remote = remote.and_then(|url| public(url.trim()));
        Some(state)
    }

    fn with_patch(mut self, dir: &Path) -> GitState {
        if self.dirty {
            let diff = ["diff", "--no-color", "--no-ext-diff", "--binary", "HEAD"];
            self.patch = git(dir, &diff).filter(|patch| patch.len() <= PATCH_BYTES);
        }
        self
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
            remote: None,
            patch: None,
        })
    }
}

/// What git says.
fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    // Only looks: without `--no-optional-locks`, git may rewrite its index.
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .arg("--no-optional-locks")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An address without user and password; none of paths on this machine.
fn public(url: &str) -> Option<String> {
    match url.split_once("://") {
        Some(("file", _)) => None,
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            Some(format!("{scheme}://{host}/{path}"))
        }
        // git@host:owner/name
        None => {
            let (host, path) = url.split_once(':')?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            (!host.contains('/')).then(|| format!("ssh://{host}/{path}"))
        }
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
    fn a_work_tree_is_recorded_with_its_changes() {
        let dir = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let user = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
            let mut command = Command::new("git");
            command.arg("-C").arg(dir.path()).args(user).args(arguments);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        git(&["init", "-q"]);
        fs::write(dir.path().join("a"), "old\n").unwrap();
        git(&["add", "a"]);
        git(&["commit", "-qm", "x"]);
        let clean = GitState::capture(dir.path()).unwrap();
        assert!(!clean.dirty && clean.patch.is_none() && clean.remote.is_none());
        let url = "https://user:token@example.org/lab/novic.git";
        git(&["remote", "add", "origin", url]);
        let known = GitState::capture(dir.path()).unwrap();
        let remote = known.remote.as_deref();
        assert_eq!(remote, Some("https://example.org/lab/novic.git"));
        fs::write(dir.path().join("a"), "new\n").unwrap();
        let dirty = GitState::capture(dir.path()).unwrap();
        let patch = dirty.patch.unwrap();
        assert!(dirty.dirty && patch.ends_with("-old\n+new\n"), "{patch}");
    }

    #[test]
    fn addresses_of_sources_hold_nothing_secret() {
        for (url, expected) in [
            (
                "git@example.org:lab/x.git",
                Some("ssh://example.org/lab/x.git"),
            ),
            ("https://key@example.org/x", Some("https://example.org/x")),
            ("ssh://git@example.org:22/x", Some("ssh://example.org:22/x")),
            ("/srv/x.git", None),
            ("file:///srv/x.git", None),
            ("./x:y", None),
        ] {
            assert_eq!(public(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn the_program_has_an_identity() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        assert_eq!(program_hash(&project).unwrap().len(), 64);
    }

    #[test]
    fn the_state_of_the_sources_is_read() {
        let clean = "# branch.oid 5f1a\n# branch.head main\n# branch.upstream origin/main\n";
        let state = GitState {
            commit: "5f1a".into(),
            branch: "main".into(),
            dirty: false,
            remote: None,
            patch: None,
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
