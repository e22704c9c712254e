from __future__ import annotations

import numpy as np
import pytest
import torch

from openjft.loaders import Batch, Dataset
from openjft.loaders.errors import DatasetError
from openjft.loaders.training import center_crops, device_batches, random_crops
from openjft.loaders.training.split import training_loader


def middle(batch):
    return center_crops(len(batch), height=36, width=36, size=32)


def on(device, dataset_folder, train_options, *, crops=middle, num_classes=4):
    dataset = Dataset.open(dataset_folder)
    with training_loader(dataset, train_options()).epoch(0) as batches:
        return list(device_batches(batches, device, crop_size=32, crops=crops, num_classes=num_classes))


def test_batches_come_in_order_with_their_labels(dataset_folder, train_options):
    dataset = Dataset.open(dataset_folder)
    host: list[Batch] = list(training_loader(dataset, train_options()).epoch(0))
    ours = on(torch.device("cpu"), dataset_folder, train_options)
    assert len(ours) == len(host) == 12
    for a, b in zip(ours, host, strict=True):
        np.testing.assert_array_equal(a.keys, b.keys)
        np.testing.assert_array_equal(a.label_values.numpy(), b.label_values)
        np.testing.assert_array_equal(a.label_offsets.numpy(), b.label_offsets)
        assert a.label_values.dtype == a.label_offsets.dtype == torch.int64
        pixels = b.images[:, 2:34, 2:34].transpose(0, 3, 1, 2).astype(np.float32)
        np.testing.assert_allclose(a.images.numpy(), pixels / 127.5 - 1, atol=1e-6)


def test_a_label_outside_the_vocabulary_is_refused(dataset_folder, train_options):
    with pytest.raises(DatasetError, match=r"labels in \[0, 3\), found 0 to 3"):
        on(torch.device("cpu"), dataset_folder, train_options, num_classes=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_same_pixels_and_labels_as_the_cpu(dataset_folder, train_options):
    def crops(batch):
        return random_crops(batch.keys, seed=1, epoch=batch.epoch, height=36, width=36, size=32)

    cpu, gpu = (on(torch.device(d), dataset_folder, train_options, crops=crops) for d in ("cpu", "cuda"))
    assert len(cpu) == len(gpu)
    for a, b in zip(cpu, gpu, strict=True):
        assert b.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(a.images, b.images.cpu(), rtol=0, atol=1e-6)
        assert torch.equal(a.label_values, b.label_values.cpu())
        assert torch.equal(a.label_offsets, b.label_offsets.cpu())
