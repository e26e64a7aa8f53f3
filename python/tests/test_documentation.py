"""The programs in the documentation run."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Project

PAGES = ["README.md", "docs/python.md", "python/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_the_documentation_run(
    page: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A project with one run, and files with the names that the programs use.
    shutil.copytree(project.folder / ".novic", tmp_path / ".novic")
    for record in (tmp_path / ".novic/runs").iterdir():
        if record.name != project.run:
            shutil.rmtree(record)
    shutil.copy(project.output("convert_noun_dataset", "cache.bin"), tmp_path)
    shutil.copy(project.pictures[0], tmp_path / "picture.png")
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / page).read_text()
    programs = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert programs
    for program in programs:
        exec(compile(program, page, "exec"), {})
