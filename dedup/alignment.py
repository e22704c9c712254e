"""Verification of a pair: is one picture a copy of the other? Alignment by local features, then structure.

In: a training image (query) and an eval image (reference) that the descriptor holds for near. SIFT points of both are
matched, an affine map is fitted to them by RANSAC, the reference is laid over the query, and the part that both show
is compared by SSIM on a 64x64 grid. Without enough points (thumbnails, plain pictures) the view that the search
matched is the first guess, refined by maximising the correlation (ECC, Evangelidis and Psarakis 2008). Out: the
structural similarity, and what was done to the eval image to get the training image: which part, turned, mirrored,
stretched.

Nothing here knows the descriptor, so the two judgements are independent: a semantic network that takes two shots of one
person for copies is not believed by this.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from .resample import GREY_SIZE, Float32, Image, check_image
from .ssim import ssim_map
from .views import View

ALIGNMENT_VERSION: Final = 3  # raise it when results change
SIDE: Final = 256  # longer side at which points are looked for
MAX_POINTS: Final = 500
RATIO: Final = 0.8  # Lowe (2004): a match counts when the second best is this much farther
MIN_INLIERS: Final = 8
REFINE_SIDE: Final = 96
MIN_SHARE: Final = 0.5  # of one of the two pictures that the common part must cover: a shared logo is no copy
MIN_SPREAD: Final = 6.0  # grey levels of spread under which a part is too plain to tell anything
STRUCTURE_ALONE: Final = 0.1  # further SSIM that a pair needs without agreeing points
SURE: Final = 0.5  # mean SSIM from which a map by points is taken
EDGE: Final = 3  # cells of 64 at the edge of the common part, where resampling mixes what lies outside
_SCALES: Final = (0.15, 6.0)  # by which a side may be stretched or shrunk

Matrix = npt.NDArray[np.float64]  # (2, 3), reference pixels -> query pixels


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How an eval image lies in a training image.

    Attributes:
        ssim: structural similarity of the common part, its mean, in [-1, 1]; 0 where it is too small or too plain.
        ssim_low: its 25th percentile over the common part: three quarters of the picture agree at least so well.
        of_query: share of the training image that the common part covers.
        of_reference: share of the eval image.
        mirrored: whether left and right are exchanged.
        turned: degrees, counterclockwise.
        stretch: width by height scale of the map.
        inliers: matched points that agree; 0: aligned by correlation.
    """

    ssim: float
    ssim_low: float
    of_query: float
    of_reference: float
    mirrored: bool
    turned: float
    stretch: float
    inliers: int

    def is_alike(self, min_ssim: float) -> bool:
        """Whether it is like enough to be left out: also another shot of the same scene may be."""
        return self.ssim >= (min_ssim if self.inliers else min_ssim + STRUCTURE_ALONE)

    def is_verified(self, min_ssim: float) -> bool:
        """Whether it shows a copy: a patch that differs (a stamp) is let pass, a scene that moved is not."""
        return self.ssim_low >= (min_ssim if self.inliers else min(min_ssim + STRUCTURE_ALONE, 0.95))

    def describe(self) -> str:
        """In words, what was done to the eval image: "mirrored, 71 % of it, turned by 4 degrees"."""
        words = ["mirrored"] if self.mirrored else []
        if self.of_reference < 0.95:
            words.append(f"{self.of_reference:.0%} of it".replace("%", " %"))
        if self.of_query < 0.95:
            words.append(f"{self.of_query:.0%} of the training image".replace("%", " %"))
        if abs(self.turned) >= 1.5:
            words.append(f"turned by {round(self.turned)} degrees")
        if not 0.9 <= self.stretch <= 1.1:
            words.append("stretched")
        return ", ".join(words) or "as it is"


