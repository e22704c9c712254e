"""Noisy labels with known truth: which leaf each web picture shows, what is claimed of it, and which source says so.

In: a generator and a number of pictures. Out: `Signals`, arrays of pictures and of candidate (picture, label)
pairs with their state (correct, polysemy, sibling, junk) and the evidence of five sources. Source: METHODS.md section
6, in miniature: class sizes r^-0.561, a class's own share of errors, firing by state with effects of class, source and
page, linking domains with mirrors, clicks that fade with the position, a classifier for the larger classes. Left out
of it: the lower tail of class sizes, and the switch that makes positions independent of the truth. Changed: a class's
share of correct candidates is higher (logit -0.1 for -0.55), clicks are twice as frequent, and the classifier knows the
larger 80 % of the classes. Pictures with strong evidence (planted copies, failures) make every precision look a little
better than the ordinary ones alone would.
"""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .hierarchy import OTHER_MEANING, leaves, siblings

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STATES: Final = ("correct", "polysemy", "sibling", "junk")
SOURCES: Final = ("alt", "caption", "anchor", "clicks", "classifier")
CORRECT: Final = 0

# By state, as in METHODS.md section 6; the caption's means are ours, and opportunities are a picture's, not a row's.
_FIRING: Final = {"alt": (0.75, 0.72, 0.5, 0.3), "caption": (0.6, 0.58, 0.38, 0.15), "anchor": (0.5, 0.48, 0.3, 0.15)}
_OPPORTUNITY: Final = {"alt": 0.75, "caption": 0.45, "anchor": 0.35, "clicks": 0.35, "classifier": 0.95}
_CAPTION_MEAN: Final = (0.9, 0.7, 0.2, -0.3)  # of the logit of its confidence
_AGREEMENT: Final = (0.62, 0.58, 0.38, 0.20)  # share of the linking domains that say the label
_ATTRACTION: Final = (0.30, 0.07, 0.12, 0.04)  # clicks of an impression at the first position
_POSITION: Final = (4.0, 6.0, 9.0, 14.0)
_CLASSIFIER_MEAN: Final = (1.2, -0.7, 0.25, -0.9)
_CLASSIFIER_SILENT: Final = -0.8  # scores below are not reported
_CLASSIFIER_SHARE: Final = 0.8  # of the leaves, the larger ones; the others are unknown to it
_MAX_MIRRORS: Final = 12  # of 500: a page more is no domain more
_STRONG: Final = 2.0  # added to the logits of a strong candidate's evidence
_NUMBER_OF_CANDIDATES: Final = (0.5, 0.28, 0.15, 0.07)  # share of the pictures with 1, 2, 3, 4


