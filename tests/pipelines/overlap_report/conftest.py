"""Drawn reports: pairs with scores, pictures and texts, as many as wanted."""

from __future__ import annotations

import types

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import Recall
from openjft.dedup.schema import LEVELS, VERDICTS
from openjft.loaders.decoding import encode_jpeg
from openjft.pipelines.overlap_report import CurvePoint, OverlapReport, SetFacts, Thresholds
from openjft.pipelines.overlap_report.model import EXTRAS

SETS = (
    SetFacts("imagenet", "imagenet", 5000, 3),
    SetFacts("minival", "coco", 800, 0),
    SetFacts("own", "folder", 90, 1),
)
CURVE = tuple(CurvePoint(0.5 + 0.05 * i, 10.0 ** (3 - i), 10.0 ** (2.5 - i), 10.0 ** (3.4 - i)) for i in range(9))
THRESHOLDS = Thresholds(0.8, 0.9, 0.55, False, CURVE)
RECALL = (Recall("none", 50, 50, 50, 0.93, 1.0), Recall("crop", 45, 40, 50, 0.78, 0.97))
BUILD = "0123456789ab" * 4


def drawn(rng: np.random.Generator, side: int = 64) -> np.ndarray:
    """A scene of a few colours: a sky, a ground, a disc."""
    y, x = np.mgrid[:side, :side] / side
    sky, ground, disc = rng.integers(30, 226, (3, 3))
    pixels = np.where((y > rng.uniform(0.4, 0.8))[..., None], ground, sky)
    inside = (x - rng.uniform(0.2, 0.8)) ** 2 + (y - rng.uniform(0.2, 0.8)) ** 2 < rng.uniform(0.01, 0.06)
    return np.where(inside[..., None], disc, pixels).astype(np.uint8)


def pair(i: int, score: float = 0.95, **changes) -> dict:
    """A pair as a row of VERDICTS with EXTRAS."""
    row = {
        "image_key": i.to_bytes(16), "eval_set": "own", "eval_id": f"e{i}", "view": "identity", "similarity": score,
        "score": score, "ssim": 0.8, "ssim_low": 0.9, "transform": None, "alike": True, "verified": True,
        "level": "listed", "decision": None, "overlap": False, "removed": False, "labels": [f"thing {i}"],
        "uri": f"https://a.org/{i}.jpg", "eval_path": None,
    }  # fmt: skip
    return {**row, **changes}


def table(rows: list[dict]) -> pa.Table:
    schema = pa.schema([*VERDICTS, *(pa.field(name, type_) for name, type_ in EXTRAS.items())])
    return pa.Table.from_pylist(rows, schema)


def report(rows, **changes) -> OverlapReport:
    pairs = rows if isinstance(rows, pa.Table) else table(rows)
    fields = {
        "name": "demo", "build": BUILD, "descriptor": "dct", "views": ("identity", "mirror"), "queries": 1000,
        "verify_ssim": 0.85, "remove_ssim": 0.5, "remove_from": "train",
        "sets": SETS, "thresholds": THRESHOLDS, "pairs": pairs, "recall": RECALL,
    }  # fmt: skip
    return OverlapReport(**{**fields, **changes})


def many_pairs(count: int, seed: int = 0, decided: float = 0.0) -> list[dict]:
    """Pairs as a search finds them: several training images of one evaluation image, most of low score."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        chosen = SETS[int(rng.choice(3, p=(0.7, 0.25, 0.05)))]
        score = round(float(0.55 + 0.45 * rng.beta(1, 2)), 4)
        verified = bool(rng.random() < (score - 0.5) * 2)
        alike = verified or bool(rng.random() < 0.1)
        level = LEVELS[0] if score >= 0.9 and verified else LEVELS[1] if score >= 0.8 or alike else LEVELS[2]
        view = str(rng.choice(["identity", "mirror", "crop80-center"]))
        rows.append(
            pair(
                i, score, eval_set=chosen.name, view=view,
                eval_id=f"img_{int(rng.integers(chosen.images // 2))}_{i % 7}",
                ssim=None if rng.random() < 0.1 else round(float(rng.uniform(0, 1)), 3),
                ssim_low=round(float(rng.uniform(0, 1)), 3), alike=alike, verified=verified, level=level,
                transform="mirrored, 71 % of it, turned by 4 degrees" if view == "mirror" else None,
                overlap=level == LEVELS[0], removed=level != LEVELS[2], similarity=min(1.0, score + 0.01),
                labels=[f"thing {i % 50}", "object"], eval_path=f"/data/{chosen.name}/{i}.jpg",
                decision=str(rng.choice(["copy", "different", "unsure"])) if rng.random() < decided else None,
            )
        )  # fmt: skip
    return rows


def with_pictures(rows: list[dict], seed: int = 0, side: int = 64) -> dict:
    """Pictures of all images of some pairs, a training image being a noisy copy of its evaluation image."""
    rng = np.random.default_rng(seed)
    evals: dict[tuple[str, str], np.ndarray] = {}
    training, pictures = {}, {}
    for row in rows:
        key = row["eval_set"], row["eval_id"]
        if key not in evals:
            evals[key] = drawn(rng, side)
            pictures[key] = encode_jpeg(evals[key], quality=75)
        copy = np.clip(evals[key].astype(int) + int(rng.integers(-25, 25)), 0, 255).astype(np.uint8)
        training[row["image_key"]] = encode_jpeg(copy[:, ::-1] if row["view"] == "mirror" else copy, quality=75)
    return {"training_pictures": training, "eval_pictures": pictures}


@pytest.fixture(scope="session")
def draw() -> types.SimpleNamespace:
    """The functions above, and what they draw from."""
    return types.SimpleNamespace(
        pair=pair, table=table, report=report, many_pairs=many_pairs, with_pictures=with_pictures, drawn=drawn,
        sets=SETS, curve=CURVE, thresholds=THRESHOLDS, recall=RECALL, build=BUILD,
    )  # fmt: skip


@pytest.fixture(scope="session")
def ten_thousand() -> tuple[list[dict], OverlapReport]:
    rows = many_pairs(10_000)
    return rows, report(rows, **with_pictures(rows))
