"""A web with known truth: candidates (image, label) with evidence of six sources. METHODS.md, section 6.

    python benchmarks/synthetic_web.py --seed 0 --rows 1000000 --out web

In: a seed. Out: evidence in the columns of `evidence_schema` and the truth of every row, which no real web tells.
`draw_web` gives all of it at once, `draw_chunks` bucket after bucket with the memory of one (100M rows for the scale
benchmark); the classes and their sizes are the same in both, only the draws of the rows differ.

A candidate is correct or wrong in one of three ways: another sense of the word (polysemy), a sibling of the right
class, or junk. Sources fire by that state, with an effect of class and source (a word that stands in every alt text)
and one that the texts of a page share, so that sources err together. The linking domains have mirrors: many pages that
say one thing. Places in the click log depend on the truth, as rankers do. A candidate exists only if a source fired.

What METHODS leaves open, and what is done here: class sizes are `JFT_CLASSES` ranks cut into equal steps and scaled
down; there are 15 classes a parent and 10 parents a top; the effect of class and source is one of the texts, on the
log-odds; a classifier's score brings no candidate into being; pages of a domain have the intra-class correlation 0.9.
The variant `effects_everywhere`, which is harder and not METHODS', gives links an effect too, clicks one on the
log-rate, and scores one as it is: then a class that looks right to the classifier may just be one that it likes.

It draws one candidate an image, no templates, and no text.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.pipelines.config import Source
from openjft.pipelines.keys import KEY_BYTES, image_keys
from openjft.pipelines.schema import evidence_schema
from openjft.taxonomy import Category, Edge, Taxonomy, build_taxonomy

Floats = npt.NDArray[np.float64]
Variant = Literal["full", "no_classifier", "blind_positions", "effects_everywhere"]

CORRECT: Final = 0
STATES: Final = ("correct", "polysemy", "sibling", "junk")
SOURCES: Final = (
    Source(name="alt", kind="links"),
    Source(name="caption", kind="links"),
    Source(name="anchor", kind="links"),
    Source(name="links", kind="links"),
    Source(name="clicks", kind="clicks"),
    Source(name="classifier", kind="score"),
)
NAMES: Final = tuple(source.name for source in SOURCES)
TEXTS, LINKS, CLICKS, CLASSIFIER = slice(0, 3), 3, 4, 5

JFT_CLASSES: Final = 18_291
CLASSES_OF_PARENT: Final = 15
PARENTS_OF_TOP: Final = 10
MEAN_LOGIT: Final = -0.55
SPREAD_TOP, SPREAD_PARENT, SPREAD_CLASS = 0.4, 0.5, 0.7
POLYSEMOUS: Final = 0.2
SIBLINGS: Final = 0.35  # of the errors that are no polysemy
EFFECT_OF_CLASS, EFFECT_OF_PARENT, EFFECT_OF_PAGE = 0.5, 0.3, 0.9

# Of each state, in the order of STATES.
FIRING: Final = np.array([[0.75, 0.72, 0.5, 0.3], [0.6, 0.58, 0.38, 0.15], [0.5, 0.48, 0.3, 0.15]])
LOOKING: Final = (0.75, 0.45, 0.35)  # share of the rows at which alt, caption, anchor had an opportunity
AGREEMENT: Final = np.array([0.62, 0.58, 0.38, 0.20])
LINKED, MORE_DOMAINS = 0.45, 0.35
MIRROR_TAIL, MAX_MIRRORS = 1.1, 500
PAGE_CORRELATION: Final = 0.9
SHOWN: Final = 0.35
IMPRESSIONS: Final = (2.5, 1.2)  # of the log
PLACES: Final = np.array([4.0, 6.0, 9.0, 14.0])  # mean place behind the first
ATTRACTION, ATTRACTION_SHAPE = np.array([0.30, 0.07, 0.12, 0.04]), 3.0
POSITION_EXPONENT: Final = 0.9
SCORE: Final = np.array([1.2, -0.7, 0.25, -0.9])
MIN_SCORED: Final = 200  # candidates of a class for which there is a classifier
EXISTING: Final = 0.685  # share of the pairs for which some source fires: 0.695, 0.682, 0.683 for seeds 0 to 2


@dataclasses.dataclass(frozen=True)
class World:
    """What is true of the classes, whatever rows are drawn.

    Attributes:
        seed: of everything.
        variant: 'no_classifier'; 'blind_positions': places in the click log that know nothing of the truth;
            'effects_everywhere': every source has its likes among the classes, not the texts alone.
        sizes: (c,) expected candidates of each class, by label.
        states: (c, 4) share of each state among the pairs of a class, before any source fires.
        effects: (c, 6) effect of class and source.
        taxonomy: tops, parents, classes; the classes have the labels [0, c).
    """

    seed: int
    variant: Variant
    sizes: Floats
    states: Floats
    effects: Floats
    taxonomy: Taxonomy

    @functools.cached_property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(c,) whether the class has a classifier."""
        return (self.sizes >= MIN_SCORED) & (self.variant != "no_classifier")


