"""Fixtures and settings for every folder: a small finished dataset, written by the real writer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.writer import DatasetFacts, NewSample, class_counts, finish_dataset, write_shard
from openjft.taxonomy import Category, Edge, build_taxonomy

# A shared machine may stall for a moment: no test asserts time.
hypothesis.settings.register_profile("openjft", deadline=None)
hypothesis.settings.load_profile("openjft")

MakeDataset = Callable[..., Path]


def folder_writer(folder: Path) -> Callable[[str, bytes], None]:
    def write(path: str, data: bytes) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    return write


def tiny_taxonomy(classes: int):
    """Leaves c000, c001, ... are labels 0, 1, ...; label `classes` is their parent, "root"."""
    leaves = [f"c{i:03d}" for i in range(classes)]
    names = [Category(leaf, f"class {leaf}") for leaf in leaves] + [Category("root", "everything")]
    return build_taxonomy(names, [Edge(leaf, "root") for leaf in leaves], origin="tiny")


def draw_picture(rng: np.random.Generator, label: int, classes: int, height: int, width: int) -> np.ndarray:
    """A flat colour that tells the class, with some noise: learnable in a few steps."""
    angle = 2 * np.pi * label / classes
    colour = 128 + 100 * np.array([np.sin(angle), np.cos(angle), np.sin(2 * angle)])
    blocks = rng.normal(0, 20, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.clip(colour + blocks, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """make_dataset(folder, n=24, classes=3, size=32, seed=0, shards=2, mixed=False) -> folder.

    Sample i in key order has the asserted label of one leaf and, inferred, the root above it; every third key has the
    next leaf as verified negative. `mixed`: the images' widths vary.
    """

    def make(
        folder: Path,
        n: int = 24,
        classes: int = 3,
        size: int = 32,
        seed: int = 0,
        *,
        shards: int = 2,
        mixed: bool = False,
    ) -> Path:
        rng = np.random.default_rng(seed)
        taxonomy = tiny_taxonomy(classes)
        vocabulary, edges = taxonomy.to_tables()
        keys = sorted(hashlib.blake2b(f"{seed}/{i}".encode(), digest_size=16).digest() for i in range(n))
        write = folder_writer(folder)
        summaries, asserted, expanded = [], np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)
        for shard in range(shards):
            samples = []
            for key in keys:
                if int.from_bytes(key[:4], "big") * shards >> 32 != shard:
                    continue
                label = int(rng.integers(classes))
                width = size + (int(rng.integers(1, 20)) if mixed else 0)
                samples.append(
                    NewSample(
                        key=key,
                        jpeg=encode_jpeg(draw_picture(rng, label, classes, size, width), quality=90),
                        width=width,
                        height=size,
                        labels=[label, classes],
                        probabilities=[float(rng.uniform(0.5, 1)), 0.987654321],
                        asserted=[True, False],
                        from_labels=[label, label],
                        uri=f"http://example.org/{key.hex()}.jpg",
                        source_sha256=hashlib.sha256(key).digest(),
                        original_width=2 * width,
                        original_height=2 * size,
                        negatives=[(label + 1) % classes] if key[0] % 3 == 0 and classes > 1 else [],
                    )
                )
            summary, table = write_shard(f"tiny-{shard:06d}", samples, taxonomy.ids, write)
            summaries.append(summary)
            counts = class_counts(table, classes + 1)
            asserted, expanded = asserted + counts[0], expanded + counts[1]
        facts = DatasetFacts(
            name="tiny",
            image_mode="shorter_side" if mixed else "squash",
            image_size=size,
            vocabulary=vocabulary,
            edges=edges,
            counts=(asserted, expanded),
        )
        finish_dataset(summaries, facts, write)
        return folder

    return make
