"""Any network in ONNX, run by onnxruntime from a local file: float images N x 3 x S x S in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..embedder import EmbedderSpec, unit_rows, weights_file
from ..errors import EmbedderError
from ..resample import Float32, Image
from .pooling import pool
from .preprocess import NETWORK_REMOVE_SIMILARITY, network_fingerprint, network_input

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def default_threads() -> int:
    """OMP_NUM_THREADS when it is set, else the cores that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) > 0 else len(os.sched_getaffinity(0))


class OnnxEmbedder:
    """An ONNX graph with one image input; CUDA where onnxruntime has it, else the CPU."""

    default_remove_similarity = NETWORK_REMOVE_SIMILARITY

    def __init__(self, spec: EmbedderSpec) -> None:
        self._spec = spec
        path = weights_file(spec)
        self.name = f"onnx:{path.name}"
        self.fingerprint = network_fingerprint(spec)
        self._session = _session(spec, str(path))
        self._input, self._batch = _check_input(self._session, spec, self.name)
        self._dtype = _TYPES[self._input.type]
        self._output = _output_name(self._session, spec, self.name)
        self.dim = int(self._run(np.zeros((1, 3, spec.input_size, spec.input_size), np.float32)).shape[1])

    def embed(self, images: Sequence[Image]) -> Float32:
        """(n, dim) float32 unit vectors, in batches of the graph's own size or of `batch_size`."""
        step = self._batch or self._spec.batch_size
        out = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), step):
            part = images[start : start + step]
            out[start : start + step] = unit_rows(self._run(network_input(part, self._spec)), origin=self.name)
        return out

    def _run(self, batch: Float32) -> npt.NDArray[Any]:
        n = len(batch)
        if self._batch and n < self._batch:  # the graph takes full batches only
            batch = np.concatenate([batch, np.zeros((self._batch - n, *batch.shape[1:]), np.float32)])
        try:
            (output,) = self._session.run([self._output], {self._input.name: batch.astype(self._dtype, copy=False)})
        except Exception as error:  # onnxruntime has no public base class for its errors
            raise EmbedderError(f"{self.name}: onnxruntime failed on a batch {batch.shape}: {error}") from error
        vectors = pool(np.asarray(output), self._spec, origin=f"{self.name}, output {self._output!r}")
        if len(vectors) != len(batch):
            raise EmbedderError(
                f"{self.name}, output {self._output!r}: expected {len(batch)} vectors for {len(batch)} images, "
                f"found {len(vectors)}"
            )
        return vectors[:n]


def _session(spec: EmbedderSpec, path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec.threads or default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads take the cores from the other workers of this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = onnxruntime.get_available_providers()
    if spec.device == "cuda" and "CUDAExecutionProvider" not in there:
        raise EmbedderError(
            f"embed.device: expected onnxruntime with CUDA, found only {', '.join(there)}. Install onnxruntime-gpu in "
            'place of onnxruntime, or say device = "auto"'
        )
    gpu = spec.device != "cpu" and "CUDAExecutionProvider" in there
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise EmbedderError(f"embed.weights: {path}: expected an ONNX graph, found: {error}") from error


def _check_input(session: Any, spec: EmbedderSpec, name: str) -> tuple[Any, int | None]:
    """The image input, and the batch size when the graph fixes one."""
    inputs = session.get_inputs()
    size = spec.input_size
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
        found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise EmbedderError(f"{name}: expected one float image input N x 3 x {size} x {size}, found {found}")
    batch, *rest = inputs[0].shape
    for got, want in zip(rest, (3, size, size), strict=True):
        if isinstance(got, int) and got > 0 and got != want:
            raise EmbedderError(
                f"{name}: expected an input N x 3 x {size} x {size}, found {inputs[0].shape}; set embed.input_size to "
                "the graph's size (channels come first: NCHW)"
            )
    return inputs[0], batch if isinstance(batch, int) and batch > 0 else None


def _output_name(session: Any, spec: EmbedderSpec, name: str) -> str:
    names = [output.name for output in session.get_outputs()]
    if spec.output is None:
        return str(names[0])
    if spec.output not in names:
        raise EmbedderError(f"embed.output: {name} has no output {spec.output!r}; it has {', '.join(names)}")
    return spec.output
