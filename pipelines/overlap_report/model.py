"""What the overlap page is made of: plain values, checked where they are put together.

In: facts of the evaluation sets, thresholds, and the pairs as a table with the columns of `dedup.schema.VERDICTS`. Out:
`OverlapReport`. Nothing here knows where a build lies. "Query" is a training image, "reference" an evaluation image.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup import Recall
from openjft.dedup.decisions import DIGEST
from openjft.dedup.schema import DECISIONS, LEVELS, VERDICTS
from openjft.pipelines.config_images import RemoveFrom

# What the pairs' table may have beside the columns of VERDICTS.
EXTRAS: Final = {"labels": pa.list_(pa.string()), "uri": pa.string(), "eval_path": pa.string()}
MAX_PAIRS: Final = 10_000
JPEG_MARK: Final = b"\xff\xd8\xff"


class CurvePoint(NamedTuple):
    """False pairs to be expected at a score or above, with the interval of that number."""

    score: float
    expected: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class SetFacts:
    """An evaluation set: its name, its layout, its images and how many of these could not be decoded."""

    name: str
    format: str
    images: int
    undecodable: int


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Scores at which pairs are removed, reported and listed.

    Attributes:
        remove: the training image of such a pair is left out, however the pictures agree.
        report: a pair counts in what is published, if it is verified.
        listed: pairs below are not known at all.
        normalised: a score is a similarity minus what the query has to a background set.
        curve: false pairs to be expected, by rising score; empty where nobody has measured.
    """

    remove: float
    report: float
    listed: float
    normalised: bool = False
    curve: tuple[CurvePoint, ...] = ()

    def __post_init__(self) -> None:
        values = (self.remove, self.report, self.listed, *(value for point in self.curve for value in point))
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"expected thresholds and a curve of finite numbers, found {self}")
        scores = [point.score for point in self.curve]
        if any(b <= a for a, b in itertools.pairwise(scores)):
            raise ValueError("expected the curve's scores to rise, found one that does not. Sort it")


@dataclasses.dataclass(frozen=True)
class OverlapReport:
    """All that the page, the JSON and the Parquet file tell.

    Attributes:
        name: of the build, any text.
        build: digest, 12 to 128 hex digits, under which decisions are kept and exported.
        descriptor: what images are compared by.
        views: what is done to the evaluation images, by name.
        queries: training images that were compared.
        verify_ssim: at this `ssim_low` or above a pair is verified.
        remove_ssim: at this `ssim` or above a pair is alike.
        remove_from: "train", "eval" or "none": whether training images are left out at all.
        sets: the evaluation sets, in the order of the configuration.
        thresholds: at which pairs are removed, reported, listed.
        pairs: all pairs: VERDICTS, and any of EXTRAS.
        recall: of planted copies, by transform.
        training_pictures: JPEG by image key.
        eval_pictures: JPEG by (eval set, eval id).
        max_pairs: pairs that the page shows at most; the counts are of all.
    """

    name: str
    build: str
    descriptor: str
    views: tuple[str, ...]
    queries: int
    verify_ssim: float
    remove_ssim: float
    remove_from: RemoveFrom
    sets: tuple[SetFacts, ...]
    thresholds: Thresholds
    pairs: pa.Table
    recall: tuple[Recall, ...] = ()
    training_pictures: Mapping[bytes, bytes] = dataclasses.field(default_factory=dict)
    eval_pictures: Mapping[tuple[str, str], bytes] = dataclasses.field(default_factory=dict)
    max_pairs: int = MAX_PAIRS

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.build):
            raise ValueError(f"expected the build's digest as 12 to 128 hex digits in lower case, found {self.build!r}")
        names = [each.name for each in self.sets]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each evaluation set once, found {', '.join(names)}")
        _check_pairs(self.pairs, names)
        for pictures in (self.training_pictures, self.eval_pictures):
            odd = next((key for key, data in pictures.items() if not data.startswith(JPEG_MARK)), None)
            if odd is not None:
                raise ValueError(f"expected JPEG pictures, found other bytes for {odd!r}. Encode them anew")

    @property
    def references(self) -> int:
        """Evaluation images that were compared."""
        return sum(each.images - each.undecodable for each in self.sets)


def _check_pairs(pairs: pa.Table, sets: list[str]) -> None:
    for field in VERDICTS:
        if field.name not in pairs.column_names or pairs.schema.field(field.name).type != field.type:
            raise ValueError(f"expected pairs with the column {field.name} ({field.type}), found {pairs.schema}")
        if not field.nullable and pairs[field.name].null_count:
            raise ValueError(f"expected {field.name} in every pair, found {pairs[field.name].null_count:,} nulls")
    identity = pairs.select(["image_key", "eval_set", "eval_id"])
    distinct = identity.group_by(identity.column_names).aggregate([]).num_rows
    if distinct < pairs.num_rows:
        raise ValueError(f"expected each pair once, found {pairs.num_rows - distinct:,} again. Which decision counts?")
    for name, type_ in EXTRAS.items():
        if name in pairs.column_names and pairs.schema.field(name).type != type_:
            raise ValueError(f"expected {name} as {type_}, found {pairs.schema.field(name).type}")
    for name, known in (("eval_set", sets), ("level", LEVELS), ("decision", DECISIONS)):
        strange = set(pc.unique(pairs[name]).to_pylist()) - set(known) - {None}
        if strange:
            raise ValueError(f"expected {name} among {', '.join(known)}, found {', '.join(map(repr, sorted(strange)))}")
    if not all(np.isfinite(pairs[name].to_numpy()).all() for name in ("score", "similarity")):
        raise ValueError("expected finite scores and similarities, found some that are not")
