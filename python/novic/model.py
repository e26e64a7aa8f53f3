"""The model object: pictures in, nouns out."""

from __future__ import annotations

import enum
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Sequence, Union

import numpy as np
import numpy.typing as npt

from ._novic import InputError, Model, decode_image, device_warning

PathLike = Union[str, "os.PathLike[str]"]
#: A path, the bytes of a file, a PIL image, or an array `[H, W, 3]`, `[H, W, 4]` or `[H, W]`
#: of bytes. Transparency is dropped, grey becomes RGB.
Image = Union[PathLike, bytes, bytearray, npt.NDArray[Any], Any]
#: Called with the number of inputs that are done and of all.
Progress = Callable[[int, int], object]


class LabelType(enum.IntEnum):
    """What a noun is to the guide and to the model, as in prediction files."""

    CORRECT = 0
    GUIDE = 1
    VOCABULARY = 2
    OTHER = 3


class LabelToken(NamedTuple):
    """A token of a noun."""

    text: str
    id: int
    log_prob: float


@dataclass(frozen=True)
class Predictions:
    """Labels of `B` inputs, up to `K` each, best first.

    Rows with fewer than `K` labels have shorter lists of nouns, and scores of
    negative infinity, probabilities of 0 and type 3 behind them.
    """

    #: Nouns of every input.
    preds: list[list[str]]
    #: Probabilities `[B, K]`; NaN where the generation configuration has none.
    probs: npt.NDArray[np.float64]
    #: Ranking values `[B, K]`; log-probabilities where there are probabilities.
    scores: npt.NDArray[np.float64]
    #: `LabelType` of every noun, `[B, K]`.
    types: npt.NDArray[np.int8]
    #: Embeddings of the inputs `[B, F]`.
    embeds: npt.NDArray[np.float32]
    #: Tokens of every noun, if they were asked for.
    tokens: Optional[list[list[list[LabelToken]]]] = None

    @property
    def logprobs(self) -> npt.NDArray[np.float64]:
        """The scores under the original's name."""
        return self.scores

    def __len__(self) -> int:
        return len(self.preds)


