"""Sense out of raw rows: accepted pairs as numbers, and rejects with a reason.

In: a `RawBatch`. Out: `Accepted`, whose columns are small integers and one list of distinct canonical URIs, and
`Rejected` rows. All work on text is done once for each distinct value of the batch. The first reason that
applies counts, in the order in which the checks stand in `Validator`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.taxonomy import Taxonomy

from ..mixing import text_word
from ..schema import REJECT_REASONS
from .columns import Bools, Text, as_string, decodable, distinct, shown
from .domains import NO_DOMAIN, DomainHashes, shared_domain_hashes
from .labels import RowLabels, TextMatcher, lookup, source_index
from .numbers import exposures, parse_counts, parse_flags, parse_positions, parse_scores
from .raw import MAX_SHOWN, TEXT_FIELDS, RawBatch
from .templates import NO_TEXT
from .uris import canonical_uris

REFUSED: Final = np.uint8(255)  # the source of verified negatives: whoever said so, a person saw the image

_CODES: Final = {reason: np.int8(i + 1) for i, reason in enumerate(REJECT_REASONS)}


@dataclasses.dataclass(frozen=True)
class Accepted:
    """n pairs of the valid rows; a row of text has one for each of its labels.

    `rows`: how many rows. `uris`: (m,) distinct canonical URIs. `uri`: (n,) int32 index into them. `label`: (n,)
    int32, `NO_LABEL` for a row without. `source`: (n,) uint8, `REFUSED` for a verified negative, which has none of the
    following. `domain`, `text`: (n,) uint64 hash, 0 for none. `score`: (n,) float32, NaN for none. `clicks`,
    `impressions`: (n,) int64; `exposure`: (n,) int64 in units of `numbers.EXPOSURE_UNIT`.
    """

    rows: int
    uris: pa.Array
    uri: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    source: npt.NDArray[np.uint8]
    domain: npt.NDArray[np.uint64]
    text: npt.NDArray[np.uint64]
    score: npt.NDArray[np.float32]
    clicks: npt.NDArray[np.int64]
    impressions: npt.NDArray[np.int64]
    exposure: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Rejected rows of a batch, in the columns of `REJECTS` but for the file's name."""

    reason: pa.Array
    row: pa.Array
    uri: pa.Array
    label: pa.Array
    source: pa.Array
    detail: pa.Array

    def __len__(self) -> int:
        return len(self.row)


class _Outcome:
    """Each row's reason, 0 while there is none; the first one stays."""

    def __init__(self, size: int) -> None:
        self.codes = np.zeros(size, np.int8)

    def reject(self, rows: Bools, reason: str) -> None:
        self.codes[rows & (self.codes == 0)] = _CODES[reason]