class Features:
    """Grey plane and SIFT points of a picture, made once for all pairs that it is in; `mirror` likewise."""

    def __init__(self, image: Image) -> None:
        check_image(image)
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        self.grey: Image = np.asarray(small, np.uint8)

    @classmethod
    def _of(cls, grey: Image) -> Features:
        made = cls.__new__(cls)
        made.grey = grey
        return made

    @functools.cached_property
    def mirror(self) -> Features:
        """The same picture with left and right exchanged."""
        return self._of(np.ascontiguousarray(self.grey[:, ::-1]))

    @functools.cached_property
    def points(self) -> tuple[Float32, Float32]:
        """((n, 2) places in pixels, (n, 128) RootSIFT descriptors)."""
        sift: Any = cv2.SIFT_create  # type: ignore[attr-defined]  # OpenCV's stubs leave it out
        found, raw = sift(nfeatures=MAX_POINTS, contrastThreshold=0.02).detectAndCompute(self.grey, None)
        if raw is None or not len(found):
            return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
        roots = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6))
        return np.asarray([point.pt for point in found], np.float32), np.asarray(roots, np.float32)


def align(query: Features, reference: Features, view: View) -> Alignment:
    """The best alignment of a pair: by points as the view says or the other way round, else by the view itself."""
    tried: list[Alignment] = []
    for mirrored in (view.mirrored, not view.mirrored):
        side = reference.mirror if mirrored else reference
        matrix, inliers = _by_points(query, side)
        if matrix is not None:
            tried.append(_compare(query, side, matrix, mirrored, inliers))
            if tried[-1].ssim >= SURE:  # it needs no second opinion
                return tried[-1]
    side = reference.mirror if view.mirrored else reference
    nominal = _nominal(query, side, view)
    maps = [m for m in (nominal, _refined(query, side, nominal)) if m is not None]
    tried += [_compare(query, side, m, view.mirrored, 0) for m in maps]
    return max(tried, key=lambda each: each.ssim)


