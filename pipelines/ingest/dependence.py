"""How much statements are worth that are not independent: pages of one domain, images below one template.

In: merged rows (image, label, source, domain, text). Out: for each row the number of independent statements that it is
worth: rows * w / (1 + (m_d - 1) rho), where m_d statements about the image come from its domain, rho is the correlation
of such statements, and w = 1 / (1 + (f - 1) rho_text) for a text that f images of the domain bear. Summed over a
label's rows it is the label's support, over all rows of the image what the source could have said (Kish 1965, design
effect; METHODS.md, section 1). Rows without a domain stand for themselves.

rho is read off the pages, given the candidate: with q the share of an image's statements that say its label, q_d that
of pairs of one domain that both do, q_b that of pairs of two domains, rho = (q_d - q_b) / (q - q_b). It takes the pairs
of two domains for independent given the truth, so it does not mistake "most pages are right" for correlation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .aggregate import Int64s, Pairs, dense_ranks, sort_order, starts_of
from .domains import NO_DOMAIN
from .raw import NO_LABEL
from .templates import NO_TEXT, TemplateCounts, template_hashes

Floats = npt.NDArray[np.float64]

MIN_CANDIDATES: Final = 100  # with fewer, the correlation is not told from noise
DEFAULT_CORRELATION: Final = 0.5  # where it cannot be estimated: a domain's second page is worth a third


@dataclasses.dataclass(frozen=True)
class Correlation:
    """How alike a source's pages of one domain are.

    Attributes:
        value: in [0, 1].
        candidates: (image, label) pairs that it was estimated from.
        how: 'estimated', 'given', or 'default' where there were too few.
    """

    value: float
    candidates: int
    how: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Dependence:
    """What is known of each source: `page` and `template` (sources,) correlations; `templates` counts, or None."""

    page: Floats
    template: Floats
    templates: TemplateCounts | None = None

    @classmethod
    def none(cls, num_sources: int) -> Dependence:
        """Every row stands for itself."""
        return cls(np.zeros(num_sources), np.zeros(num_sources))

    def effective(self, pairs: Pairs, refused: int) -> Floats:
        """(n,) independent statements that merged and sorted rows are worth; 0 for those of the source `refused`."""
        told = pairs.source != refused
        source = np.where(told, pairs.source, 0).astype(np.int64)
        worth = pairs.rows * self._text_weights(pairs, source)
        worth /= 1.0 + (_statements_of_domain(pairs) - 1.0) * self.page[source]
        return np.where(told, worth, 0.0)

    def _text_weights(self, pairs: Pairs, source: Int64s) -> Floats:
        weights = np.ones(len(source))
        if self.templates is not None:
            hashes = template_hashes(pairs)
            rows = np.flatnonzero(hashes != NO_TEXT)
            distinct, index = np.unique(hashes[rows], return_inverse=True)
            images = self.templates.count(distinct)[index]
            weights[rows] = 1.0 / (1.0 + (images - 1.0) * self.template[source[rows]])
        return weights


def _statements_of_domain(pairs: Pairs) -> Floats:
    """(n,) statements that each row's domain makes about its image; 1 where there is no domain."""
    rows = np.flatnonzero(pairs.domain != NO_DOMAIN)
    found = np.ones(len(pairs.key))
    if len(rows):
        key, source, domain = pairs.key[rows], pairs.source[rows], pairs.domain[rows]
        order = sort_order([key, source, dense_ranks(domain)])
        starts = starts_of(key[order], source[order], domain[order])
        total = np.add.reduceat(pairs.rows[rows][order], starts)
        found[rows[order]] = np.repeat(total, np.diff(starts, append=len(rows)))
    return found


def page_correlations(pairs: Pairs, given: Sequence[float | None]) -> tuple[Correlation, ...]:
    """The correlation of each source.

    Args:
        pairs: merged and sorted rows of a sample of the images.
        given: what the configuration says of each source; None asks for an estimate.
    """
    return tuple(
        Correlation(value, 0, "given") if value is not None else _estimate(pairs, source)
        for source, value in enumerate(given)
    )


def _estimate(pairs: Pairs, source: int) -> Correlation:
    rows = np.flatnonzero((pairs.source == source) & (pairs.domain != NO_DOMAIN))
    key, label, count = pairs.key[rows], pairs.label[rows], pairs.rows[rows].astype(np.float64)
    domain = dense_ranks(pairs.domain[rows])
    if not len(rows):
        return Correlation(DEFAULT_CORRELATION, 0, "default")
    # Of each image: its statements m, the pairs of them within a domain, the pairs between domains.
    by_domain = np.lexsort((domain, key))
    start = starts_of(key[by_domain], domain[by_domain])
    of_domain = np.add.reduceat(count[by_domain], start)
    owner = key[by_domain][start]
    said, within, squares = (np.bincount(owner, v) for v in (of_domain, of_domain * (of_domain - 1), of_domain**2))
    # Of each candidate the same of those that say its label; texts of one domain are added up first.
    start = starts_of(key, label, domain)
    asserted = np.add.reduceat(count, start)
    first = starts_of(key[start], label[start])
    image = key[start][first]
    mine, mine_within, mine_squares = (
        np.add.reduceat(v, first) for v in (asserted, asserted * (asserted - 1), asserted**2)
    )
    between, mine_between = said[image] ** 2 - squares[image], mine**2 - mine_squares
    usable = (label[start][first] != NO_LABEL) & (within[image] > 0) & (between > 0)
    n = int(usable.sum())
    if n < MIN_CANDIDATES:
        return Correlation(DEFAULT_CORRELATION, n, "default")
    share = float((mine / said[image])[usable].mean())
    same = float((mine_within[usable] / within[image][usable]).mean())
    apart = float((mine_between[usable] / between[usable]).mean())
    if share - apart <= 0:  # all pages of every image agree: nothing tells domains apart
        return Correlation(DEFAULT_CORRELATION, n, "default")
    return Correlation(float(np.clip((same - apart) / (share - apart), 0.0, 1.0)), n, "estimated")
