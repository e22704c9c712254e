from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openjft.loaders.decoding import encode_jpeg

# webdataset leaves the closing of its tars to the garbage collector.
LEAVES_TARS_OPEN = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def image_bytes(seed: int, kind: str = "jpg") -> bytes:
    """A small picture of one colour."""
    colour = np.random.default_rng(seed).integers(0, 256, 3, dtype=np.uint8)
    pixels = np.broadcast_to(colour, (24, 32, 3))
    if kind == "jpg":
        return encode_jpeg(pixels, quality=90)
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, kind.upper())
    return sink.getvalue()


def tar_bytes(members, *, format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar as Python's own writer makes it; members are (name, bytes) or a TarInfo."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return sink.getvalue()


def pairs(numbers, prefix: str = "s"):
    """Members of samples with an image and a class."""
    for n in numbers:
        yield f"{prefix}{n:04d}.jpg", image_bytes(n)
        yield f"{prefix}{n:04d}.cls", str(n % 3).encode()


@pytest.fixture
def web(tmp_path) -> Path:
    """Three tars of 8, 8 and 4 samples of 3 classes."""
    folder = tmp_path / "web"
    folder.mkdir()
    for i, numbers in enumerate((range(8), range(8, 16), range(16, 20))):
        (folder / f"web-{i:03d}.tar").write_bytes(tar_bytes(pairs(numbers)))
    return folder