def _by_points(query: Features, reference: Features) -> tuple[Matrix | None, int]:
    """An affine map on which points agree, and how many; None where too few do, or it makes no sense."""
    (places_q, words_q), (places_r, words_r) = query.points, reference.points
    if len(places_q) < MIN_INLIERS or len(places_r) < MIN_INLIERS:
        return None, 0
    near = cv2.BFMatcher(cv2.NORM_L2).knnMatch(words_r, words_q, k=2)
    good = [pair[0] for pair in near if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    if len(good) < MIN_INLIERS:
        return None, 0
    source = np.asarray([places_r[m.queryIdx] for m in good], np.float32)
    target = np.asarray([places_q[m.trainIdx] for m in good], np.float32)
    cv2.setRNGSeed(0)  # RANSAC draws: two runs give the same map
    estimate: Any = cv2.estimateAffine2D  # which may find nothing; the stubs say it cannot
    found, inside = estimate(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=3.0, maxIters=2000, confidence=0.999, refineIters=20
    )
    if found is None:
        return None, 0
    matrix: Matrix = np.asarray(found, np.float64)
    if not _sane(matrix):
        return None, 0
    inliers = int(inside.sum())
    return (matrix, inliers) if inliers >= MIN_INLIERS else (None, 0)


def _sane(matrix: Matrix) -> bool:
    """Whether a map is one that copying makes: no fold, no extreme stretch, no strong shear."""
    linear = matrix[:, :2]
    if not np.isfinite(matrix).all() or np.linalg.det(linear) <= 0:
        return False
    large, small = np.linalg.svd(linear, compute_uv=False)
    return bool(_SCALES[0] <= small and large <= _SCALES[1] and large / small <= 2.5)


def _nominal(query: Features, reference: Features, view: View) -> Matrix:
    """The map that the view says: its part of the eval image, turned, fills the training image."""
    height, width = reference.grey.shape
    turned = view.quarter_turns % 2 == 1
    frame_height, frame_width = query.grey.shape[::-1] if turned else query.grey.shape
    left, right = (1 - view.right, 1 - view.left) if view.mirrored else (view.left, view.right)
    across = frame_width / ((right - left) * width)
    down = frame_height / ((view.bottom - view.top) * height)
    matrix: Matrix = np.array([[across, 0, -left * width * across], [0, down, -view.top * height * down]])
    for _ in range(view.quarter_turns):
        # Against the clock, (x, y) goes to (y, width - 1 - x).
        matrix = np.array([matrix[1], -matrix[0] + [0, 0, frame_width - 1]])
        frame_width, frame_height = frame_height, frame_width
    return matrix


def _refined(query: Features, reference: Features, start: Matrix) -> Matrix | None:
    """The map of highest correlation near `start`, found on small planes; None where it does not converge."""
    planes, scales = [], []
    for features in (query, reference):
        scale = REFINE_SIDE / max(features.grey.shape)
        size = (max(8, round(features.grey.shape[1] * scale)), max(8, round(features.grey.shape[0] * scale)))
        planes.append(cv2.resize(features.grey, size, interpolation=cv2.INTER_AREA))
        scales.append((size[0] / features.grey.shape[1], size[1] / features.grey.shape[0]))
    to_small = np.diag([*scales[0], 1.0])
    from_small = np.diag([*scales[1], 1.0])
    whole = np.vstack([start, [0, 0, 1]])
    inverse = np.linalg.inv(to_small @ whole @ np.linalg.inv(from_small))[:2].astype(np.float32)  # query -> reference
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        refine: Any = cv2.findTransformECC  # the stubs refuse None for "no mask"
        _, found = refine(planes[0], planes[1], inverse, cv2.MOTION_AFFINE, criteria, None, 5)
        small = np.linalg.inv(np.vstack([found, [0, 0, 1]]))
    except (cv2.error, np.linalg.LinAlgError):
        return None
    matrix: Matrix = (np.linalg.inv(to_small) @ small @ from_small)[:2]
    return matrix if _sane(matrix) else None


def _compare(query: Features, reference: Features, matrix: Matrix, mirrored: bool, inliers: int) -> Alignment:
    """Lays the reference over the query and compares the part that both show."""
    height, width = query.grey.shape
    laid = cv2.warpAffine(reference.grey, matrix, (width, height), flags=cv2.INTER_AREA)
    inside = cv2.warpAffine(np.full_like(reference.grey, 255), matrix, (width, height)) > 254
    area = int(inside.sum())
    of_query = area / inside.size
    of_reference = min(1.0, area / abs(float(np.linalg.det(matrix[:, :2]))) / reference.grey.size)
    mean, low = 0.0, 0.0
    if max(of_query, of_reference) >= MIN_SHARE and area >= GREY_SIZE:
        mean, low = _structure(query.grey, np.asarray(laid), inside)
    angle = math.degrees(math.atan2(matrix[0, 1] - matrix[1, 0], matrix[0, 0] + matrix[1, 1]))
    across, down = np.hypot(matrix[0, 0], matrix[1, 0]), np.hypot(matrix[0, 1], matrix[1, 1])
    shape_q, shape_r = width / height, reference.grey.shape[1] / reference.grey.shape[0]
    # Training images are squashed to a square: a stretch that only undoes that is none.
    stretch = float(across / down) * (shape_r / shape_q if shape_q == 1 else 1.0)
    return Alignment(mean, low, of_query, of_reference, mirrored, angle, stretch, inliers)


def _structure(a: Image, b: Image, inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and 25th percentile of SSIM on 64x64 cells of the common part's bounding box, at those that lie inside it.

    The mean of a picture and another shot of the same scene reaches 0.88, as a stamped copy's does; their 25th
    percentiles lie apart (benchmarks/RESULTS.md). The picture's own border counts: it is there that other shots differ.
    """
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    if a[box][inside[box]].std() < MIN_SPREAD or b[box][inside[box]].std() < MIN_SPREAD:
        return 0.0, 0.0
    size = (GREY_SIZE, GREY_SIZE)
    planes: list[Any] = [
        cv2.resize(np.where(inside[box], part[box], 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for part in (a, b)
    ]
    mask = cv2.resize(inside[box].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999
    mask = cv2.erode(mask.astype(np.uint8), np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)) > 0
    values = ssim_map(planes[0], planes[1])[mask]
    return (float(values.mean()), float(np.percentile(values, 25))) if len(values) else (0.0, 0.0)