class _World(NamedTuple):
    """What is fixed for all pictures: n leaves, by their position in `leaves()`."""

    claimed: Floats  # (n, n): weight of a candidate of label (row) that shows a leaf (column); sums to 1
    state: Ints  # (n, n): the state of such a pair
    effects: dict[str, Floats]  # by source, (n,): what a label adds to the firing's logit
    known: Bools  # (n,): labels that the classifier knows


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What one source says of n candidates; what it has no number for is absent.

    `pages` are (pages of each linking domain) in one list for each candidate; `looked` (m,) tells of each picture
    whether the source looked at it at all.
    """

    fired: Bools
    looked: Bools
    score: Floats | None = None
    pages: tuple[tuple[int, ...], ...] = ()
    clicks: Ints | None = None
    impressions: Ints | None = None


@dataclasses.dataclass(frozen=True)
class Signals:
    """m pictures and n candidates, sorted by picture; leaves by their position in `leaves()`."""

    leaf: Ints  # (m,) what a picture shows
    picture: Ints  # (n,) which picture
    label: Ints  # (n,) what is claimed of it
    state: Ints  # (n,) position in STATES
    evidence: dict[str, Evidence]


def class_sizes(count: int) -> Floats:
    """(count,) shares of the classes by rank, the upper part of the fitted curve."""
    sizes = np.arange(1, count + 1) ** -0.561
    return np.asarray(sizes / sizes.sum())


def _world(rng: np.random.Generator) -> _World:
    all_leaves = leaves()
    n = len(all_leaves)
    place = {leaf.id: i for i, leaf in enumerate(all_leaves)}
    sizes = rng.permutation(class_sizes(n))
    parents = sorted({leaf.parents[0] for leaf in all_leaves})
    by_parent = dict(zip(parents, rng.normal(0, 0.5, len(parents)).tolist(), strict=True))
    own = rng.normal(0, 0.7, n)
    claimed, state = np.zeros((n, n)), np.full((n, n), STATES.index("junk"))
    for i, leaf in enumerate(all_leaves):
        share = 1 / (1 + np.exp(-(-0.1 + by_parent[leaf.parents[0]] + own[i])))  # correct, METHODS' -0.55 raised
        wrong = np.zeros(n)
        others = [place[name] for name in siblings(leaf)]
        junk = [j for j in range(n) if j != i and j not in others]
        wrong[others] = 0.35 / len(others) if others else 0.0
        wrong[junk] = (1 - wrong.sum()) / len(junk)
        state[i, others] = STATES.index("sibling")
        if leaf.id in OTHER_MEANING:
            second = place[OTHER_MEANING[leaf.id]]
            mode = float(rng.beta(3, 3))
            wrong *= 1 - mode
            wrong[second] += mode
            state[i, second] = STATES.index("polysemy")
        claimed[i] = sizes[i] * (1 - share) * wrong
        claimed[i, i], state[i, i] = sizes[i] * share, CORRECT
    effects = {}
    for source in _FIRING:
        shared = dict(zip(parents, rng.normal(0, 0.3, len(parents)).tolist(), strict=True))
        effects[source] = rng.normal(0, 0.5, n) + np.array([shared[leaf.parents[0]] for leaf in all_leaves])
    return _World(claimed, state, effects, sizes >= np.quantile(sizes, 1 - _CLASSIFIER_SHARE))


def draw_signals(rng: np.random.Generator, pictures: int, *, strong_leaves: Ints) -> Signals:
    """Pictures and candidates; every candidate has a source that fired, every picture a candidate.

    Args:
        rng: of all draws.
        pictures: how many.
        strong_leaves: (k,) what the first k pictures show; they have a correct candidate with strong evidence, so
            that most of them survive a filter.
    """
    world = _world(rng)
    strong = _draw_part(rng, world, len(strong_leaves), strong_leaves)
    return _join(strong, _draw_part(rng, world, pictures - len(strong_leaves), None))


def _draw_part(rng: np.random.Generator, world: _World, pictures: int, strong_leaves: Ints | None) -> Signals:
    """More than asked for, of which those are taken that have a candidate that fired."""
    drawn = 4 * pictures if strong_leaves is not None else 2 * pictures + 32
    repeated = None if strong_leaves is None else np.tile(strong_leaves, 4)
    leaf, picture, label = _draw_candidates(rng, world, drawn, repeated)
    state = world.state[label, leaf[picture]]
    evidence = _draw_evidence(rng, world, picture, label, state, drawn, strong=strong_leaves is not None)
    exists = np.zeros(len(picture), bool)
    for source in ("alt", "caption", "anchor"):
        exists |= evidence[source].fired
    clicks = evidence["clicks"]
    assert clicks.clicks is not None
    exists |= clicks.fired & (clicks.clicks > 0)
    usable = np.bincount(picture[exists], minlength=drawn) > 0
    if strong_leaves is None:
        kept = np.flatnonzero(usable)[:pictures]
    else:  # of each leaf's four draws the first that is usable
        kept = usable.reshape(4, pictures).argmax(axis=0) * pictures + np.arange(pictures)
    assert len(kept) == pictures, f"{len(kept)} of {pictures} pictures have a candidate"
    assert usable[kept].all()
    return _select(Signals(leaf, picture, label, state, evidence), kept, exists)


def _draw_candidates(
    rng: np.random.Generator, world: _World, pictures: int, strong_leaves: Ints | None
) -> tuple[Ints, Ints, Ints]:
    """(leaf (m,), picture (n,), label (n,)): a first candidate gives a picture its leaf, further ones share it."""
    n = len(world.claimed)
    if strong_leaves is not None:
        first = leaf = strong_leaves
    else:
        first, leaf = np.divmod(rng.choice(n * n, pictures, p=world.claimed.ravel()), n)
    more = rng.choice(len(_NUMBER_OF_CANDIDATES), pictures, p=_NUMBER_OF_CANDIDATES)
    # Gumbel: the k largest of log weight + noise are k draws without replacement.
    with np.errstate(divide="ignore"):
        keys = np.log(world.claimed.T[leaf]) + rng.gumbel(size=(pictures, n))
    keys[np.arange(pictures), first] = -np.inf
    order = np.argsort(-keys, axis=1)
    labels = np.concatenate([first[:, None], order[:, : len(_NUMBER_OF_CANDIDATES) - 1]], axis=1)
    chosen = np.arange(len(_NUMBER_OF_CANDIDATES)) <= more[:, None]
    return leaf, np.repeat(np.arange(pictures), more + 1), labels[chosen]


def _draw_evidence(
    rng: np.random.Generator, world: _World, picture: Ints, label: Ints, state: Ints, pictures: int, *, strong: bool
) -> dict[str, Evidence]:
    n = len(picture)
    looked = {source: rng.random(pictures) < share for source, share in _OPPORTUNITY.items()}
    boost = np.where(state == CORRECT, _STRONG, 0.0) if strong else np.zeros(n)
    if strong:
        for everywhere in looked.values():
            everywhere[:] = True
    page = rng.normal(0, 0.9, pictures)[picture] + boost
    fired = {}
    for source, shares in _FIRING.items():
        odds = np.log(np.array(shares) / (1 - np.array(shares)))[state] + world.effects[source][label] + page
        fired[source] = (rng.random(n) < 1 / (1 + np.exp(-odds))) & looked[source][picture]
    caption = 1 / (1 + np.exp(-(rng.normal(0, 1, n) + np.array(_CAPTION_MEAN)[state] + boost)))
    score = rng.normal(0, 1, n) + np.array(_CLASSIFIER_MEAN)[state] + boost
    sure = world.known[label] & (score > _CLASSIFIER_SILENT) & looked["classifier"][picture]
    return {
        "alt": Evidence(fired["alt"], looked["alt"], pages=_alt_pages(rng, fired["alt"])),
        "caption": Evidence(fired["caption"], looked["caption"], score=caption),
        "anchor": Evidence(fired["anchor"], looked["anchor"], pages=_link_pages(rng, fired["anchor"], state, boost)),
        "clicks": _draw_clicks(rng, state, looked["clicks"], picture),
        "classifier": Evidence(sure, looked["classifier"], score=1 / (1 + np.exp(-score))),
    }


def _alt_pages(rng: np.random.Generator, fired: Bools) -> tuple[tuple[int, ...], ...]:
    """Alternative texts stand on one page, now and then on a second of the same domain."""
    pages = 1 + (rng.random(len(fired)) < 0.2)
    return tuple((int(count),) if said else () for count, said in zip(pages, fired, strict=True))


def _link_pages(rng: np.random.Generator, fired: Bools, state: Ints, boost: Floats) -> tuple[tuple[int, ...], ...]:
    """Of Geometric(.35) linking domains those that agree, each with its mirrors (Pareto 1.1)."""
    n = len(fired)
    linking = rng.geometric(0.35, n) + np.where(boost > 0, 2, 0)
    agreeing = np.maximum(rng.binomial(linking, np.array(_AGREEMENT)[state]), 1)
    mirrors = np.minimum(np.floor(rng.pareto(1.1, (n, int(agreeing.max(initial=1)))) + 1), _MAX_MIRRORS).astype(int)
    return tuple(
        tuple(row[:count].tolist()) if said else () for row, count, said in zip(mirrors, agreeing, fired, strict=True)
    )


def _draw_clicks(rng: np.random.Generator, state: Ints, looked: Bools, picture: Ints) -> Evidence:
    n = len(state)
    impressions = np.maximum(np.rint(rng.lognormal(2.5, 1.2, n)), 1).astype(np.int64)
    position = 1 + rng.poisson(np.array(_POSITION)[state])
    attraction = rng.gamma(3, np.array(_ATTRACTION)[state] / 3)
    clicks = rng.binomial(impressions, np.minimum(2 * attraction * position**-0.9, 1.0))  # twice: few pictures
    fired = looked[picture] & (rng.random(n) < 0.8)
    return Evidence(fired, looked, clicks=clicks, impressions=impressions)


def _select(signals: Signals, pictures: Ints, exists: Bools) -> Signals:
    """The chosen pictures, renumbered, with those of their candidates that exist."""
    number = np.full(len(signals.leaf), -1)
    number[pictures] = np.arange(len(pictures))
    rows = np.flatnonzero(exists & (number[signals.picture] >= 0))
    rows = rows[np.argsort(number[signals.picture[rows]], kind="stable")]

    def cut(e: Evidence) -> Evidence:
        return Evidence(
            e.fired[rows],
            e.looked[pictures],
            None if e.score is None else e.score[rows],
            tuple(e.pages[i] for i in rows) if e.pages else (),
            None if e.clicks is None else e.clicks[rows],
            None if e.impressions is None else e.impressions[rows],
        )

    return Signals(
        signals.leaf[pictures],
        number[signals.picture[rows]],
        signals.label[rows],
        signals.state[rows],
        {name: cut(e) for name, e in signals.evidence.items()},
    )


def _join(first: Signals, second: Signals) -> Signals:
    def both(a: npt.NDArray[np.generic] | None, b: npt.NDArray[np.generic] | None) -> npt.NDArray[np.generic] | None:
        return None if a is None or b is None else np.concatenate([a, b])

    evidence = {}
    for name, a in first.evidence.items():
        b = second.evidence[name]
        values = {
            field: both(getattr(a, field), getattr(b, field))
            for field in ("fired", "looked", "score", "clicks", "impressions")
        }
        evidence[name] = Evidence(**values, pages=a.pages + b.pages)  # type: ignore[arg-type]
    return Signals(
        np.concatenate([first.leaf, second.leaf]),
        np.concatenate([first.picture, second.picture + len(first.leaf)]),
        np.concatenate([first.label, second.label]),
        np.concatenate([first.state, second.state]),
        evidence,
    )
