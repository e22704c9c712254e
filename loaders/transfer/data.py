"""The images of a transfer: class folders train/ and val/, lists of them, and their batches on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from openjft.loaders import Batch, Loader
from openjft.loaders.errors import LoaderError
from openjft.loaders.folders import IdList, Ids, ImageFolder, read_id_list
from openjft.loaders.training.device import DeviceBatch, device_batches, random_policy
from openjft.loaders.training.scores import network_scores

from .options import TransferOptions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TransferData:
    """What is trained on and scored on.

    Attributes:
        train: its classes are the task's.
        val: with the same classes.
        val_rows: (n,) int64 numbers of val's images in the whole folder.
        lists: of clean images, by number in the whole folder.
        whole: images of the whole val folder.
    """

    train: ImageFolder
    val: ImageFolder
    val_rows: npt.NDArray[np.int64]
    lists: tuple[IdList, ...]
    whole: int

    @classmethod
    def open(cls, options: TransferOptions) -> TransferData:
        """Lists the folders.

        Raises:
            DatasetError: they are no class folders, or val has a class that train has not.
            LoaderError: a list names what is not there, or there are too few images for a batch, or too few classes.
        """
        train = ImageFolder.open(options.data / options.train)
        val = ImageFolder.open(options.data / options.val, train.category_ids)
        ids = Ids(val)
        rows = np.arange(val.num_samples)
        if options.train_list is not None:
            train = train.only(_listed(options.train_list, Ids(train), options, train.root).rows)
        if options.val_list is not None:
            rows = _listed(options.val_list, ids, options, val.root).rows
        if train.num_categories < 2:
            raise LoaderError(f"{train.root}: expected at least two classes, found {train.num_categories}")
        return cls(
            train=train,
            val=val.only(rows),
            val_rows=rows,
            lists=tuple(_listed(path, ids, options, val.root) for path in options.clean or ()),
            whole=val.num_samples,
        )


def _listed(path: Path, ids: Ids, options: TransferOptions, where: str) -> IdList:
    return read_id_list(path, ids, allow_unknown=options.allow_unknown_ids, where=where)


def train_loader(folder: ImageFolder, options: TransferOptions) -> Loader:
    """Shuffled batches, all of one size.

    Raises:
        LoaderError: there are fewer images than a batch.
    """
    loader = _loader(folder, options, shuffle=True, drop_last=True)
    if loader.steps_per_epoch < 1:
        raise LoaderError(
            f"{folder.root}: expected at least one batch of {options.batch_size} images, found {folder.num_samples:,}; "
            "lower batch_size"
        )
    return loader


def scored(
    model: nn.Module, folder: ImageFolder, options: TransferOptions, device: torch.device
) -> Generator[tuple[DeviceBatch, Tensor], None, None]:
    """Every image once, in the order of the folder, with the network's outputs."""
    return network_scores(
        model,
        _loader(folder, options, shuffle=False, drop_last=False),
        device,
        crop_size=options.crop_size,
        num_classes=folder.num_categories,
        precision=options.precision,
    )


def _loader(folder: ImageFolder, options: TransferOptions, *, shuffle: bool, drop_last: bool) -> Loader:
    return Loader(
        folder,
        batch_size=options.batch_size,
        seed=options.seed,
        image_size=options.image_size,
        num_threads=options.num_threads,
        shuffle=shuffle,
        drop_last=drop_last,
    )


def to_device(
    batches: Iterable[Batch], options: TransferOptions, device: torch.device, num_classes: int
) -> Generator[DeviceBatch, None, None]:
    """Crops to train on in [-1, 1] on the device, drawn and mirrored by (seed, epoch, key)."""
    size = options.crop_size
    crops = random_policy(size, seed=options.seed)
    return device_batches(batches, device, crop_size=size, crops=crops, num_classes=num_classes)
