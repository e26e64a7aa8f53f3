//! Tests that need another process run one test of their own binary in it.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Set for the other process: the directory to work in.
const VARIABLE: &str = "NOVIC_TEST_CHILD";

/// In the other process, the directory to work in.
pub(crate) fn dir() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Starts the test with this full name in another process.
pub(crate) fn spawn(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lines that a child prints.
pub(crate) type Output = Lines<BufReader<ChildStdout>>;

/// Reads the child's output until a line ends with `text`. Keep what is
/// returned: a child whose output nobody reads fails at printing.
pub(crate) fn wait_for(child: &mut Child, text: &str) -> Output {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for_line(&mut lines, text);
    lines
}

/// Reads on until a line ends with `text`.
pub(crate) fn wait_for_line(lines: &mut Output, text: &str) {
    let found = lines.any(|line| line.is_ok_and(|line| line.trim_end().ends_with(text)));
    assert!(found, "the child ended before it said `{text}`");
}

/// `kill -9`.
pub(crate) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
