"""Networks of torch: TorchScript archives (SSCD and others), torchvision's architectures, checkpoints of our trainer.

A TorchScript archive is a program and runs with the rights of this process: load only files that you would run. The
others are data (`backbone`). torch is imported when a network is made.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..embedder import EmbedderSpec, unit_rows, weights_file
from ..errors import EmbedderError
from ..resample import Float32, Image
from .backbone import build_backbone
from .checkpoint import resolve
from .pooling import pool_tensor
from .preprocess import NETWORK_REMOVE_SIMILARITY, network_fingerprint, network_input


class TorchEmbedder:
    """A module that maps (n, 3, S, S) float images to vectors; on a GPU where there is one."""

    default_remove_similarity = NETWORK_REMOVE_SIMILARITY

    def __init__(self, spec: EmbedderSpec) -> None:
        path = weights_file(spec)
        import torch

        spec = resolve(spec)
        self._spec = spec
        self._torch = torch
        self._device = _device(spec, cuda=torch.cuda.is_available())
        self.name = f"{spec.model}:{path.name}"
        self.fingerprint = network_fingerprint(spec)
        # A backbone pools its own maps; what a script gives is pooled after it.
        self._pooling = spec if spec.model == "torchscript" else dataclasses.replace(spec, pooling="average")
        module = _script(path, self._device) if spec.model == "torchscript" else build_backbone(spec, path)
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
                if isinstance(output, torch.Tensor):
                    output = pool_tensor(output, self._pooling, origin=self.name).float().cpu().numpy()
        except (RuntimeError, TypeError, ValueError) as error:
            raise EmbedderError(f"{self.name}: failed on a batch {batch.shape}: {error}") from error
        if not isinstance(output, np.ndarray):
            raise EmbedderError(f"{self.name}: expected a tensor, found {type(output).__name__}")
        if len(output) != len(batch):
            raise EmbedderError(f"{self.name}: expected {len(batch)} vectors, found {len(output)}")
        return output


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
