"""Counts for each evaluation set at a score, in the form of Sun et al. 2017, appendix A, and the paper's own beside.

In: pairs (VERDICTS) and a score. Out: how many evaluation images have a copy. The page counts the same way in the
browser (`counts.js`), since its slider and its reviewer change what is counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .model import CurvePoint, SetFacts


class Published(NamedTuple):
    """Evaluation images with a near-duplicate in JFT-300M (Sun et al. 2017, appendix A)."""

    name: str
    images: int
    found: int


_PAPER: Final = {
    Published("ImageNet val", 50_000, 5_536): {"imagenet", "imagenetval", "ilsvrc2012val", "imagenet1kval"},
    Published("COCO minival*", 8_000, 1_648): {"minival", "cocominival", "cocominivalstar"},
    Published("VOC 2007 test", 4_952, 201): {"voc2007", "voc07", "voc2007test", "voc07test", "pascalvoc2007test"},
    Published("VOC 2012 val", 1_449, 84): {"voc2012", "voc12", "voc2012val", "voc12val", "pascalvoc2012val"},
}


def published(name: str) -> Published | None:
    """What the paper says of the set of this name; None where it is none of the four."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    return next((paper for paper, names in _PAPER.items() if plain in names), None)


@dataclasses.dataclass(frozen=True)
class SetCounts:
    """Evaluation images of one set at a score; each counts once, however many pairs it is in.

    Attributes:
        found: with a pair at the score or above.
        verified: of these, with a verified pair there.
        confirmed: of these, with a pair there that a person called a copy.
        refuted: of these, those of which a person called every pair there different.
        counted: with a pair that is called a copy (at any score), or is verified there and not called different.
        pairs: at the score or above.
    """

    found: int
    verified: int
    confirmed: int
    refuted: int
    counted: int
    pairs: int


def count_sets(pairs: pa.Table, sets: Sequence[SetFacts], score: float) -> dict[str, SetCounts]:
    """The counts of each set at a score, by name."""
    number, count = eval_numbers(pairs)
    near = pairs["score"].to_numpy() >= np.float32(score)
    verified = pairs["verified"].to_numpy()
    copy, different = (pc.fill_null(pc.equal(pairs["decision"], d), False).to_numpy() for d in ("copy", "different"))

    def images(of: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        hit = np.zeros(count, np.bool_)
        hit[number[of]] = True
        return hit

    found = images(near)
    columns = {
        "found": found,
        "verified": images(near & verified),
        "confirmed": images(near & copy),
        "refuted": found & ~images(near & ~different),
        "counted": images(copy | (near & verified & ~different)),
    }
    names = np.array(pairs["eval_set"].to_pylist(), object)
    set_of = np.empty(count, object)
    set_of[number] = names
    return {
        each.name: SetCounts(
            pairs=int((near & (names == each.name)).sum()),
            **{column: int((hit & (set_of == each.name)).sum()) for column, hit in columns.items()},
        )
        for each in sets
    }


def eval_numbers(pairs: pa.Table) -> tuple[npt.NDArray[np.int64], int]:
    """(rows,) the number of each row's evaluation image, counted from 0, and how many there are."""
    joined = pc.binary_join_element_wise(*(pairs[name].cast(pa.binary()) for name in ("eval_set", "eval_id")), b"\0")
    encoded = joined.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)


def expected_false_pairs(curve: Sequence[CurvePoint], score: float) -> dict[str, Any] | None:
    """False pairs to be expected at a score or above: between measured points by a straight line of the logarithm.

    Returns:
        {"expected", "low", "high", "bound"}, where bound is "at_least" below the curve, "at_most" above it, else None;
        None where there is no curve.
    """
    if not curve:
        return None
    after = next((i for i, point in enumerate(curve) if point.score >= score), len(curve))
    if after == 0 or after == len(curve):
        outside = curve[min(after, len(curve) - 1)]
        bound = None if outside.score == score else "at_least" if after == 0 else "at_most"
        return {"expected": outside.expected, "low": outside.low, "high": outside.high, "bound": bound}
    left, right = curve[after - 1], curve[after]
    share = (score - left.score) / (right.score - left.score)
    values = [_between(a, b, share) for a, b in zip(left[1:], right[1:], strict=True)]
    return {**dict(zip(("expected", "low", "high"), values, strict=True)), "bound": None}


def _between(a: float, b: float, share: float) -> float:
    # Nothing has no logarithm: next to it the line is that of the numbers themselves.
    plain = a <= 0 or b <= 0
    value = a + share * (b - a) if plain else math.exp(math.log(a) + share * (math.log(b) - math.log(a)))
    # Machines differ in the last digits of a logarithm; equal builds have equal bytes.
    return float(f"{value:.9g}")
