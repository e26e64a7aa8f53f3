"""Embedding caches as arrays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt

from ._novic import Cache, CacheError

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Samples:
    """Samples of a cache."""

    #: `[N, F]`
    embeds: npt.NDArray[Any]
    #: Noun ids `[N, M]`, 0 = absent; `None` in a cache without targets.
    target_ids: Optional[npt.NDArray[np.uint32]]
    #: `[N, M]`; `None` in a cache without targets.
    weights: Optional[npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.embeds)


class EmbeddingCache:
    """An embedding cache: `N` samples of dimension `F`, with up to `M` nouns each.

    `embeds`, `target_ids` and `weights` look into the file itself: nothing is
    read before it is used, nothing is copied. Slices (`cache[10:20]`) read
    rows, which also works for caches that are several files.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        """Opens and checks a cache: a `.bin` file, or the `cache.json` of a virtual merge."""
        self.path = Path(path)
        self._cache = Cache(self.path)
        self._nouns: Optional[list[str]] = None

    def __repr__(self) -> str:
        return f"EmbeddingCache({str(self.path)!r}, samples={len(self)}, dim={self.dim})"

    def __len__(self) -> int:
        return self._cache.samples

    def __getitem__(self, rows: slice) -> Samples:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("rows of a cache are read in order: take the step of the result")
        embeds, ids, weights = self._cache.read(start, max(start, stop))
        return Samples(
            embeds=np.asarray(embeds),
            target_ids=None if ids is None else np.asarray(ids),
            weights=None if weights is None else np.asarray(weights),
        )

    @property
    def dim(self) -> int:
        """Dimension `F` of the embeddings."""
        return self._cache.dim

    @property
    def targets_per_sample(self) -> int:
        """Targets per sample `M`; 0 without targets."""
        return self._cache.targets_per_sample

    @property
    def version(self) -> int:
        """Version of the format."""
        return self._cache.version

    @property
    def nouns(self) -> list[str]:
        """Nouns by id; the first is empty and means "absent"."""
        if self._nouns is None:
            self._nouns = self._cache.nouns
        return self._nouns

    @property
    def embeds(self) -> npt.NDArray[Any]:
        """Embeddings `[N, F]`, where they lie in the file."""
        return self._part(0)

    @property
    def target_ids(self) -> npt.NDArray[Any]:
        """Noun ids `[N, M]`, where they lie in the file."""
        return self._part(1)

    @property
    def weights(self) -> npt.NDArray[Any]:
        """Weights `[N, M]`, where they lie in the file."""
        return self._part(2)

    @property
    def tokens(self) -> Optional[tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]]:
        """Token ids and padding `[R, C]` of all nouns."""
        tables = self._cache.tokens()
        return None if tables is None else (np.asarray(tables[0]), np.asarray(tables[1]))

    def to_arrow(self) -> pyarrow.Table:
        """A table with a row per sample, on the memory of the file: `embed`, `target_ids`, `weights`."""
        import pyarrow as pa

        columns = {"embed": self.embeds}
        if self.targets_per_sample:
            columns.update(target_ids=self.target_ids, weights=self.weights)
        arrays = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), part.shape[1])
            for name, part in columns.items()
        }
        return pa.table(arrays)

    def _part(self, which: int) -> npt.NDArray[Any]:
        if self._cache.merged:
            raise CacheError(f"{self.path} is several files: read slices, such as cache[0:512]")
        offset, values, rows, kind = self._cache.parts()[which]
        if not kind:
            raise CacheError(f"{self.path} holds bfloat16, which NumPy lacks: read slices")
        if values == 0:
            return np.empty((rows, 0), dtype=kind)
        return np.memmap(self.path, dtype=kind, mode="r", offset=offset, shape=(rows, values))


def open_cache(path: Union[str, os.PathLike[str]]) -> EmbeddingCache:
    """Opens an embedding cache."""
    return EmbeddingCache(path)
