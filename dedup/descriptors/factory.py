"""Makes the descriptor that a spec names. torch and onnxruntime are loaded only for the models that need them."""

from __future__ import annotations

from typing import Any

from ..embedder import Embedder, EmbedderSpec, hash_json
from ..tail import TailForm
from . import dct, pdq
from .checkpoint import resolve
from .onnx_model import OnnxEmbedder
from .preprocess import NETWORK_REMOVE_SIMILARITY, network_preprocessing
from .torch_model import TorchEmbedder


def make_embedder(spec: EmbedderSpec) -> Embedder:
    """A loaded descriptor.

    Raises:
        EmbedderError: a file is missing or does not fit the settings.
    """
    if spec.model == "dct":
        return dct.DctEmbedder()
    if spec.model == "pdq":
        return pdq.PdqEmbedder()
    return OnnxEmbedder(spec) if spec.model == "onnx" else TorchEmbedder(spec)


def preprocessing(spec: EmbedderSpec) -> dict[str, Any]:
    """What `make_embedder(spec)` would do to an image, as JSON: weights' hash, sizes, filters, pooling, versions.

    Raises:
        EmbedderError: the weights are missing, or are no checkpoint where one is named.
    """
    if spec.model == "dct":
        return dct.preprocessing()
    if spec.model == "pdq":
        return pdq.preprocessing()
    return network_preprocessing(resolve(spec))


def embedder_fingerprint(spec: EmbedderSpec) -> str:
    """The fingerprint that `make_embedder(spec)` would have, without loading the network: a hash of `preprocessing`.

    Raises:
        EmbedderError: as `preprocessing`.
    """
    return hash_json(preprocessing(spec))


def default_remove_similarity(spec: EmbedderSpec) -> float:
    """The removal threshold that `make_embedder(spec)` would have, without loading the network."""
    if spec.model == "dct":
        return dct.REMOVE_SIMILARITY
    return pdq.REMOVE_SIMILARITY if spec.model == "pdq" else NETWORK_REMOVE_SIMILARITY


def tail_form(spec: EmbedderSpec) -> TailForm:
    """How the similarities of different images fall off: see `tail`, and benchmarks/RESULTS.md for the measurement."""
    return "exponential" if spec.model in {"dct", "pdq"} else "power"
