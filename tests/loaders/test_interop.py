"""Our tars go unchanged through the readers that people have: webdataset and torch's DataLoader."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import torch
import webdataset
from torch.utils.data import DataLoader

from openjft.loaders import Dataset
from openjft.loaders.decoding import decode_stored_jpeg

# webdataset leaves the closing of its tars to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 40, 3, 32, 0, shards=3)


@pytest.fixture(scope="module")
def samples(folder):
    dataset = Dataset.open(folder)
    return [dataset[i] for i in range(len(dataset))]


def pipeline(folder, **options):
    urls = str(folder / "shards/tiny-{000000..000002}.tar")
    return webdataset.WebDataset(urls, shardshuffle=False, **options)


def test_webdataset_reads_images_and_labels(folder, samples):
    read = list(pipeline(folder).decode("rgb8"))
    assert [item["__key__"] for item in read] == [sample.key.hex() for sample in samples]
    for item, sample in zip(read, samples, strict=True):
        # Its decoder is Pillow, whose libjpeg may round otherwise than libjpeg-turbo.
        assert np.abs(item["jpg"].astype(int) - decode_stored_jpeg(sample.jpeg)).max() <= 3
        labels = [x["label"] for kind in ("asserted", "inferred") for x in item["json"]["labels"][kind]]
        assert sorted(labels) == sample.labels.tolist()
        assert set(item) == {"__key__", "__url__", "__local_path__", "jpg", "json"}


def test_webdataset_passes_over_an_empty_tar(make_dataset, tmp_path):
    make_dataset(tmp_path, 3, shards=16)
    tars = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    assert len(list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))) == 3


def test_torch_dataloader_reads_a_webdataset_in_two_processes(folder, samples):
    stream = pipeline(folder).to_tuple("__key__", "jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of forks in a process with threads
        read = list(DataLoader(stream, batch_size=None, num_workers=2))
    assert sorted(tuple(item) for item in read) == [(sample.key.hex(), sample.jpeg) for sample in samples]


def collate(items):
    images = torch.stack([torch.from_numpy(decode_stored_jpeg(item.jpeg)) for item in items])
    return images, [item.labels.tolist() for item in items]


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_dataloader_reads_a_dataset_by_number(folder, samples, workers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(Dataset.open(folder), batch_size=16, collate_fn=collate, num_workers=workers)
        batches = list(loader)
    assert [tuple(images.shape) for images, _ in batches] == [(16, 32, 32, 3), (16, 32, 32, 3), (8, 32, 32, 3)]
    assert functools.reduce(list.__add__, [labels for _, labels in batches]) == [s.labels.tolist() for s in samples]
    assert np.array_equal(batches[0][0][5].numpy(), decode_stored_jpeg(samples[5].jpeg))


def test_open_clips_sizes_count_each_tar(folder):
    import json

    sizes = json.loads((folder / "shards/sizes.json").read_text())
    for name, count in sizes.items():
        assert len(list(webdataset.WebDataset(str(folder / "shards" / name), shardshuffle=False))) == count
    assert sum(sizes.values()) == 40
