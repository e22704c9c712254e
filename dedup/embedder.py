"""What a descriptor is: the small interface behind which all of them stand, and how one is described.

In: uint8 RGB images of any size. Out: unit vectors, so that an inner product is a cosine, or zeros for an image that
says too little, whose cosine with everything is 0. The fingerprint hashes the weights and the written-down
preprocessing (`descriptors.factory.preprocessing`): vectors of two fingerprints must not be compared.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .errors import EmbedderError
from .resample import Float32, Image

ModelKind = Literal["dct", "pdq", "onnx", "torchscript", "torchvision", "checkpoint"]
Pooling = Literal["average", "gem"]
DeviceKind = Literal["auto", "cpu", "cuda"]
CHECKPOINT_CONTENT: Final = "checkpoint.json"  # what makes a folder a checkpoint of `openjft train`


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbedderSpec:
    """Which descriptor, and how its input is prepared. Equal specs give equal vectors on one machine.

    Attributes:
        model: "dct" and "pdq" need no weights; the others read the local file `weights`.
        weights: ONNX graph, TorchScript archive, state dict, or folder of a checkpoint of `openjft train`.
        arch: torchvision's name of the architecture, for a state dict; a checkpoint tells its own, and its
            `input_size`, `mean` and `std`.
        output: ONNX output that holds the embedding; None: the first.
        pooling: of feature maps; "gem" weighs strong responses more (`pooling.gem`).
        gem_p: exponent of "gem", 1 is the average.
        input_size: side of the network's input, pixels.
        resize_size: shorter side before a centre crop of `input_size`; None: warp to `input_size`, which is right
            for images that were stored squashed.
        mean: of RGB in [0, 1], subtracted.
        std: of RGB in [0, 1], divided by.
        batch_size: images of one call of the network.
        device: "auto" takes a GPU where there is one.
        threads: of the network on a CPU; None: OMP_NUM_THREADS, else all cores of this process.
    """

    model: ModelKind = "dct"
    weights: str | None = None
    arch: str | None = None
    output: str | None = None
    pooling: Pooling = "average"
    gem_p: float = 3.0
    input_size: int = 224
    resize_size: int | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    batch_size: int = 64
    device: DeviceKind = "auto"
    threads: int | None = None


class Embedder(Protocol):
    """A descriptor, loaded and ready."""

    @property
    def name(self) -> str:
        """What a report calls it: "dct", or the kind and the file's name."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights and the preprocessing, hex; that of `embedder_fingerprint(spec)`."""

    @property
    def default_remove_similarity(self) -> float:
        """Cosine at which an image is removed when the configuration names none."""

    def embed(self, images: Sequence[Image]) -> Float32:
        """(n, dim) float32 of n uint8 (h, w, 3) images: unit vectors, or zeros for an image that says too little.

        Never NaN. Zeros are stored and searched like the rest, and match nothing.
        """


def unit_rows(vectors: npt.NDArray[np.floating[Any]], *, origin: str) -> Float32:
    """(n, dim) float32: each row divided by its length; a row of zeros stays one, and matches nothing.

    Raises:
        EmbedderError: a value is NaN or infinite.
    """
    rows: Float32 = np.asarray(vectors, np.float32)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise EmbedderError(
            f"{origin}: expected finite vectors, found NaN or infinity in {int(bad.sum())} of {len(rows)} (the first: "
            f"image {int(np.argmax(bad))} of the batch). Check the weights, mean and std; float16 models may overflow"
        )
    # Scaled by the largest value first, so that squares neither overflow nor vanish.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = np.asarray(rows / np.where(largest == 0, 1, largest), np.float32)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), np.float32)


def hash_json(value: Mapping[str, Any]) -> str:
    """sha256 of JSON with sorted keys, hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def weights_file(spec: EmbedderSpec) -> Path:
    """The local file of the weights; of a checkpoint's folder the list of its files.

    Raises:
        EmbedderError: none is named, or there is no such file.
    """
    if spec.weights is None:
        raise EmbedderError(f"embed.weights: model {spec.model!r} reads its weights from a local file; name it")
    path = Path(spec.weights)
    if spec.model == "checkpoint" and path.is_dir():
        path /= CHECKPOINT_CONTENT
    if not path.is_file():
        raise EmbedderError(f"embed.weights: expected a local file for model {spec.model!r}, found none at {path}")
    return path


def file_sha256(path: Path) -> str:
    """sha256 of a file, hex; read once in a process while size and time of the file stay the same."""
    return _sha256(path, *file_mark(path))


def file_mark(path: Path) -> tuple[int, int]:
    """(bytes, time of the last change in ns) of a file: what tells a file from its successor."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
