"""The sets that `train_real.py` trains on: pictures, what people said of them, and what is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench_cifar10n import ANNOTATORS, read_pictures, read_rows
from PIL import Image

from openjft.loaders.decoding import resize_image

Pixels = npt.NDArray[np.uint8]


class Pictures(NamedTuple):
    """A set: names, pixels (n, s, s, 3), true class of each; `side` of the crop."""

    names: list[str]
    pixels: list[Pixels]
    clean: npt.NDArray[np.int64]
    side: int


class Job(NamedTuple):
    """What is trained on, what people said of it, what is tested on."""

    train: Pictures
    rows: list[dict[str, str]]
    test: Pictures
    classes: int
    steps: int


def held_out(job: Job) -> Job:
    """Every fifth training picture, with its true label, in place of the test set: to choose settings by."""
    tested = np.arange(len(job.rows)) % 5 == 2

    def part(chosen: npt.NDArray[np.bool_]) -> Pictures:
        at = np.flatnonzero(chosen).tolist()
        pictures = job.train
        return Pictures(
            [pictures.names[i] for i in at], [pictures.pixels[i] for i in at], pictures.clean[chosen], pictures.side
        )

    rows = [row for row, out in zip(job.rows, tested.tolist(), strict=True) if not out]
    return job._replace(train=part(~tested), rows=rows, test=part(tested))


def cifar(data: Path, steps: int) -> Job:
    """Pictures of 32 pixels with two mirrored ones around, so that a crop of 32 may move."""
    rows = read_rows(data / "label_noise/cifar10n/train_labels.csv")
    test_rows = read_rows(data / "label_noise/cifar10h/test_human_counts.csv")
    pixels = read_pictures(data / "photos/cifar10", "train")
    test_pixels = read_pictures(data / "photos/cifar10", "test")

    def padded(image: Pixels) -> Pixels:
        return np.ascontiguousarray(np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect"))

    return Job(
        Pictures(
            [row["file"] for row in rows],
            [padded(pixels[row["file"]]) for row in rows],
            np.array([int(row["clean"]) for row in rows]),
            32,
        ),
        rows,
        Pictures(
            [row["file"] for row in test_rows],
            [padded(test_pixels[row["file"]]) for row in test_rows],
            np.array([int(row["given"]) for row in test_rows]),
            32,
        ),
        10,
        steps,
    )


def caltech(data: Path, steps: int, noise: float) -> Job:
    """Every fifth photo is held out; three drawn annotators label the others."""
    listed = read_rows(data / "photos/caltech101_labels.csv")
    classes = sorted({row["class"] for row in listed})
    label = np.array([classes.index(row["class"]) for row in listed])
    images = []
    for row in listed:
        with Image.open(data / "photos/caltech101" / row["file"]) as image:
            images.append(resize_image(np.asarray(image.convert("RGB")), size=72, mode="squash"))
    held = np.arange(len(listed)) % 5 == 0

    def part(chosen: npt.NDArray[np.bool_]) -> Pictures:
        at = np.flatnonzero(chosen).tolist()
        return Pictures([listed[i]["file"] for i in at], [images[i] for i in at], label[chosen], 64)

    draw, trained = np.random.default_rng(17), part(~held)
    rows = []
    for name, clean in zip(trained.names, trained.clean.tolist(), strict=True):
        row = {"file": name, "clean": str(clean)}
        for annotator in ANNOTATORS:
            other = (clean + int(draw.integers(1, len(classes)))) % len(classes)
            row[annotator] = str(other if draw.random() < noise else clean)
        rows.append(row)
    return Job(trained, rows, part(held), len(classes), steps)
