"""Classify pictures without a list of candidate labels, and read what experiments leave.

`NovicModel` names what is in pictures. `open_cache`, `open_run`, `runs` and
`tables` read embedding caches, records of runs and tables of experiments.
All errors are `NovicError`.
"""

from ._novic import (
    CacheError,
    CheckpointError,
    EmbedderError,
    ExperimentError,
    InputError,
    NovicError,
    OptionError,
    RecordError,
    __version__,
)
from .caches import EmbeddingCache, Samples, open_cache
from .model import LabelToken, LabelType, NovicModel, Predictions
from .records import Metrics, Run, open_run, read_metrics, runs
from .tables import Table, tables

# The original's name of the class, for programs that change their import only.
NOVICModel = NovicModel

__all__ = [
    "CacheError",
    "CheckpointError",
    "EmbedderError",
    "EmbeddingCache",
    "ExperimentError",
    "InputError",
    "LabelToken",
    "LabelType",
    "Metrics",
    "NOVICModel",
    "NovicError",
    "NovicModel",
    "OptionError",
    "Predictions",
    "RecordError",
    "Run",
    "Samples",
    "Table",
    "__version__",
    "open_cache",
    "open_run",
    "read_metrics",
    "runs",
    "tables",
]