@dataclasses.dataclass(frozen=True)
class SyntheticWeb:
    """Candidates sorted by (image_key, label), and what is true of them.

    Attributes:
        world: that they were drawn from.
        table: (n rows) in the columns of `evidence_schema(NAMES)`.
        state: (n,) int8 index in STATES.
    """

    world: World
    table: pa.Table
    state: npt.NDArray[np.int8]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the label is right."""
        return self.state == CORRECT

    @property
    def taxonomy(self) -> Taxonomy:
        """The hierarchy of the classes."""
        return self.world.taxonomy

    def evidence(self) -> pa.Table:
        """The candidates in the columns of `evidence_schema(NAMES)`."""
        return self.table

    def gold(self, n: int, seed: int) -> npt.NDArray[np.int64]:
        """(n,) rising rows, a uniform sample of the candidates without repeats."""
        rng = np.random.default_rng([seed, 1])
        return np.sort(rng.choice(self.table.num_rows, n, replace=False)).astype(np.int64)

    def gold_csv(self, rows: npt.NDArray[np.int64]) -> str:
        """The truth of some rows in the form of `precision.gold`; their URIs must be hashed (see `draw_bucket`)."""
        uris, labels = (self.table[name].take(pa.array(rows)).to_pylist() for name in ("uri", "label"))
        ids, right = self.taxonomy.ids, self.correct[rows]
        lines = (f"{uri},{ids[label]},{int(r)}" for uri, label, r in zip(uris, labels, right, strict=True))
        return "\n".join(("uri,label,correct", *lines)) + "\n"


def class_sizes(classes: int, rows: int) -> Floats:
    """(c,) falling expected sizes: JFT's law at evenly spaced ranks, scaled to about `rows` in all, at least 1."""
    rank = (np.arange(classes) + 0.5) * JFT_CLASSES / classes + 0.5
    law = 4.616e6 * rank**-0.561 * (1 - rank / (JFT_CLASSES + 1)) ** 3.122
    return np.maximum(law * rows / law.sum(), 1.0)


