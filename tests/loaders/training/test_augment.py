from __future__ import annotations

import numpy as np
import pytest
import torch

from openjft.loaders.errors import LoaderError
from openjft.loaders.training.augment import Crops, center_crops, crop_windows, cut_and_normalize, random_crops


def keys_of(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 16), np.uint8)


def slow_cut(images, crops, size):
    out = []
    for image, top, left, mirror in zip(images, *crops, strict=True):
        cut = image[top : top + size, left : left + size]
        out.append(cut[:, ::-1] if mirror else cut)
    return (np.stack(out).astype(np.float32) / 127.5 - 1.0).transpose(0, 3, 1, 2)


def test_each_image_is_cut_mirrored_and_scaled_at_its_own_place():
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), np.uint8)
    crops = random_crops(keys_of(5), seed=1, epoch=2, height=20, width=24, size=16)
    out = cut_and_normalize(torch.from_numpy(images), torch.from_numpy(crop_windows(crops, 16)))
    np.testing.assert_allclose(out.numpy(), slow_cut(images, crops, 16), atol=1e-6)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.dtype == torch.float32


def test_black_is_minus_one_and_white_is_one():
    images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 4, 4, 3)
    windows = torch.from_numpy(crop_windows(center_crops(2, height=4, width=4, size=2), 2))
    out = cut_and_normalize(images, windows)
    assert out[0].unique().tolist() == [-1.0]
    assert out[1].unique().tolist() == [1.0]


def test_the_draws_are_pinned():
    # A change of these numbers changes every run: it needs a reason and a line in the change log.
    keys = np.arange(64, dtype=np.uint8).reshape(4, 16)
    crops = random_crops(keys, seed=17, epoch=0, height=340, width=340, size=299)
    assert crops.top.tolist() == [25, 16, 36, 9]
    assert crops.left.tolist() == [5, 23, 9, 29]
    assert crops.mirror.tolist() == [False, True, False, False]


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}, {"keys": 1}])
def test_another_seed_epoch_or_image_gives_other_draws(change):
    def draw(seed=1, epoch=0, keys=0):
        return random_crops(keys_of(64, keys), seed=seed, epoch=epoch, height=340, width=340, size=299)

    a, b = draw(), draw(**change)
    assert (a.top != b.top).mean() > 0.8
    assert (a.left != b.left).mean() > 0.8
    assert 0.2 < (a.mirror != b.mirror).mean() < 0.8


def test_draws_are_uniform_over_all_places():
    crops = random_crops(keys_of(42_000), seed=3, epoch=1, height=340, width=340, size=299)
    for places in (crops.top, crops.left):
        counts = np.bincount(places, minlength=42)
        assert len(counts) == 42
        assert np.square(counts - 1000).sum() / 1000 < 80  # chi-square, 41 degrees of freedom: 1 in 4,000
    assert abs(crops.mirror.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(crops.top, crops.left)[0, 1]) < 0.02


def test_an_image_of_the_crops_size_is_taken_whole():
    crops = random_crops(keys_of(3), seed=1, epoch=0, height=8, width=8, size=8)
    assert crops.top.tolist() == crops.left.tolist() == [0, 0, 0]


def test_the_center_crop_is_the_middle_and_not_mirrored():
    crops = center_crops(1, height=340, width=300, size=299)
    assert crops == Crops(np.array([20]), np.array([0]), np.array([False]))


def test_images_smaller_than_the_crop_are_refused():
    with pytest.raises(LoaderError, match=r"at least 299x299 pixels \(crop_size\), found 340x256"):
        random_crops(keys_of(1), seed=1, epoch=0, height=340, width=256, size=299)


def test_an_images_draws_do_not_depend_on_its_batch():
    keys = keys_of(10)
    settings = {"seed": 1, "epoch": 3, "height": 340, "width": 300, "size": 299}
    whole, part = random_crops(keys, **settings), random_crops(keys[[7, 2]], **settings)
    for a, b in zip(whole, part, strict=True):
        assert a[[7, 2]].tolist() == b.tolist()