@dataclasses.dataclass
class Validator:
    """Checks the rows of one input.

    Attributes:
        taxonomy: where ids and names are looked up.
        labels: what the label column holds.
        sources: names of the known sources.
        source: the constant one of the input, or None.
        allowed_schemes: of URIs.
        uri_template: what makes a URI of the uri column.
        keep_unlabelled: rows without a label, and texts without a match, say that their source looked.
        open_images: names of sources in any case; a confidence of 0 is a verified negative.
        matcher: for labels that are text.
        position_exponents: (sources,) how fast impressions fade with their place.
        domains: the cache of registered domains.
    """

    taxonomy: Taxonomy
    labels: Literal["id", "name", "text"]
    sources: Sequence[str]
    source: str | None
    position_exponents: Sequence[float]
    allowed_schemes: tuple[str, ...]
    uri_template: str | None = None
    keep_unlabelled: bool = False
    open_images: bool = False
    matcher: TextMatcher | None = None
    domains: DomainHashes = dataclasses.field(default_factory=shared_domain_hashes)

    def __call__(self, batch: RawBatch) -> tuple[Accepted, Rejected]:
        """The batch's accepted and rejected rows."""
        size = len(batch.rows)
        outcome = _Outcome(size)
        texts = {}
        domain = np.full(size, NO_DOMAIN, np.uint64)
        for field in TEXT_FIELDS:
            if field in batch.columns:
                column, bad = as_string(batch.columns[field])
                outcome.reject(bad, "bad_row")
                if field == "page":  # nearly all differ, so that only their hosts are worth a dictionary
                    domain = self.domains(column)
                else:
                    texts[field] = distinct(column, trim=field != "uri")
        uris, uri_details = self._uris(texts["uri"], outcome)
        source = source_index(self.sources, self.source, texts.get("source"), size, any_case=self.open_images)
        labels = self._labels(texts["label"], source, outcome)
        outcome.reject(source < 0, "unknown_source")
        score = self._scores(batch, size, outcome)
        clicks, impressions = self._counts(batch, size, outcome)
        exposure = self._exposure(batch, source, impressions, outcome)
        text = self._texts(texts)
        refused = self._refused(batch, score, outcome)
        if refused is not None:
            outcome.reject(refused & texts["label"].missing, "missing_label")
            source, domain = np.where(refused, REFUSED, source), np.where(refused, np.uint64(NO_DOMAIN), domain)
            score = np.where(refused, np.float32(np.nan), score)
            clicks, impressions, exposure = (np.where(refused, 0, c) for c in (clicks, impressions, exposure))
            text = np.where(refused, np.uint64(NO_TEXT), text)
        keep = np.flatnonzero(outcome.codes == 0)
        row, label, probability = labels.of(keep)
        uris, uri = _compact(uris, texts["uri"].index[row])
        accepted = Accepted(
            len(keep), uris, uri, label, source[row].astype(np.uint8), domain[row], text[row],
            score[row] if probability is None or "score" in batch.columns else probability,
            clicks[row], impressions[row], exposure[row],
        )  # fmt: skip
        return accepted, _rejected(batch, outcome.codes, texts, uri_details)

    def _uris(self, text: Text, outcome: _Outcome) -> tuple[pa.Array, npt.NDArray[np.object_]]:
        outcome.reject(text.missing, "missing_uri")
        values = text.values
        if self.uri_template is not None:
            before, _, after = self.uri_template.partition("{}")
            values = pc.binary_join_element_wise(before, values, after, "")
        canonical = canonical_uris(values, self.allowed_schemes)
        for reason in ("bad_uri", "forbidden_scheme"):
            wrong = canonical.reasons == reason
            if wrong.any():
                outcome.reject(text.by_row(wrong, missing=False).astype(bool), reason)
        return canonical.uris, canonical.details

    def _labels(self, text: Text, source: npt.NDArray[np.int16], outcome: _Outcome) -> RowLabels:
        if not self.keep_unlabelled:
            outcome.reject(text.missing, "missing_label")
        if self.labels == "text":
            assert self.matcher is not None
            found = self.matcher(text, source, keep_unmatched=self.keep_unlabelled)
        else:
            found = lookup(self.taxonomy, text, names=self.labels == "name")
        for reason, rows in found.rejected.items():
            outcome.reject(rows, reason)
        return found

    def _scores(self, batch: RawBatch, size: int, outcome: _Outcome) -> npt.NDArray[np.float32]:
        if "score" not in batch.columns:
            return np.full(size, np.nan, np.float32)
        score, wrong = parse_scores(decodable(batch.columns["score"]))
        outcome.reject(wrong, "bad_score")
        return score

    def _refused(self, batch: RawBatch, score: npt.NDArray[np.float32], outcome: _Outcome) -> Bools | None:
        """(n,) rows that are verified negatives; None where the input has no way to say so."""
        if self.open_images:
            return np.asarray(score == 0)
        if "negative" not in batch.columns:
            return None
        refused, wrong = parse_flags(decodable(batch.columns["negative"]))
        outcome.reject(wrong, "bad_negative")
        return refused

    def _counts(
        self, batch: RawBatch, size: int, outcome: _Outcome
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        counts = [np.zeros(size, np.int64), np.zeros(size, np.int64)]
        given = np.ones(size, bool)
        for i, field in enumerate(("clicks", "impressions")):
            if field in batch.columns:
                counts[i], null, wrong = parse_counts(decodable(batch.columns[field]))
                outcome.reject(wrong, "bad_count")
                given &= ~null
            else:
                given[:] = False
        outcome.reject(given & (counts[0] > counts[1]), "bad_count")
        return counts[0], counts[1]

    def _exposure(
        self, batch: RawBatch, source: npt.NDArray[np.int16], impressions: npt.NDArray[np.int64], outcome: _Outcome
    ) -> npt.NDArray[np.int64]:
        """(n,) impressions by their places, in units of `EXPOSURE_UNIT`."""
        places = np.ones(len(impressions))
        if "position" in batch.columns:
            places, wrong = parse_positions(decodable(batch.columns["position"]))
            outcome.reject(wrong, "bad_position")
        exponents = np.array([*self.position_exponents, 0.0])  # the last one for unknown sources, -1
        return exposures(impressions, places, exponents[source])

    def _texts(self, texts: dict[str, Text]) -> npt.NDArray[np.uint64]:
        """(n,) hash of the text that each row was read from; `NO_TEXT` where there is none, or nothing to compare."""
        said = texts.get("text", texts["label"] if self.labels == "text" else None)
        if said is None:
            return np.full(len(texts["label"].index), NO_TEXT, np.uint64)
        lowered = pc.utf8_lower(said.values).to_pylist()
        hashes = np.array([text_word(value) if value else NO_TEXT for value in lowered], np.uint64)
        return said.by_row(hashes, missing=NO_TEXT).astype(np.uint64)


def _compact(uris: pa.Array, index: npt.NDArray[np.int64]) -> tuple[pa.Array, npt.NDArray[np.int32]]:
    """Only the URIs that are used, and the index into them."""
    used = np.zeros(len(uris), bool)
    used[index] = True
    if used.all():
        return uris, index.astype(np.int32)
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return uris.filter(pa.array(used)), place[index]


def _rejected(
    batch: RawBatch, codes: npt.NDArray[np.int8], texts: dict[str, Text], uri_details: npt.NDArray[np.object_]
) -> Rejected:
    """The rejected rows, then those that do not parse."""
    rows = np.flatnonzero(codes)
    bad = batch.bad
    reasons = [REJECT_REASONS[code - 1] for code in codes[rows].tolist()] + ["bad_row"] * len(bad)
    at = texts["uri"].index[rows]
    known = at < len(texts["uri"].values)
    detail: list[str | None] = [
        uri_details[i] if ok and reason in {"bad_uri", "forbidden_scheme"} else None
        for i, ok, reason in zip(at.tolist(), known.tolist(), reasons, strict=False)
    ]
    _add_values(detail, reasons, batch, rows)
    values = {field: shown(texts.get(field), rows, len(bad)) for field in ("uri", "label", "source")}
    return Rejected(
        pa.array(reasons, pa.string()),
        pa.array(batch.rows[rows].tolist() + [row.row for row in bad], pa.int64()),
        values["uri"], values["label"], values["source"],
        pa.array(detail + [_bad_detail(row.detail, row.text) for row in bad], pa.string()),
    )  # fmt: skip


def _add_values(detail: list[str | None], reasons: list[str], batch: RawBatch, rows: npt.NDArray[np.intp]) -> None:
    """The numbers as they were found, for the rows that they failed."""
    fields = {
        "bad_score": ("score",),
        "bad_count": ("clicks", "impressions"),
        "bad_position": ("position",),
        "bad_negative": ("negative",),
    }
    for i, (row, reason) in enumerate(zip(rows.tolist(), reasons, strict=False)):
        if reason in fields:
            found = {f: batch.columns[f][row].as_py() for f in fields[reason] if f in batch.columns}
            detail[i] = ", ".join(f"{field}: {_plain(value)}" for field, value in found.items())


def _plain(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value))[:MAX_SHOWN]


def _bad_detail(detail: str, text: str | None) -> str:
    return detail if text is None else f"{detail}: {text}"
