"""The two scores of a label: margin v and mode attachment D. All arithmetic of this package, put together.

In: the moments and a sample of a build's candidates, and its hierarchy. Out: `VisualModel`, which scores the labels of
any of these images. `v_i = -1/2 |z_i - mu_c(-i)|^2 + 1/2 min over unrelated c' |z_i - mu_c'|^2` in whitened space,
with class means shrunk to their parent's. Source: METHODS.md, section 2.

Leaving the image out is exact for the classes that it is a candidate of and all above them, also where these compete:
else its own weight would draw them nearer. What it adds to the means of other classes by way of a common parent is left
in; that is `kappa / (N' + kappa) * p / (N_parent + kappa)` of the distance, which tells only among a few dozen images.
"""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from openjft.taxonomy import Closure, Csr

from .distances import Competitors, margin, nearest_unrelated
from .means import KAPPA, ClassMeans, fit_means, leave_out
from .modes import Modes, ModeSample, fit_modes
from .moments import Float32s, Floats, Int32s, Int64s, Moments, Whitening, fit_whitening

BATCH: Final = 1024  # images at a time: of each some ten means of those above its classes


class Scores(NamedTuple):
    """Scores of n labels; higher is surer, and values of different classes can be compared.

    Attributes:
        margin: (n,) float32 v.
        mode: (n,) float32 D.
        alone: (n,) bool: no unrelated class has images, so that only outliers stand out.
    """

    margin: Float32s
    mode: Float32s
    alone: npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class VisualModel:
    """Fitted on a build's candidates, to score these very candidates."""

    whitening: Whitening
    means: ClassMeans
    competitors: Competitors
    modes: Modes

    def score(
        self, vectors: npt.NDArray[np.floating], row: Int64s, label: Int32s, weight: Floats, *, batch: int = BATCH
    ) -> Scores:
        """Scores of the labels of images.

        Args:
            vectors: (images, d) as embedded.
            row: (n,) image of each label, rising.
            label: (n,) its class.
            weight: (n,) what it was summed with.
            batch: images held at a time.
        """
        parts = [Scores(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.bool_))]
        for start in range(0, len(vectors), batch):
            part = self.whitening.apply(vectors[start : start + batch])
            first, last = np.searchsorted(row, [start, start + len(part)])
            if last > first:
                parts.append(self._batch(part, row[first:last] - start, label[first:last], weight[first:last]))
        return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _batch(self, vectors: Float32s, row: Int64s, label: Int32s, weight: Floats) -> Scores:
        left_out = leave_out(self.means, vectors, row, label, weight)
        away = vectors[row] - left_out.mean[left_out.find(row, label, self.means.closure.num_categories)]
        own = np.einsum("ij,ij->i", away, away, dtype=np.float64)
        nearest = nearest_unrelated(self.competitors, vectors, row, label, left_out)
        return Scores(
            margin(own, nearest, vectors.shape[1]).astype(np.float32),
            self.modes.score[self.modes.nearest(vectors, row, label)],
            np.isinf(nearest),
        )


def fit_model(
    moments: Moments, sample: ModeSample, closure: Closure, related: Csr, *, seed: int, kappa: float = KAPPA
) -> VisualModel:
    """Fits on sums and a sample.

    Args:
        moments: of all candidates, at least one.
        sample: some images of each of their classes.
        closure: of the hierarchy.
        related: for each category those that do not compete with it (`relatives`).
        seed: of k-means.
        kappa: images that a parent's mean counts for.
    """
    whitening = fit_whitening(moments)
    sums = whitening.apply_sums(moments.sums, moments.weight)
    means = fit_means(moments.labels, moments.images, moments.weight, sums, closure, kappa=kappa)
    competitors = Competitors.of(means, related)
    return VisualModel(whitening, means, competitors, fit_modes(sample, whitening, means, competitors, seed=seed))
