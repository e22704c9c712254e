"""Moves the loader's batches to the device, one batch ahead, and crops them there.

In: an iterator of the loader's `Batch` (uint8 images, CSR labels, host memory). Out: `DeviceBatch` with images
(n, 3, s, s) in [-1, 1] and the labels as a CSR of torch tensors. On CUDA the copies start from pinned memory on a
side stream and overlap with the step before; on the CPU nothing is copied twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.loaders import Batch
from openjft.loaders.errors import DatasetError
from openjft.taxonomy import Csr

from .augment import Crops, crop_windows, cut_and_normalize

CropPolicy = Callable[[Batch], Crops]  # where to cut each image of a batch


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch on the device.

    `images` (n, 3, s, s) float32 channels-last in [-1, 1]; `label_values` (nnz,) and `label_offsets` (n + 1,) int64.
    `keys` (n, 16) uint8 and `labels` stay on the host.
    """

    images: Tensor
    label_values: Tensor
    label_offsets: Tensor
    keys: npt.NDArray[np.uint8]
    labels: Csr


def device_batches(
    batches: Iterable[Batch], device: torch.device, *, crop_size: int, crops: CropPolicy, num_classes: int
) -> Generator[DeviceBatch, None, None]:
    """Yields the batches on the device, in order.

    Raises:
        LoaderError: the images are smaller than the crop.
        DatasetError: a label id is outside [0, num_classes).
    """
    upload = _CudaUpload(device) if device.type == "cuda" else None
    ahead: tuple[DeviceBatch, torch.cuda.Event] | None = None
    for batch in batches:
        host = _host_tensors(batch, crop_size, crops, num_classes)
        if upload is None:
            yield _finish(batch, host)
            continue
        following = upload(batch, host)
        if ahead is not None:
            yield upload.hand_over(*ahead)
        ahead = following
    if upload is not None and ahead is not None:
        yield upload.hand_over(*ahead)


def _host_tensors(
    batch: Batch, crop_size: int, crops: CropPolicy, num_classes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, crop windows, label values and label offsets as host tensors."""
    values = batch.label_values
    if len(values) and (values.min() < 0 or values.max() >= num_classes):
        # Checked here: an index out of range inside a CUDA kernel ends the process without a place.
        raise DatasetError(
            f"step {batch.step} of epoch {batch.epoch}: expected labels in [0, {num_classes}), found {values.min()} to "
            f"{values.max()}; the shards and the vocabulary are not of one build"
        )
    windows = crop_windows(crops(batch), crop_size)
    return (
        _tensor(batch.images),
        torch.from_numpy(windows),
        torch.from_numpy(values.astype(np.int64)),
        _tensor(batch.label_offsets),
    )


def _tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """A tensor over an array's memory; torch wants it writable, so a read-only one is copied."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _finish(batch: Batch, tensors: tuple[Tensor, Tensor, Tensor, Tensor]) -> DeviceBatch:
    images, windows, values, offsets = tensors
    labels = Csr(batch.label_values, batch.label_offsets)
    return DeviceBatch(cut_and_normalize(images, windows), values, offsets, batch.keys, labels)


class _CudaUpload:
    """Copies on a side stream; the step's stream waits for the copy of its own batch and for nothing else."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(
        self, batch: Batch, host: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> tuple[DeviceBatch, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):
            # torch's pinned allocator holds a buffer back until the copies out of it are done.
            images, windows, values, offsets = (t.pin_memory().to(self._device, non_blocking=True) for t in host)
            done = _finish(batch, (images, windows, values, offsets))
        return done, self._stream.record_event()

    def hand_over(self, batch: DeviceBatch, event: torch.cuda.Event) -> DeviceBatch:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in (batch.images, batch.label_values, batch.label_offsets):
            tensor.record_stream(current)  # their memory is the side stream's; it must not be reused before the step
        return batch
