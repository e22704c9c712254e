"""Moves the loader's batches to the device, one batch ahead, and crops them there.

In: an iterator of the loader's `Batch` (uint8 images, CSR labels, host memory). Out: `DeviceBatch` with images
(n, 3, s, s) in [-1, 1] and the targets as CSRs of torch tensors. On CUDA the copies start from pinned memory on a
side stream and overlap with the step before; on the CPU nothing is copied twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.loaders import Batch
from openjft.loaders.errors import DatasetError
from openjft.taxonomy import Csr

from .augment import Crops, crop_windows, cut_and_normalize

CropPolicy = Callable[[Batch], Crops]  # where to cut each image of a batch


class Targets(Protocol):
    """What the images of a batch shall be taught, in host memory.

    `values` (nnz,) and `offsets` (n + 1,): the positives; `weights` (nnz,) float32 of them or None; `ignored_values`
    and `ignored_offsets` (n + 1,): classes that count neither as positives nor as negatives, or None.
    """

    @property
    def values(self) -> npt.NDArray[np.int32]: ...  # noqa: D102
    @property
    def offsets(self) -> npt.NDArray[np.int64]: ...  # noqa: D102
    @property
    def weights(self) -> npt.NDArray[np.float32] | None: ...  # noqa: D102
    @property
    def ignored_values(self) -> npt.NDArray[np.int32] | None: ...  # noqa: D102
    @property
    def ignored_offsets(self) -> npt.NDArray[np.int64] | None: ...  # noqa: D102


class PlainTargets(NamedTuple):
    """Targets as plain arrays."""

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None
    ignored_values: npt.NDArray[np.int32] | None = None
    ignored_offsets: npt.NDArray[np.int64] | None = None


TargetPolicy = Callable[[Batch], Targets]  # what a batch shall be taught


def plain_targets(batch: Batch) -> Targets:
    """Every label a positive, every other class a negative."""
    return PlainTargets(batch.label_values, batch.label_offsets)


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch on the device.

    `images` (n, 3, s, s) float32 channels-last in [-1, 1]; `label_values` (nnz,) and `label_offsets` (n + 1,) int64,
    the others as in `Targets`. `keys` (n, 16) uint8, `slots` (n,) int64, `labels` and `targets` stay on the host.
    """

    images: Tensor
    label_values: Tensor
    label_offsets: Tensor
    keys: npt.NDArray[np.uint8]
    labels: Csr
    slots: npt.NDArray[np.int64]
    targets: Targets
    label_weights: Tensor | None = None
    ignored_values: Tensor | None = None
    ignored_offsets: Tensor | None = None

    @property
    def extras(self) -> dict[str, Tensor]:
        """The keyword arguments of the loss that this batch has."""
        return given(label_weights=self.label_weights, ignored_values=self.ignored_values,
                     ignored_offsets=self.ignored_offsets)  # fmt: skip

    def tensors(self) -> list[Tensor]:
        """All that lies on the device."""
        return [self.images, self.label_values, self.label_offsets, *self.extras.values()]


def given(**tensors: Tensor | None) -> dict[str, Tensor]:
    """Those that are there."""
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def device_batches(
    batches: Iterable[Batch],
    device: torch.device,
    *,
    crop_size: int,
    crops: CropPolicy,
    num_classes: int,
    targets: TargetPolicy = plain_targets,
) -> Generator[DeviceBatch, None, None]:
    """Yields the batches on the device, in order.

    Raises:
        LoaderError: the images are smaller than the crop.
        DatasetError: a label id is outside [0, num_classes).
    """
    upload = _CudaUpload(device) if device.type == "cuda" else None
    ahead: tuple[DeviceBatch, torch.cuda.Event] | None = None
    for batch in batches:
        wanted = targets(batch)
        check_targets(wanted, num_classes, f"step {batch.step} of epoch {batch.epoch}")
        host = {"images": _tensor(batch.images), "windows": torch.from_numpy(crop_windows(crops(batch), crop_size))}
        host |= target_tensors(wanted)
        if upload is None:
            yield _finish(batch, wanted, host)
            continue
        following = upload(batch, wanted, host)
        if ahead is not None:
            yield upload.hand_over(*ahead)
        ahead = following
    if upload is not None and ahead is not None:
        yield upload.hand_over(*ahead)


def check_targets(targets: Targets, num_classes: int, where: str) -> None:
    """Raises `DatasetError` for a class outside [0, num_classes).

    An index out of range inside a CUDA kernel ends the process without a place.
    """
    for what, values in (("labels", targets.values), ("ignored classes", targets.ignored_values)):
        if values is not None and len(values) and (values.min() < 0 or values.max() >= num_classes):
            raise DatasetError(
                f"{where}: expected {what} in [0, {num_classes}), found {values.min()} to {values.max()}; the shards "
                "and the vocabulary are not of one build"
            )


def target_tensors(targets: Targets) -> dict[str, Tensor]:
    """The targets as host tensors, by the loss's names of them."""
    tensors = {
        "label_values": torch.from_numpy(targets.values.astype(np.int64)),
        "label_offsets": _tensor(targets.offsets),
    }
    if targets.weights is not None:
        tensors["label_weights"] = _tensor(targets.weights)
    if targets.ignored_values is not None and targets.ignored_offsets is not None:
        tensors["ignored_values"] = torch.from_numpy(targets.ignored_values.astype(np.int64))
        tensors["ignored_offsets"] = _tensor(targets.ignored_offsets)
    return tensors


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """A tensor over an array's memory; torch wants it writable, so a read-only one is copied."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _finish(batch: Batch, targets: Targets, tensors: dict[str, Tensor]) -> DeviceBatch:
    return DeviceBatch(
        images=cut_and_normalize(tensors.pop("images"), tensors.pop("windows")),
        keys=batch.keys,
        labels=Csr(batch.label_values, batch.label_offsets),
        slots=batch.slots,
        targets=targets,
        **tensors,
    )


class _CudaUpload:
    """Copies on a side stream; the step's stream waits for the copy of its own batch and for nothing else."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, batch: Batch, targets: Targets, host: dict[str, Tensor]) -> tuple[DeviceBatch, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):
            # torch's pinned allocator holds a buffer back until the copies out of it are done.
            moved = {name: t.pin_memory().to(self._device, non_blocking=True) for name, t in host.items()}
            done = _finish(batch, targets, moved)
        return done, self._stream.record_event()

    def hand_over(self, batch: DeviceBatch, event: torch.cuda.Event) -> DeviceBatch:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in batch.tensors():
            tensor.record_stream(current)  # their memory is the side stream's; it must not be reused before the step
        return batch
