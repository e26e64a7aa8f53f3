"""Native part of novic."""

from os import PathLike
from pathlib import Path
from typing import Any, Callable, Optional, Union, final

__all__ = [
    "Array",
    "Cache",
    "run_command",
    "Model",
    "decode_image",
    "device_warning",
    "Metrics",
    "Record",
    "list_runs",
    "open_record",
    "read_metrics",
    "tables",
    "__version__",
    "NovicError",
    "CheckpointError",
    "EmbedderError",
    "InputError",
    "OptionError",
    "CacheError",
    "RecordError",
    "ExperimentError",
]

__version__: str

class NovicError(Exception):
    """Base of all errors of novic; its text says what to do next."""

class CheckpointError(NovicError):
    """A checkpoint that is not there, cannot be read, or is of another embedder."""

class EmbedderError(NovicError):
    """An embedder whose files are missing or wrong."""

class InputError(NovicError):
    """An input that cannot be classified: a picture, an embedding, a text."""

class OptionError(NovicError):
    """An option without meaning: a generation configuration, a guide list."""

class CacheError(NovicError):
    """An embedding cache that cannot be read."""

class RecordError(NovicError):
    """A run that is not there, or a record that cannot be read."""

class ExperimentError(NovicError):
    """An experiment file that is wrong, or whose results cannot be shown."""

@final
class Array:
    """Memory that NumPy takes without a copy (`numpy.asarray`)."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...

_Progress = Optional[Callable[[int, int], object]]

@final
class Model:
    def __new__(
        cls,
        checkpoint: str,
        generation: str,
        embedder: Optional[str],
        tokens: bool,
        device: str,
        dtype: str,
    ) -> Model: ...
    def with_generation(self, name: str) -> Model: ...
    def with_guide(self, nouns: Optional[list[str]]) -> Model: ...
    def load(self) -> None: ...
    def release(self) -> None: ...
    @property
    def path(self) -> Path: ...
    @property
    def generation(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def vocabulary(self) -> list[str]: ...
    @property
    def guide(self) -> list[str]: ...
    @property
    def embedder(self) -> str: ...
    @property
    def configuration(self) -> str: ...
    def classify_images(
        self, inputs: list[Any], batch_size: int, rotate: bool, progress: _Progress
    ) -> dict[str, Any]: ...
    def classify_texts(
        self, texts: list[str], batch_size: int, progress: _Progress
    ) -> dict[str, Any]: ...
    def classify_embeds(
        self, embeds: bytes, batch_size: int, progress: _Progress
    ) -> dict[str, Any]: ...

@final
class Cache:
    def __new__(cls, path: Union[str, PathLike[str]]) -> Cache: ...
    @property
    def merged(self) -> bool: ...
    @property
    def version(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def targets_per_sample(self) -> int: ...
    @property
    def nouns(self) -> list[str]: ...
    def parts(self) -> list[tuple[int, int, int, str]]: ...
    def tokens(self) -> Optional[tuple[Array, Array]]: ...
    def read(self, start: int, stop: int) -> tuple[Array, Optional[Array], Optional[Array]]: ...

@final
class Record:
    @property
    def folder(self) -> Path: ...
    def overview(self) -> str: ...
    def facts(self) -> str: ...
    def events(self) -> str: ...
    def metrics(self) -> list[tuple[str, Metrics]]: ...

@final
class Metrics:
    def __len__(self) -> int: ...
    def groups(self) -> list[list[str]]: ...
    def rows(self, group: int) -> tuple[Array, Array]: ...
    def numbers(self, group: int, name: str) -> Array: ...
    def values(self, group: int, name: str) -> list[Any]: ...

def decode_image(input: Any, rotate: bool) -> tuple[int, int, bytes]: ...
def device_warning(name: str) -> Optional[str]: ...
def list_runs(folder: str, filters: list[str]) -> list[str]: ...
def open_record(folder: str, run: str) -> Record: ...
def read_metrics(path: Union[str, PathLike[str]]) -> Metrics: ...
def tables(file: str, overrides: list[str], name: Optional[str]) -> str: ...
def run_command(arguments: list[str]) -> int: ...
