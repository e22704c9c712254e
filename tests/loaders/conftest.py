from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from openjft.loaders import Dataset
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.evaluation.options import EvaluateOptions
from openjft.loaders.schema import shard_name
from openjft.loaders.training.options import TrainOptions
from openjft.loaders.writer import DatasetFacts, NewSample, class_counts, finish_dataset, write_shard
from openjft.taxonomy import EDGES, VOCABULARY

COLORS = {1: (220, 40, 40), 2: (40, 220, 40), 3: (40, 40, 220)}
NUM_IMAGES, SIDE = 96, 36


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums of floats depend on how many threads share them."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


def draw_dataset(folder: Path, *, seed: int = 0, num_images: int = NUM_IMAGES, ids=("c0", "c1", "c2", "c3")) -> Path:
    """Noisy squares of three colours: label 0 is the parent of all, 1 red, 2 green, 3 blue; two shards."""
    rng = np.random.default_rng(seed)

    def write(path: str, data: bytes) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    samples = []
    for key in sorted(hashlib.blake2b(f"{seed}/{i}".encode(), digest_size=16).digest() for i in range(num_images)):
        label = int(rng.integers(1, 4))
        pixels = np.clip(rng.normal(COLORS[label], 30, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        samples.append(
            NewSample(
                key=key,
                jpeg=encode_jpeg(pixels, quality=90),
                width=SIDE,
                height=SIDE,
                labels=[0, label],
                probabilities=[0.9, 0.9],
                asserted=[False, True],
                from_labels=[label, label],
                uri=f"http://example.org/{key.hex()}.jpg",
                source_sha256=bytes(32),
                original_width=SIDE,
                original_height=SIDE,
            )
        )
    half = num_images // 2
    written = [
        write_shard(shard_name("toy", i), part, ids, write) for i, part in enumerate((samples[:half], samples[half:]))
    ]
    counts = [class_counts(table, len(ids)) for _, table in written]
    names = ["colour", "red", "green", "blue"]
    vocabulary = pa.table([range(4), ids, names, [[]] * 4, [None] * 4, [[]] * 4], schema=VOCABULARY)
    facts = DatasetFacts(
        name="toy",
        image_mode="squash",
        image_size=SIDE,
        vocabulary=vocabulary,
        edges=EDGES.empty_table(),
        counts=(sum(a for a, _ in counts), sum(e for _, e in counts)),
    )
    finish_dataset([summary for summary, _ in written], facts, write)
    return folder


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def other_dataset(tmp_path) -> Path:
    """The same vocabulary, other images."""
    return draw_dataset(tmp_path / "other", seed=1, num_images=24)


@pytest.fixture
def renamed_dataset(tmp_path) -> Path:
    """Another vocabulary."""
    return draw_dataset(tmp_path / "renamed", num_images=24, ids=("a", "b", "c", "d"))


class TinyNet(nn.Module):
    """Stands for a ResNet where its 11M weights would only cost time: convolution, batch norm, head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=4, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.fc(torch.relu(self.bn1(self.conv1(images))).mean((2, 3)))


@pytest.fixture
def tiny_network(monkeypatch):
    """Every architecture is a `TinyNet`."""

    def build(_arch, num_classes, *, seed, class_log_odds=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyNet(num_classes)

    for module in ("training.run", "evaluation.evaluate"):
        # The packages' attributes of these names are the functions.
        monkeypatch.setattr(importlib.import_module(f"openjft.loaders.{module}"), "build_model", build)


@pytest.fixture
def train_options(dataset_folder, tmp_path):
    """Makes options of a tiny run; keywords replace its settings."""

    def make(**changes) -> TrainOptions:
        tiny = {
            "data": dataset_folder,
            "output": tmp_path / "run",
            "arch": "resnet18",
            "steps": 6,
            "batch_size": 8,
            "crop_size": 32,
            "device": "cpu",
            "num_threads": 1,
            "log_every": 2,
        }
        return TrainOptions(**(tiny | changes))

    return make


@pytest.fixture
def evaluate_options(dataset_folder, tmp_path):
    """Makes options that score `train_options`' run on all images; keywords replace its settings."""

    def make(**changes) -> EvaluateOptions:
        tiny = {
            "data": dataset_folder,
            "checkpoint": tmp_path / "run",
            "split": "all",
            "batch_size": 16,
            "device": "cpu",
            "num_threads": 1,
        }
        return EvaluateOptions(**(tiny | changes))

    return make


@pytest.fixture
def unsealed(monkeypatch):
    """Files are not compared with the manifest's hashes: for damage that a manifest made with it would not show."""
    monkeypatch.setattr(Dataset, "_sha256", {})
