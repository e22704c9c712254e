"""Moves the loader's batches to the device, one batch ahead, and crops them there.

In: an iterator of the loader's `Batch` (uint8 images, CSR labels, host memory). Out: `DeviceBatch` with images
(n, 3, s, s) in [-1, 1] and the targets as CSRs of torch tensors. On CUDA the copies start from pinned memory on a
side stream and overlap with the step before; on the CPU nothing is copied twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openjft.loaders import Batch
from openjft.loaders.errors import DatasetError
from openjft.loaders.labels import TargetPolicy, Targets, all_labels
from openjft.taxonomy import Csr

from .augment import Crops, center_crops, crop_windows, cut_and_normalize, random_crops

CropPolicy = Callable[[Batch], Crops]  # where to cut each image of a batch


def random_policy(size: int, *, seed: int) -> CropPolicy:
    """`random_crops` of size x size pixels, by (seed, epoch of the batch, key): for training."""

    def crops(batch: Batch) -> Crops:
        _, height, width, _ = batch.images.shape
        return random_crops(batch.keys, seed=seed, epoch=batch.epoch, height=height, width=width, size=size)

    return crops


def center_policy(size: int) -> CropPolicy:
    """`center_crops` of size x size pixels: for evaluation."""

    def crops(batch: Batch) -> Crops:
        n, height, width, _ = batch.images.shape
        return center_crops(n, height=height, width=width, size=size)

    return crops


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch on the device.

    `images` (n, 3, s, s) float32 channels-last in [-1, 1]; `label_values` (nnz,) and `label_offsets` (n + 1,) int64 of
    the labels that are judged, the others as the loss takes them. `keys` (n, 16) uint8, `slots` (n,) int64, `labels`
    (all that the source tells) and `targets` stay on the host.
    """

    images: Tensor
    label_values: Tensor
    label_offsets: Tensor
    keys: npt.NDArray[np.uint8]
    labels: Csr
    slots: npt.NDArray[np.int64]
    targets: Targets
    extras: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """All that lies on the device."""
        return [self.images, self.label_values, self.label_offsets, *self.extras.values()]


def device_batches(
    batches: Iterable[Batch],
    device: torch.device,
    *,
    crop_size: int,
    crops: CropPolicy,
    num_classes: int,
    targets: TargetPolicy = all_labels,
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
    for what, lists in (("labels", targets.labels), ("ignored classes", targets.ignored)):
        values = np.empty(0, np.int32) if lists is None else lists.values
        if len(values) and (values.min() < 0 or values.max() >= num_classes):
            raise DatasetError(
                f"{where}: expected {what} in [0, {num_classes}), found {values.min()} to {values.max()}; the shards "
                "and the vocabulary are not of one build"
            )


def target_tensors(targets: Targets) -> dict[str, Tensor]:
    """The targets as host tensors, by the loss's names of them; what is None is left out."""
    tensors = _lists("label", targets.labels)
    if targets.values is not None:
        tensors["label_targets"] = _tensor(targets.values)
    if targets.weights is not None:
        tensors["label_weights"] = _tensor(targets.weights)
    return tensors if targets.ignored is None else tensors | _lists("ignored", targets.ignored)


def _lists(name: str, lists: Csr) -> dict[str, Tensor]:
    values = torch.from_numpy(lists.values.astype(np.int64))
    return {f"{name}_values": values, f"{name}_offsets": _tensor(lists.offsets)}


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """A tensor over an array's memory; torch wants it writable, so a read-only one is copied."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _finish(batch: Batch, targets: Targets, tensors: dict[str, Tensor]) -> DeviceBatch:
    return DeviceBatch(
        images=cut_and_normalize(tensors.pop("images"), tensors.pop("windows")),
        label_values=tensors.pop("label_values"),
        label_offsets=tensors.pop("label_offsets"),
        keys=batch.keys,
        labels=Csr(batch.label_values, batch.label_offsets),
        slots=batch.slots,
        targets=targets,
        extras=tensors,
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
