"""A project in which the shrunken quick start was run, and the command to compare with."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "tests/program/tiny.toml"


class Project:
    """A folder with three pictures in which the command `novic` of this package runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = ""
        self.pictures = [folder / "demo" / name for name in ("fox.png", "key.png", "snail.png")]
        (folder / "demo").mkdir()
        for picture in self.pictures:
            shutil.copy(REPOSITORY / "extras/demo" / picture.name, picture)

    def call(self, *arguments: object, code: int = 0) -> str:
        """Runs the command; returns what it printed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NOVIC")}
        command = [sys.executable, "-m", "novic", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def json(self, *arguments: object) -> Any:
        """The same for commands that print JSON."""
        return json.loads(self.call(*arguments, "--json"))

    def output(self, kind: str, name: str) -> Path:
        """A file that a stage of this kind left."""
        (path,) = self.folder.glob(f".novic/store/{kind}/*/{name}")
        return path


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, after a run."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.call("run", TINY)
    (record,) = made.folder.glob(".novic/runs/ovod_*")
    made.run = record.name
    return made
