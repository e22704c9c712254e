from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openjft.loaders.training.checkpoint.tensor_file import write_tensors
from openjft.loaders.training.models import build_model
from openjft.loaders.transfer import TransferOptions, start

COLOURS = {"red": (220, 40, 40), "green": (40, 220, 40), "blue": (40, 40, 220)}


def draw_photos(root: Path, *, train=8, val=4, noise=40, classes=tuple(COLOURS)) -> Path:
    """Class folders of noisy colours, of several sizes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name in classes:
            for i in range(count):
                path = root / split / name / f"{split}_{name}_{i}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.normal(COLOURS[name], noise, (40 + i, 48, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture
def photos(tmp_path) -> Path:
    return draw_photos(tmp_path / "photos")


@pytest.fixture
def options(photos, tmp_path):
    """Makes options of a tiny transfer from a random start; keywords replace its settings."""

    def make(**changes) -> TransferOptions:
        tiny = {
            "weights": "random",
            "data": photos,
            "output": tmp_path / "out",
            "arch": "resnet18",
            "epochs": 3,
            "batch_size": 8,
            "image_size": 36,
            "crop_size": 32,
            "device": "cpu",
            "num_threads": 1,
            "log_every": 2,
            "resamples": 100,
        }
        return TransferOptions(**(tiny | changes))

    return make


@pytest.fixture
def small_network(monkeypatch):
    """Where a ResNet's 11M weights would only cost time."""
    import torch

    from ..conftest import TinyNet

    def build(_arch, num_classes, *, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = TinyNet(num_classes)
        with torch.no_grad():
            model.fc.weight.zero_()
        return model

    monkeypatch.setattr(start, "build_model", build)


def write_export(path: Path, arch: str, *, num_classes=7, seed=3, head=False) -> Path:
    """A file as `openjft export` writes it."""
    model = build_model(arch, num_classes, seed=seed)
    tensors = {n: t.contiguous() for n, t in model.state_dict().items() if head or not n.startswith("fc.")}
    write_tensors(path, tensors, {"arch": arch, "vocabulary_sha256": "0" * 64, "mean": "0.5,0.5,0.5"})
    return path


@pytest.fixture
def exported():
    return write_export
