//! An empty folder to run the program in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tempfile::TempDir;

/// A working directory of its own, with three demo pictures.
pub struct Folder(TempDir);

/// What a finished call of the program left.
pub struct Call {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Call {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Call {
    /// Fails the test unless the exit code is as expected.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "--- standard output\n{}\n--- standard error\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// Ctrl-C.
pub fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &pid]).status().unwrap().success());
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Folder {
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("demo")).unwrap();
        for name in ["fox.png", "key.png", "snail.png"] {
            let from = repository("extras/demo").join(name);
            fs::copy(from, folder.path("demo").join(name)).unwrap();
        }
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, to be started in this folder, apart from the user's own
    /// settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NOVIC") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("COLUMNS", "100")
            .current_dir(self.0.path());
        command
    }

    pub fn call(&self, arguments: &[&str]) -> Call {
        self.command(arguments).output().unwrap().into()
    }

    /// `novic run` of the shrunken quick start.
    pub fn run_tiny(&self, more: &[&str]) -> Command {
        let file = repository("tests/program/tiny.toml");
        let mut arguments = vec!["run", file.to_str().unwrap()];
        arguments.extend(more);
        self.command(&arguments)
    }

    /// The folder of the newest output of a stage kind.
    pub fn output_of(&self, kind: &str) -> PathBuf {
        let shelf = self.path(".novic/store").join(kind);
        let published = |entry: &PathBuf| fs::metadata(entry).and_then(|m| m.modified()).ok();
        let entries = fs::read_dir(&shelf).unwrap_or_else(|e| panic!("{}: {e}", shelf.display()));
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|entry| entry.join("entry.json").is_file())
            .max_by_key(published)
            .unwrap_or_else(|| panic!("no output in {}", shelf.display()))
    }
}