def draw_world(seed: int, *, classes: int = 1800, rows: int = 1_000_000, variant: Variant = "full") -> World:
    """The classes of a web.

    Args:
        seed: the same world for the same seed, whatever the variant.
        classes: leaves of the hierarchy.
        rows: candidates in all, to a percent or two.
        variant: see `World`.

    Raises:
        ValueError: the variant is unknown, or there are fewer rows than classes.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"draw_world: expected a variant of {', '.join(get_args(Variant))}, found {variant!r}")
    if not 0 < classes <= rows:
        raise ValueError(f"draw_world: expected 1 to {rows:,} classes (rows), found {classes:,}")
    rng = np.random.default_rng([seed, 0])
    parents = -(-classes // CLASSES_OF_PARENT)
    tops = -(-parents // PARENTS_OF_TOP)
    top_of, parent_of = np.arange(parents) // PARENTS_OF_TOP, np.arange(classes) // CLASSES_OF_PARENT
    branch = rng.normal(0, SPREAD_TOP, tops)[top_of] + rng.normal(0, SPREAD_PARENT, parents)
    right = _sigmoid(MEAN_LOGIT + branch[parent_of] + rng.normal(0, SPREAD_CLASS, classes))
    polysemy = np.where(rng.random(classes) < POLYSEMOUS, rng.beta(3, 3, classes), 0.0)
    wrong = np.stack([polysemy, (1 - polysemy) * SIBLINGS, (1 - polysemy) * (1 - SIBLINGS)], axis=1)
    effects = rng.normal(0, EFFECT_OF_PARENT, (parents, len(NAMES)))[parent_of]
    effects += rng.normal(0, EFFECT_OF_CLASS, (classes, len(NAMES)))
    if variant != "effects_everywhere":
        effects[:, TEXTS.stop :] = 0.0  # METHODS.md names them beside the firing of texts
    sizes = rng.permutation(class_sizes(classes, rows))
    states = np.column_stack([right, (1 - right)[:, None] * wrong])
    return World(seed, variant, sizes, states, effects, _taxonomy(parent_of, top_of))


def _taxonomy(parent_of: npt.NDArray[np.intp], top_of: npt.NDArray[np.intp]) -> Taxonomy:
    """Ids sort classes, parents, tops, so that the label of a class is its number."""
    levels = {"c": ("class", len(parent_of)), "p": ("kind", len(top_of)), "t": ("top", int(top_of.max()) + 1)}
    categories = [Category(f"{k}{i:06}", f"{name} {i}") for k, (name, n) in levels.items() for i in range(n)]
    edges = [Edge(f"c{i:06}", f"p{parent:06}") for i, parent in enumerate(parent_of)]
    edges += [Edge(f"p{i:06}", f"t{top:06}") for i, top in enumerate(top_of)]
    return build_taxonomy(categories, edges, origin="synthetic web")


def draw_web(
    seed: int,
    *,
    classes: int = 1800,
    rows: int = 1_000_000,
    variant: Variant = "full",
    hashed_rows: int | None = None,
) -> SyntheticWeb:
    """A whole web at once; arguments as `draw_world` and `draw_bucket`."""
    return draw_bucket(draw_world(seed, classes=classes, rows=rows, variant=variant), 0, 1, hashed_rows=hashed_rows)


def draw_chunks(world: World, num_buckets: int, *, hashed_rows: int = 0) -> Iterator[SyntheticWeb]:
    """The web of a world, bucket after bucket in key order, with the memory of one."""
    return (draw_bucket(world, bucket, num_buckets, hashed_rows=hashed_rows) for bucket in range(num_buckets))


def draw_bucket(world: World, bucket: int, num_buckets: int, *, hashed_rows: int | None = None) -> SyntheticWeb:
    """The candidates of one bucket, a pure function of its arguments.

    Args:
        world: their classes.
        bucket: in [0, num_buckets).
        num_buckets: equal ranges of the keys.
        hashed_rows: rows whose key is the hash of their URI, as those of gold and audit must be, a uniform sample:
            1.5 us each for each bucket there is, since most URIs hash elsewhere. The other rows have random keys and
            URIs that spell them. None: all.
    """
    rng = np.random.default_rng([world.seed, 2, bucket])
    label = _labels(world, bucket, num_buckets, rng)
    cumulative = np.cumsum(world.states, axis=1)[:, :-1]
    state = (rng.random(len(label))[:, None] > cumulative[label]).sum(axis=1).astype(np.int8)
    effects = world.effects[label]
    parts = [
        *_texts(state, effects[:, TEXTS], rng),
        _links(state, effects[:, LINKS], rng),
        _clicks(state, effects[:, CLICKS], rng, blind=world.variant == "blind_positions"),
        _scores(state, effects[:, CLASSIFIER], world.scored[label], rng),
    ]
    fired = [part["rows"] > 0 for part in parts[:CLICKS]] + [parts[CLICKS]["clicks"] > 0]
    exists = np.flatnonzero(np.logical_or.reduce(fired))
    hashed = len(exists) if hashed_rows is None else min(hashed_rows, len(exists))
    keys, uris = _keys(world.seed, bucket, num_buckets, len(exists), hashed, rng)
    return SyntheticWeb(world, _table(keys, uris, label[exists], parts, exists), state[exists])


def _labels(world: World, bucket: int, num_buckets: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """(n,) classes of the bucket's pairs in random order; over all buckets each class has its size to one pair."""
    start = np.random.default_rng([world.seed, 3]).random(len(world.sizes))
    share = world.sizes / EXISTING / num_buckets
    counts = np.floor(share * (bucket + 1) + start) - np.floor(share * bucket + start)
    return rng.permutation(np.repeat(np.arange(len(counts), dtype=np.int32), counts.astype(np.int64)))


Part = dict[str, npt.NDArray[Any]]  # name of the part of a source's evidence -> (n,); those left out are 0, or null