class NovicModel:
    """An embedder and an object decoder.

    Use it as an object, or as a context that loads the weights when it is
    entered and frees them when it is left. One model may be used from several
    threads.

    >>> with NovicModel() as model:
    ...     output = model.classify_image("picture.png")
    ...     print(output.preds[0][0], output.probs[0][0])
    """

    def __init__(
        self,
        checkpoint: PathLike = "embedded",
        *,
        gencfg: str = "beam_k10_vnone_gp_t1_a0",
        guide_targets: Union[Sequence[str], PathLike, None] = None,
        embedder: Optional[str] = None,
        batch_size: int = 128,
        device: str = "cpu",
        dtype: str = "auto",
        exif_rotate: bool = False,
        token_log_probs: bool = False,
        torch_compile: bool = False,
    ) -> None:
        """Reads the decoder; the weights of the embedder come with the first picture.

        `checkpoint` is a file, a folder of them, a run id, `latest` or
        `embedded` (the decoder that comes with the program). `guide_targets`
        are the nouns to choose from, or a file with one per line. `embedder`
        replaces the one that the checkpoint names. `exif_rotate` turns pictures
        as their files say. `device` is where pictures are embedded: `cpu`,
        `cuda` or `cuda:N`; without such a GPU a warning says that the processor
        is used. `dtype` is the precision in which the embedder keeps its
        matrices: `f32`, `f16` and `bf16` (half the memory), or `auto` (`f32` on
        processors). `torch_compile` has no effect; the original has it.
        """
        del torch_compile
        device = str(device)
        warning = device_warning(device)
        if warning is not None:
            warnings.warn(warning, stacklevel=2)
        self._model = Model(
            os.fspath(checkpoint), gencfg, embedder, token_log_probs, device, dtype
        )
        self._rotate = exif_rotate
        self._tokens = token_log_probs
        self._entered = 0
        self.set_batch_size(batch_size)
        if guide_targets is not None:
            self.set_guide_targets(guide_targets)

    def __enter__(self) -> NovicModel:
        self._model.load()
        self._entered += 1
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._entered -= 1
        if self._entered == 0:
            self.close()

    def __repr__(self) -> str:
        return f"NovicModel({self.checkpoint!r}, gencfg={self.gencfg!r})"

    def close(self) -> None:
        """Frees the weights of the embedder; the next picture loads them again."""
        self._model.release()

    @property
    def checkpoint(self) -> str:
        """The checkpoint file, or `embedded`."""
        return str(self._model.path)

    @property
    def gencfg(self) -> str:
        """The generation configuration."""
        return self._model.generation

    @property
    def embedder(self) -> str:
        """The embedder that the checkpoint names."""
        return self._model.embedder

    @property
    def embed_dim(self) -> int:
        """Dimension `F` of the embeddings."""
        return self._model.dim

    @property
    def vocabulary(self) -> list[str]:
        """The nouns of the model."""
        return self._model.vocabulary

    @property
    def guide_targets(self) -> list[str]:
        """The nouns that guide it."""
        return self._model.guide

    @property
    def cfg_flat(self) -> dict[str, Any]:
        """The configuration of the training under the original's names."""
        flat: dict[str, Any] = json.loads(self._model.configuration)
        return flat

    @property
    def batch_size(self) -> int:
        """Inputs that are embedded together."""
        return self._batch_size

    def set_gencfg(self, gencfg: str) -> None:
        """Generates nouns in another way."""
        self._model = self._model.with_generation(gencfg)

    def set_guide_targets(self, guide_targets: Union[Sequence[str], PathLike, None]) -> None:
        """Chooses from these nouns, those in a file, or (`None`) the vocabulary."""
        if isinstance(guide_targets, (str, os.PathLike)):
            text = Path(guide_targets).read_text(encoding="utf-8-sig")
            lines = (line.strip() for line in text.splitlines())
            guide_targets = [line for line in lines if line and not line.startswith("#")]
        nouns = None if guide_targets is None else list(guide_targets)
        self._model = self._model.with_guide(nouns)

    def set_batch_size(self, batch_size: int) -> None:
        """Embeds so many inputs together."""
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self._batch_size = batch_size

    def load_image(self, image: Image) -> npt.NDArray[np.uint8]:
        """Decodes a picture: RGB values `[H, W, 3]`."""
        width, height, values = decode_image(_native(image), self._rotate)
        return np.frombuffer(values, np.uint8).reshape(height, width, 3)

    def load_images(
        self, images: Iterable[Image], image_dir: Optional[PathLike] = None
    ) -> list[npt.NDArray[np.uint8]]:
        """Decodes pictures; relative paths refer to `image_dir`."""
        return [self.load_image(_below(image_dir, image)) for image in images]

    def load_image_batches(
        self,
        images: Iterable[Image],
        image_dir: Optional[PathLike] = None,
        batch_size: Optional[int] = None,
    ) -> Iterator[list[npt.NDArray[np.uint8]]]:
        """Decodes pictures batch by batch, the last one shorter, while they are asked for."""
        size = self._batch_size if batch_size is None else batch_size
        if size < 1:
            raise ValueError("batch_size must be at least 1")
        batch = []
        for image in images:
            batch.append(self.load_image(_below(image_dir, image)))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def classify_image(self, image: Image) -> Predictions:
        """Labels of one picture, as a batch of 1."""
        return self.classify_images([image])

    def classify_images(
        self,
        images: Iterable[Image],
        image_dir: Optional[PathLike] = None,
        *,
        progress: Optional[Progress] = None,
    ) -> Predictions:
        """Labels of any number of pictures, in their order.

        Paths are read while others are classified, so they need less memory
        than decoded pictures. Raises `InputError` at the first picture that
        cannot be read.
        """
        if _is_single(images):
            images = [images]
        inputs = [_native(_below(image_dir, image)) for image in images]
        outcome = self._model.classify_images(inputs, self._batch_size, self._rotate, progress)
        return self._predictions(outcome)

    def classify_texts(
        self, texts: Iterable[str], *, progress: Optional[Progress] = None
    ) -> Predictions:
        """Labels of texts."""
        outcome = self._model.classify_texts(list(texts), self._batch_size, progress)
        return self._predictions(outcome)

    def classify_embeds(
        self, embeds: npt.ArrayLike, *, progress: Optional[Progress] = None
    ) -> Predictions:
        """Labels of embeddings `[B, F]` (or one, `[F]`) of any length."""
        array = np.atleast_2d(np.asarray(embeds, dtype="<f4"))
        if array.ndim != 2 or array.shape[1] != self.embed_dim:
            shape = list(np.shape(embeds))
            raise InputError(f"embeddings are {shape}, the decoder takes [B, {self.embed_dim}]")
        outcome = self._model.classify_embeds(array.tobytes(), self._batch_size, progress)
        return self._predictions(outcome)

    def embed_images(
        self, images: Iterable[Image], image_dir: Optional[PathLike] = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings `[B, F]` of pictures."""
        return self.classify_images(images, image_dir).embeds

    def __call__(self, images: Iterable[Image]) -> Predictions:
        return self.classify_images(images)

    def _predictions(self, outcome: dict[str, Any]) -> Predictions:
        tokens = None
        if self._tokens:
            tokens = [
                [[LabelToken(*token) for token in label or ()] for label in row]
                for row in outcome["tokens"]
            ]
        return Predictions(
            preds=outcome["preds"],
            probs=np.asarray(outcome["probs"]),
            scores=np.asarray(outcome["scores"]),
            types=np.asarray(outcome["types"]),
            embeds=np.asarray(outcome["embeds"]),
            tokens=tokens,
        )


def _is_single(images: Any) -> bool:
    """Whether what should be several pictures is one."""
    array = isinstance(images, np.ndarray) and images.ndim <= 3
    return isinstance(images, (str, bytes, bytearray, os.PathLike)) or array or _is_pil(images)


def _is_pil(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "tobytes") and hasattr(image, "size")


def _below(folder: Optional[PathLike], image: Image) -> Image:
    if folder is not None and isinstance(image, (str, os.PathLike)):
        return Path(folder) / image
    return image


def _native(image: Any) -> Any:
    """A picture as the native part takes it: a path, bytes, or width, height and RGB values."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if _is_pil(image):
        rgb = image.convert("RGB")
        return (*rgb.size, rgb.tobytes())
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None].repeat(3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        kind = f"{type(image).__name__} {list(array.shape)} {array.dtype}"
        raise InputError(
            f"{kind} is no picture: give a path, bytes of a file, a PIL image, "
            "or an array [H, W, 3] of uint8"
        )
    height, width = array.shape[:2]
    return (width, height, array[:, :, :3].tobytes())
