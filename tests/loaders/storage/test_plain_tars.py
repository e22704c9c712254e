"""Plain tars on a web server: named, since nothing can be listed there, and indexed into the user's cache."""

from __future__ import annotations

import hashlib
import io
import tarfile

import numpy as np
import pytest

from openjft.loaders import DatasetError, LoaderError
from openjft.loaders.decoding import encode_jpeg
from openjft.loaders.open import open_source


def write_tar(path, names) -> dict[str, bytes]:
    """A tar of one-colour images."""
    images = {name: encode_jpeg(np.full((16, 16, 3), 40 * i, np.uint8), quality=90) for i, name in enumerate(names)}
    with tarfile.open(path, "w") as tar:
        for name, data in images.items():
            info = tarfile.TarInfo(f"{name}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return images


@pytest.fixture
def web(site, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    write_tar(site.root / "w-0.tar", ["a", "b", "c"])
    write_tar(site.root / "w-1.tar", ["d", "e"])
    return site


def test_they_are_indexed_once_and_read_by_ranges(web, tmp_path):
    source = open_source(f"{web.url}/w-{{0..1}}.tar")
    assert source.num_samples == 5
    index = source.index(1)
    data = source.read_bytes(1, int(index.offsets[1]), int(index.sizes[1]))
    assert hashlib.sha256(data).digest() == index.sha256[1].tobytes()
    assert list((tmp_path / "home/openjft/index").glob("*/collection.json"))
    before = web.times("w-0.tar")
    again = open_source(f"{web.url}/w-{{0..1}}.tar")
    assert again.fingerprint == source.fingerprint
    assert web.times("w-0.tar") - before <= 2  # asked for its size and tag, not for its content


def test_one_that_has_changed_on_the_server_is_refused(web):
    open_source(f"{web.url}/w-{{0..1}}.tar")
    write_tar(web.root / "w-1.tar", ["x", "y"])
    with pytest.raises(DatasetError, match=r"w-1\.tar: expected the tar as it was indexed"):
        open_source(f"{web.url}/w-{{0..1}}.tar")


def test_a_folder_there_cannot_be_listed_and_the_error_says_how_to_name_tars(web):
    with pytest.raises(LoaderError, match=r"name-\{000000\.\.000127\}\.tar"):
        open_source(web.url)
