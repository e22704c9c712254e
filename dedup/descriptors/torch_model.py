"""Networks of torch: TorchScript archives, and state dicts of torchvision's architectures.

A TorchScript archive is a program and runs with the rights of this process: load only files that you would run.
A state dict is data and is read as such (`weights_only=True`). torch is imported when a network is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embedder import EmbedderSpec, unit_rows, weights_file
from ..errors import EmbedderError
from ..resample import Float32, Image
from .onnx_model import pool
from .preprocess import NETWORK_REMOVE_SIMILARITY, network_fingerprint, network_input

if TYPE_CHECKING:
    import torch

_HEADS = ("fc", "classifier", "head", "heads")  # torchvision's names of the classifier
_WRAPPERS = ("state_dict", "model", "model_state_dict")  # where trainers keep the weights of a checkpoint


class TorchEmbedder:
    """A module that maps (n, 3, S, S) float images to vectors; on a GPU where there is one."""

    default_remove_similarity = NETWORK_REMOVE_SIMILARITY

    def __init__(self, spec: EmbedderSpec) -> None:
        path = weights_file(spec)
        import torch

        self._spec = spec
        self._torch = torch
        self._device = _device(spec, cuda=torch.cuda.is_available())
        self.name = f"{spec.model}:{path.name}"
        self.fingerprint = network_fingerprint(spec)
        module = _script(path, self._device) if spec.model == "torchscript" else _state_dict(spec, path)
        self._module = module.to(self._device).eval()
        self.dim = int(self._run(np.zeros((1, 3, spec.input_size, spec.input_size), np.float32)).shape[1])

    def embed(self, images: Sequence[Image]) -> Float32:
        """(n, dim) float32 unit vectors, `batch_size` images at a time."""
        step = self._spec.batch_size
        out = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), step):
            batch = network_input(images[start : start + step], self._spec)
            out[start : start + step] = unit_rows(self._run(batch), origin=self.name)
        return out

    def _run(self, batch: Float32) -> Float32:
        torch = self._torch
        try:
            with torch.inference_mode():
                output = self._module(torch.from_numpy(batch).to(self._device))
        except (RuntimeError, TypeError, ValueError) as error:
            raise EmbedderError(f"{self.name}: failed on a batch {batch.shape}: {error}") from error
        if not isinstance(output, torch.Tensor):
            raise EmbedderError(f"{self.name}: expected a tensor, found {type(output).__name__}")
        vectors = pool(output.float().cpu().numpy(), origin=self.name)
        if len(vectors) != len(batch):
            raise EmbedderError(f"{self.name}: expected {len(batch)} vectors, found {len(vectors)}")
        return np.asarray(vectors, np.float32)


def _device(spec: EmbedderSpec, *, cuda: bool) -> str:
    if spec.device == "cuda" and not cuda:
        raise EmbedderError('embed.device: expected a CUDA device, found none; say device = "auto" or "cpu"')
    return "cuda" if cuda and spec.device != "cpu" else "cpu"


def _script(path: Path, device: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # meant for who writes archives, not for who reads them
            load: Any = torch.jit.load
            return load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise EmbedderError(f"embed.weights: {path}: expected a TorchScript archive, found: {error}") from error


def _state_dict(spec: EmbedderSpec, path: Path) -> Any:
    """The architecture with these weights and its classifier replaced by nothing, which leaves pooled features."""
    import torch
    from torchvision.models import get_model, list_models

    if spec.arch not in list_models():
        raise EmbedderError(f"embed.arch: expected a name of torchvision such as 'resnet50', found {spec.arch!r}")
    module = get_model(spec.arch, weights=None)
    head = next((name for name in _HEADS if hasattr(module, name)), None)
    if head is None:
        raise EmbedderError(f"embed.arch: {spec.arch!r} has no classifier among {', '.join(_HEADS)} to take off")
    setattr(module, head, torch.nn.Identity())
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise EmbedderError(f"embed.weights: {path}: expected a state dict of tensors, found: {error}") from error
    weights = _unwrap(loaded, path)
    kept = {name: value for name, value in weights.items() if not name.startswith(f"{head}.")}
    try:
        module.load_state_dict(kept, strict=True)
    except RuntimeError as error:
        raise EmbedderError(f"embed.weights: {path}: does not fit {spec.arch!r}: {error}") from error
    return module


def _unwrap(loaded: Any, path: Path) -> dict[str, torch.Tensor]:
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping):
        raise EmbedderError(f"embed.weights: {path}: expected a state dict, found {type(loaded).__name__}")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}