def _texts(state: npt.NDArray[np.int8], effects: Floats, rng: np.random.Generator) -> list[Part]:
    """Alt text, caption, anchor text of one page: what it says of the image is one statement."""
    page = rng.normal(0, EFFECT_OF_PAGE, len(state))
    parts: list[Part] = []
    for rates, looking, effect in zip(FIRING, LOOKING, effects.T, strict=True):
        looked = rng.random(len(state)) < looking
        fired = looked & (rng.random(len(state)) < _sigmoid(_logit(rates)[state] + effect + page))
        parts.append({"looked": looked, "rows": fired, "domains": fired, "support": fired, "statements": looked})
    return parts


def _links(state: npt.NDArray[np.int8], effect: Floats, rng: np.random.Generator) -> Part:
    """Domains that link to the image, each with its mirrors: pages that mostly say what their domain says."""
    looked = rng.random(len(state)) < LINKED
    rows = np.flatnonzero(looked)
    domains = rng.geometric(MORE_DOMAINS, len(rows))
    says = np.repeat(_sigmoid(_logit(AGREEMENT)[state[rows]] + effect[rows]), domains)
    pages = np.minimum((1 - rng.random(len(says))) ** (-1 / MIRROR_TAIL), MAX_MIRRORS).astype(np.int64)
    # Beta-binomial: a domain's own rate is drawn around `says`, nearly always close to 0 or 1.
    split = (1 - PAGE_CORRELATION) / PAGE_CORRELATION
    asserting = rng.binomial(pages, rng.beta(says * split, (1 - says) * split))
    worth = 1 / (1 + (pages - 1) * PAGE_CORRELATION)
    starts = np.cumsum(domains) - domains
    sums = {"rows": asserting, "domains": asserting > 0, "support": asserting * worth, "statements": pages * worth}
    part: Part = {"looked": looked}
    for name, values in sums.items():
        part[name] = np.zeros(len(state), np.float64)
        part[name][rows] = np.add.reduceat(values.astype(np.float64), starts) if len(rows) else 0
    return part


def _clicks(state: npt.NDArray[np.int8], effect: Floats, rng: np.random.Generator, *, blind: bool) -> Part:
    """Clicks where the image was shown for the label, at a place that a ranker chose, or chance where `blind`."""
    n = len(state)
    shown = rng.random(n) < SHOWN
    impressions = np.where(shown, np.maximum(np.rint(rng.lognormal(*IMPRESSIONS, n)), 1), 0).astype(np.int64)
    place = 1 + rng.poisson(PLACES[rng.permutation(state) if blind else state])
    attraction = rng.gamma(ATTRACTION_SHAPE, ATTRACTION[state] / ATTRACTION_SHAPE) * np.exp(effect)
    seen = place**-POSITION_EXPONENT
    clicks = rng.binomial(impressions, np.minimum(attraction * seen, 1))
    return {
        "looked": shown,
        "rows": shown,
        "clicks": clicks,
        "impressions": impressions,
        "exposure": impressions * seen,
    }


def _scores(
    state: npt.NDArray[np.int8], effect: Floats, scored: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Part:
    score = np.where(scored, rng.normal(SCORE[state] + effect), np.nan)
    return {"looked": scored, "rows": scored, "score": score}


def _keys(
    seed: int, bucket: int, num_buckets: int, n: int, hashed: int, rng: np.random.Generator
) -> tuple[pa.Array, pa.Array]:
    """(keys, uris) of n images of the bucket in key order, `hashed` of them with the hash of their URI as key."""
    low, high = (-(-(i << 32) // num_buckets) << 32 for i in (bucket, bucket + 1))  # as `buckets_of` cuts
    head = rng.integers(low, high - 1, n, np.uint64, endpoint=True)
    words = np.stack([head.astype(">u8").view(np.uint64), rng.integers(0, 2**64 - 1, n, np.uint64)], axis=1).view(
        np.uint8
    )
    words = words.reshape(n, KEY_BYTES)
    texts = _spelled(words)
    if hashed:
        found_keys, found_uris = _hashed(seed, bucket, low, high, hashed)
        words[:hashed], texts = found_keys, pa.concat_arrays([found_uris, texts[hashed:]])
    order = np.argsort(words.view(f"S{KEY_BYTES}").ravel(), kind="stable")
    keys = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), n, [None, pa.py_buffer(np.ascontiguousarray(words[order]))]
    )
    return keys, texts.take(pa.array(order))


def _spelled(words: npt.NDArray[np.uint8]) -> pa.Array:
    """(n,) URIs with the keys as hex digits."""
    head = b"https://web.test/"
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(words), len(head) + 2 * KEY_BYTES), np.uint8)
    text[:, : len(head)] = np.frombuffer(head, np.uint8)
    text[:, len(head) :: 2], text[:, len(head) + 1 :: 2] = digits[words >> 4], digits[words & 15]
    offsets = np.arange(len(words) + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(text))


