from __future__ import annotations

import numpy as np
import pytest

from openjft.dedup import ssim
from openjft.dedup.errors import DedupError
from openjft.dedup.ssim import ssim_map


def slow_ssim(a, b):
    """The definition, position by position."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    weights = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


def test_it_is_the_published_definition():
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 255, (3, 20, 20)).astype(np.float32)
    b = (a * 0.7 + rng.uniform(0, 80, a.shape)).astype(np.float32)
    np.testing.assert_allclose(ssim(a, b), [slow_ssim(x, y) for x, y in zip(a, b, strict=True)], atol=1e-5)


def test_equal_images_have_one_also_when_they_are_plain():
    a = np.stack([np.full((64, 64), 7, np.float32), np.eye(64, dtype=np.float32) * 255])
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-6)


def test_a_negative_is_unlike_its_original():
    a = np.random.default_rng(1).uniform(0, 255, (1, 64, 64)).astype(np.float32)
    assert ssim(a, 255 - a)[0] < 0


def test_shapes_must_agree():
    with pytest.raises(DedupError, match="two stacks"):
        ssim(np.zeros((1, 64, 64), np.float32), np.zeros((2, 64, 64), np.float32))


def test_the_map_holds_the_windows_that_fit_and_goes_on_to_the_border():
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(0, 255, (64, 64)).astype(np.float32) for _ in range(2))
    mapped = ssim_map(a, b)
    assert mapped.shape == (64, 64)
    assert mapped[5:-5, 5:-5].mean() == pytest.approx(float(ssim(a[None], b[None])[0]), abs=1e-6)
    np.testing.assert_allclose(ssim_map(a, a), 1)
    changed = a.copy()
    changed[:3] = 255 - changed[:3]
    assert ssim_map(a, changed)[0].mean() < 0.5
    np.testing.assert_allclose(ssim_map(a, changed)[20:], 1)
