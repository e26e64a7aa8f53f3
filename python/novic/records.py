"""What runs recorded."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _novic
from ._novic import RecordError

if TYPE_CHECKING:
    import pyarrow

PathLike = Union[str, "os.PathLike[str]"]


class Metrics:
    """The metrics of a stage: rows of named values, in the order of logging.

    Rows with the same names form a group; most stages have one. Columns are
    arrays that NumPy takes over without a copy.
    """

    def __init__(self, native: _novic.Metrics) -> None:
        self._native = native
        self._groups = native.groups()

    def __len__(self) -> int:
        return len(self._native)

    def __repr__(self) -> str:
        return f"Metrics(rows={len(self)}, names={self.names})"

    @property
    def groups(self) -> list[list[str]]:
        """The names of each group of rows."""
        return self._groups

    @property
    def names(self) -> list[str]:
        """All names in use."""
        return sorted({name for group in self._groups for name in group})

    def numbers(self, name: str, group: Optional[int] = None) -> npt.NDArray[np.float64]:
        """A column as numbers, NaN where a value is none; of the largest group that has it."""
        return np.asarray(self._native.numbers(self._group(name, group), name))

    def values(self, name: str, group: Optional[int] = None) -> list[Any]:
        """A column as it was logged."""
        return self._native.values(self._group(name, group), name)

    def positions(self, group: int = 0) -> npt.NDArray[np.uint64]:
        """Numbers of the rows of a group within the stage."""
        return np.asarray(self._native.rows(group)[0])

    def times(self, group: int = 0) -> npt.NDArray[np.datetime64]:
        """Times of the rows of a group (UTC)."""
        return np.asarray(self._native.rows(group)[1]).view("datetime64[us]")

    def to_arrow(self, group: int = 0) -> pyarrow.Table:
        """A group as a table: `position`, `time`, and a column per name."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            "position": pa.array(self.positions(group)),
            "time": pa.array(self.times(group)),
        }
        for name in self._groups[group]:
            numbers = self.numbers(name, group)
            if np.isnan(numbers).any():
                columns[name] = pa.array(self.values(name, group))
            else:
                columns[name] = pa.array(numbers)
        return pa.table(columns)

    def _group(self, name: str, group: Optional[int]) -> int:
        if group is not None:
            return group
        having = [number for number, names in enumerate(self._groups) if name in names]
        if not having:
            raise RecordError(f"there is no column `{name}`, but {', '.join(self.names)}")
        return max(having, key=lambda number: len(self.positions(number)))


class Run:
    """The record of a run."""

    def __init__(self, native: _novic.Record) -> None:
        self._native = native
        #: What `novic ls` tells of it.
        self.overview: dict[str, Any] = json.loads(native.overview())

    def __repr__(self) -> str:
        return f"Run({self.id!r}, state={self.state!r})"

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.overview["run"])

    @property
    def state(self) -> str:
        """`running`, `finished`, `failed`, `interrupted`, `killed` or `vanished`."""
        return str(self.overview["state"]["state"])

    @property
    def folder(self) -> Path:
        """Where its record lies."""
        return Path(self._native.folder)

    @property
    def outputs(self) -> Path:
        """Where people find what it made."""
        return Path(self.overview["outputs"])

    @property
    def results(self) -> dict[str, Any]:
        """What each stage found out."""
        stages = self.overview["stages"]
        return {stage["name"]: stage["results"] for stage in stages}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`header`, `config`, `environment`, `git`, `program_hash` and `end`."""
        facts: dict[str, Any] = json.loads(self._native.facts())
        return facts

    @property
    def config(self) -> dict[str, Any]:
        """The configuration it ran with."""
        config: dict[str, Any] = self.facts["config"]
        return config

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """Everything that happened, in order."""
        events: list[dict[str, Any]] = json.loads(self._native.events())
        return events

    @cached_property
    def metrics(self) -> dict[str, Metrics]:
        """The metrics of each stage that has any."""
        return {stage: Metrics(native) for stage, native in self._native.metrics()}


def runs(*filters: str, project: PathLike = ".") -> list[dict[str, Any]]:
    """What `novic ls` tells of the runs that match all filters, oldest first.

    >>> runs("state = finished", "top1 > 80")
    """
    return [json.loads(text) for text in _novic.list_runs(os.path.abspath(project), list(filters))]


def open_run(run: str = "latest", project: PathLike = ".") -> Run:
    """The record of a run: an id, a part of one, or `latest`."""
    return Run(_novic.open_record(os.path.abspath(project), run))


def read_metrics(path: PathLike) -> Metrics:
    """The metrics that an output of a stage carries (`metrics.novic`)."""
    return Metrics(_novic.read_metrics(path))
