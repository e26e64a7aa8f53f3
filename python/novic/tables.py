"""Tables of experiments."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Iterable, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _novic

if TYPE_CHECKING:
    import pyarrow


class Table:
    """A table: a label per row, a number and a text per cell."""

    def __init__(self, content: dict[str, Any]) -> None:
        #: Its name in the experiment file.
        self.name: str = content["name"]
        #: Above it.
        self.title: Optional[str] = content["title"]
        #: Below it.
        self.caption: Optional[str] = content["caption"]
        #: Header of the labels.
        self.header: str = content["corner"] or ""
        #: Headers of the columns.
        self.columns: list[str] = [column["label"] for column in content["columns"]]
        rows = [row for group in content["groups"] for row in group["rows"]]
        #: Labels of the rows.
        self.labels: list[str] = [row["label"] for row in rows]
        #: Titles of the groups that the rows are in.
        self.groups: list[Optional[str]] = [
            group["title"] for group in content["groups"] for _ in group["rows"]
        ]
        cells = [row["cells"] for row in rows]
        shape = (len(cells), len(self.columns))
        #: Cells as they are printed, row by row.
        self.texts: list[list[str]] = [[cell["text"] for cell in row] for row in cells]
        #: Numbers `[rows, columns]`; NaN where there is none, or several.
        self.values: npt.NDArray[np.float64] = np.array(
            [[_number(cell) for cell in row] for row in cells], dtype=np.float64
        ).reshape(shape)
        #: How many measurements are behind each number.
        self.counts: npt.NDArray[np.int64] = np.array(
            [[cell.get("stats", {}).get("n", 0) for cell in row] for row in cells],
            dtype=np.int64,
        ).reshape(shape)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, rows={self.labels}, columns={self.columns})"

    def to_arrow(self) -> pyarrow.Table:
        """The numbers as a table; the first column has the labels of the rows."""
        import pyarrow as pa

        arrays = [pa.array(self.labels, pa.string())]
        arrays += [pa.array(column) for column in self.values.T]
        return pa.Table.from_arrays(arrays, names=[self.header or "label", *self.columns])


def _number(cell: dict[str, Any]) -> float:
    value = cell.get("stats", {}).get("value")
    return float(value) if isinstance(value, (int, float)) else float("nan")


def tables(
    file: Union[str, os.PathLike[str]],
    overrides: Iterable[str] = (),
    *,
    name: Optional[str] = None,
) -> list[Table]:
    """The tables of an experiment file, made of what has been done; nothing is run.

    `overrides` are changes of values, as for `novic table`; `name` is one table.
    """
    content = _novic.tables(os.fspath(file), list(overrides), name)
    return [Table(table) for table in json.loads(content)]