def _hashed(seed: int, bucket: int, low: int, high: int, n: int) -> tuple[npt.NDArray[np.uint8], pa.Array]:
    """((n, 16) keys, uris): addresses in turn, of which those count that hash into the bucket."""
    kept_keys, kept_uris, first, step, found = [], [], 0, 100_000, 0
    while found < n:
        uris = [f"https://web.test/{seed}/{bucket}/{i}.jpg" for i in range(first, first + step)]
        words = np.frombuffer(image_keys(uris).buffers()[1], np.uint8).reshape(-1, KEY_BYTES)
        head = words[:, :8].copy().view(">u8").ravel().astype(np.uint64)
        mine = np.flatnonzero((head >= np.uint64(low)) & (head <= np.uint64(high - 1)))
        kept_keys.append(words[mine])
        kept_uris.extend(uris[i] for i in mine.tolist())
        first, found = first + step, found + len(mine)
    return np.concatenate(kept_keys)[:n], pa.array(kept_uris[:n], pa.string())


_DTYPES: Final = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float32(): np.float32}


def _table(
    keys: pa.Array, uris: pa.Array, label: npt.NDArray[np.int32], parts: list[Part], rows: npt.NDArray[np.intp]
) -> pa.Table:
    """Evidence of the chosen rows of all pairs."""
    schema = evidence_schema(NAMES)
    opportunity = np.zeros(len(rows), np.uint64)
    for i, part in enumerate(parts):
        opportunity |= part["looked"][rows].astype(np.uint64) << np.uint64(i)
    given = {f"{name}.{key}": values for name, part in zip(NAMES, parts, strict=True) for key, values in part.items()}
    # Most columns say nothing and are one and the same array.
    empty = {kind: pa.array(np.zeros(len(rows), dtype)) for kind, dtype in _DTYPES.items()}
    columns = [keys, pa.array(label), uris, pa.array(opportunity)]
    for field in list(schema)[len(columns) :]:
        if field.name not in given:
            columns.append(pa.nulls(len(rows), field.type) if field.nullable else empty[field.type])
            continue
        values = given.pop(field.name)[rows].astype(_DTYPES[field.type])
        columns.append(pa.array(values, mask=np.isnan(values) if field.nullable else None))
    return pa.table(columns, schema=schema)


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _logit(p: Floats) -> Floats:
    return np.log(p / (1 - p))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classes", type=int, default=1800)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--variant", choices=get_args(Variant), default="full")
    parser.add_argument("--buckets", type=int, default=1)
    parser.add_argument("--hashed-rows", type=int, default=10_000, help="of each bucket, for gold and audit")
    parser.add_argument("--out", type=Path, help="folder for evidence, truth and hierarchy; none: count only")
    args = parser.parse_args()
    start = time.perf_counter()
    world = draw_world(args.seed, classes=args.classes, rows=args.rows, variant=args.variant)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, table in zip(("vocabulary", "edges"), world.taxonomy.to_tables(), strict=True):
            pq.write_table(table, args.out / f"{name}.parquet")
    counts = np.zeros(len(STATES), np.int64)
    for bucket, web in enumerate(draw_chunks(world, args.buckets, hashed_rows=args.hashed_rows)):
        counts += np.bincount(web.state, minlength=len(STATES))
        if args.out:
            name = f"{bucket:05}-of-{args.buckets:05}.parquet"
            pq.write_table(web.evidence(), args.out / f"evidence-{name}", compression="zstd")
            pq.write_table(pa.table({"state": web.state}), args.out / f"truth-{name}")
    seconds = time.perf_counter() - start
    states = dict(zip(STATES, counts.tolist(), strict=True))
    print(json.dumps({"rows": int(counts.sum()), "states": states, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
