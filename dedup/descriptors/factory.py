"""Makes the descriptor that a spec names. torch and onnxruntime are loaded only for the models that need them."""

from __future__ import annotations

from ..embedder import Embedder, EmbedderSpec
from . import dct
from .onnx_model import OnnxEmbedder
from .preprocess import NETWORK_REMOVE_SIMILARITY, network_fingerprint
from .torch_model import TorchEmbedder


def make_embedder(spec: EmbedderSpec) -> Embedder:
    """A loaded descriptor.

    Raises:
        EmbedderError: a file is missing or does not fit the settings.
    """
    if spec.model == "dct":
        return dct.DctEmbedder()
    if spec.model == "onnx":
        return OnnxEmbedder(spec)
    return TorchEmbedder(spec)


def embedder_fingerprint(spec: EmbedderSpec) -> str:
    """The fingerprint that `make_embedder(spec)` would have, without loading the network.

    Raises:
        EmbedderError: the weights are missing.
    """
    return dct.fingerprint() if spec.model == "dct" else network_fingerprint(spec)


def default_remove_similarity(spec: EmbedderSpec) -> float:
    """The removal threshold that `make_embedder(spec)` would have, without loading the network."""
    return dct.REMOVE_SIMILARITY if spec.model == "dct" else NETWORK_REMOVE_SIMILARITY
