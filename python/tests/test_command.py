"""The command that the package brings."""

import importlib.metadata
import os
import signal
import subprocess
import sys

import novic

from .conftest import TINY, Project


def test_the_command_is_the_program(project: Project) -> None:
    assert project.call("--version") == f"novic {novic.__version__}\n"
    assert "novic run" in project.call("run", "--help")
    project.call("no-such-command", code=2)
    assert "_novic" in project.call("completions", "bash")
    # What was done already is known.
    assert project.call("run", TINY).strip().endswith("index.html")


def test_the_package_brings_the_licences_of_its_parts() -> None:
    names = {file.name for file in importlib.metadata.files("novic") or []}
    assert {"LICENSE", "LICENSE-WordNet.txt", "LICENSE-DejaVu.txt", "NOTICE.md"} <= names


def test_the_shell_completes_commands() -> None:
    variables = {**os.environ, "COMPLETE": "bash", "_CLAP_COMPLETE_INDEX": "1"}
    command = [sys.executable, "-m", "novic", "--", "novic", "tab"]
    assert subprocess.check_output(command, env=variables, text=True) == "table"


def test_a_run_is_done_by_a_child_that_signals_reach(project: Project) -> None:
    command = [sys.executable, "-m", "novic", "run", str(TINY)]
    command += ["stage.train.train.max_chunks=100000"]
    run = subprocess.Popen(
        command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    # The first line is printed when the run has begun.
    run.stderr.readline()
    os.kill(run.pid, signal.SIGINT)
    _, rest = run.communicate(timeout=120)
    assert run.returncode == 130, rest
