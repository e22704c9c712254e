"""Sense out of raw rows: accepted pairs as numbers, and rejects with a reason.

In: a `RawBatch`. Out: `Accepted`, whose columns are small integers and one list of distinct canonical URIs, and
`Rejected` rows. All work on text is done once for each distinct value of the batch. The first reason that
applies counts, in the order in which the checks stand in `Validator`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.taxonomy import Taxonomy

from ..schema import REJECT_REASONS
from .domains import NO_DOMAIN, DomainHashes, shared_domain_hashes
from .numbers import parse_counts, parse_scores
from .raw import MAX_SHOWN, TEXT_FIELDS, RawBatch
from .uris import canonical_uris

Bools = npt.NDArray[np.bool_]
NO_LABEL: Final = -1  # the label of a row that says: looked, and found nothing
_CODES: Final = {reason: np.int8(i + 1) for i, reason in enumerate(REJECT_REASONS)}


@dataclasses.dataclass(frozen=True)
class Accepted:
    """n valid rows.

    `uris`: (m,) distinct canonical URIs. `uri`: (n,) int32 index into them. `label`: (n,) int32, `NO_LABEL` for
    a row without. `source`: (n,) uint8. `domain`: (n,) uint64 hash, 0 for none. `score`: (n,) float32, NaN for
    none. `clicks`, `impressions`: (n,) int64.
    """

    uris: pa.Array
    uri: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    source: npt.NDArray[np.uint8]
    domain: npt.NDArray[np.uint64]
    score: npt.NDArray[np.float32]
    clicks: npt.NDArray[np.int64]
    impressions: npt.NDArray[np.int64]


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


@dataclasses.dataclass
class _Text:
    """A column of text by its distinct values; `index` is `len(values)` where the row has none."""

    values: pa.Array
    index: npt.NDArray[np.int64]

    def by_row(self, values: npt.NDArray[np.generic], missing: object) -> npt.NDArray[np.generic]:
        """Values of the distinct texts, spread over the rows."""
        return np.append(values, np.array([missing], values.dtype))[self.index]

    @property
    def missing(self) -> Bools:
        return np.asarray(self.index == len(self.values))


def _as_string(column: pa.Array) -> tuple[pa.StringArray, Bools]:
    """A column as text, and the mask of rows that are no UTF-8 (null there)."""
    bad = np.zeros(len(column), bool)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column = column.cast(pa.string()) if _is_plain(column) else column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        values = [_decoded(value) for value in column.cast(pa.binary()).to_pylist()]
        bad = np.array([value is False for value in values])
        column = pa.array([value or None for value in values], pa.string())
    return column, bad


def _distinct(column: pa.StringArray, *, trim: bool) -> _Text:
    """The distinct values of a column; empty text is none."""
    encoded = column.dictionary_encode()
    values = pc.utf8_trim_whitespace(encoded.dictionary) if trim else encoded.dictionary
    index = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = np.flatnonzero(pc.equal(values, "").to_numpy(zero_copy_only=False))
    if len(empty):
        index[np.isin(index, empty)] = len(values)
    return _Text(values, index)


def _is_plain(column: pa.Array) -> bool:
    """Whether a column's values need no check of their encoding: numbers and nulls."""
    return bool(pa.types.is_integer(column.type) or pa.types.is_null(column.type))


def _decoded(value: bytes | None) -> str | bool | None:
    """Text, None, or False where it is no UTF-8."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return False


class _Outcome:
    """Each row's reason, 0 while there is none; the first one stays."""

    def __init__(self, size: int) -> None:
        self.codes = np.zeros(size, np.int8)

    def reject(self, rows: Bools, reason: str) -> None:
        self.codes[rows & (self.codes == 0)] = _CODES[reason]


@dataclasses.dataclass
class Validator:
    """Checks the rows of one input.

    `sources` are the names of the known sources; `source` is the constant one of the input, or None.
    """

    taxonomy: Taxonomy
    labels_are_names: bool
    sources: Sequence[str]
    source: str | None
    allowed_schemes: tuple[str, ...]
    uri_template: str | None = None
    keep_unlabelled: bool = False
    open_images: bool = False
    domains: DomainHashes = dataclasses.field(default_factory=shared_domain_hashes)

    def __call__(self, batch: RawBatch) -> tuple[Accepted, Rejected]:
        """The batch's accepted and rejected rows."""
        size = len(batch.rows)
        outcome = _Outcome(size)
        texts = {}
        domain = np.full(size, NO_DOMAIN, np.uint64)
        for field in TEXT_FIELDS:
            if field in batch.columns:
                column, bad = _as_string(batch.columns[field])
                outcome.reject(bad, "bad_row")
                if field == "page":  # nearly all differ, so that only their hosts are worth a dictionary
                    domain = self.domains(column)
                else:
                    texts[field] = _distinct(column, trim=field != "uri")
        uris, uri_details = self._uris(texts["uri"], outcome)
        label = self._labels(texts["label"], outcome)
        source = self._sources(texts.get("source"), size, outcome)
        score = self._scores(batch, size, outcome)
        clicks, impressions = self._counts(batch, size, outcome)
        keep = np.flatnonzero(outcome.codes == 0)
        uris, uri = _compact(uris, texts["uri"].index[keep])
        accepted = Accepted(
            uris, uri, label[keep], source[keep],
            domain[keep],
            score[keep], clicks[keep], impressions[keep],
        )  # fmt: skip
        return accepted, _rejected(batch, outcome.codes, texts, uri_details)

    def _uris(self, text: _Text, outcome: _Outcome) -> tuple[pa.Array, npt.NDArray[np.object_]]:
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

    def _labels(self, text: _Text, outcome: _Outcome) -> npt.NDArray[np.int32]:
        if not self.keep_unlabelled:
            outcome.reject(text.missing, "missing_label")
        ambiguous = np.zeros(len(text.values), bool)
        if self.labels_are_names:
            found, ambiguous = self.taxonomy.lookup_names(text.values)
        else:
            found = self.taxonomy.lookup_ids(text.values)
        unknown = found.is_null().to_numpy(zero_copy_only=False) & ~ambiguous
        outcome.reject(text.by_row(unknown, missing=False).astype(bool), "unknown_label")
        outcome.reject(text.by_row(ambiguous, missing=False).astype(bool), "ambiguous_label")
        ids = found.fill_null(NO_LABEL).to_numpy(zero_copy_only=False)
        return text.by_row(ids, missing=NO_LABEL).astype(np.int32)

    def _sources(self, text: _Text | None, size: int, outcome: _Outcome) -> npt.NDArray[np.uint8]:
        if self.source is not None:
            return np.full(size, self.sources.index(self.source), np.uint8)
        assert text is not None
        values = pc.utf8_lower(text.values) if self.open_images else text.values
        found = pc.index_in(values, pa.array(self.sources, pa.string())).fill_null(-1)
        source = text.by_row(found.to_numpy(zero_copy_only=False), missing=-1)
        outcome.reject(np.asarray(source == -1), "unknown_source")
        return source.astype(np.uint8)

    def _scores(self, batch: RawBatch, size: int, outcome: _Outcome) -> npt.NDArray[np.float32]:
        if "score" not in batch.columns:
            return np.full(size, np.nan, np.float32)
        score, wrong = parse_scores(_decodable(batch.columns["score"]))
        outcome.reject(wrong, "bad_score")
        if self.open_images:
            outcome.reject(score == 0, "negative_label")
        return score

    def _counts(
        self, batch: RawBatch, size: int, outcome: _Outcome
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        counts = [np.zeros(size, np.int64), np.zeros(size, np.int64)]
        given = np.ones(size, bool)
        for i, field in enumerate(("clicks", "impressions")):
            if field in batch.columns:
                counts[i], null, wrong = parse_counts(_decodable(batch.columns[field]))
                outcome.reject(wrong, "bad_count")
                given &= ~null
            else:
                given[:] = False
        outcome.reject(given & (counts[0] > counts[1]), "bad_count")
        return counts[0], counts[1]


def _decodable(column: pa.Array) -> pa.Array:
    """Binary text as text; what is no UTF-8 becomes a text that is no number."""
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([v if v is None else v.decode(errors="replace") for v in column.to_pylist()], pa.string())


def _compact(uris: pa.Array, index: npt.NDArray[np.int64]) -> tuple[pa.Array, npt.NDArray[np.int32]]:
    """Only the URIs that are used, and the index into them."""
    used = np.zeros(len(uris), bool)
    used[index] = True
    if used.all():
        return uris, index.astype(np.int32)
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return uris.filter(pa.array(used)), place[index]


def _rejected(
    batch: RawBatch, codes: npt.NDArray[np.int8], texts: dict[str, _Text], uri_details: npt.NDArray[np.object_]
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
    shown = {field: _shown(texts.get(field), rows, len(bad)) for field in ("uri", "label", "source")}
    return Rejected(
        pa.array(reasons, pa.string()),
        pa.array(batch.rows[rows].tolist() + [row.row for row in bad], pa.int64()),
        shown["uri"], shown["label"], shown["source"],
        pa.array(detail + [_bad_detail(row.detail, row.text) for row in bad], pa.string()),
    )  # fmt: skip


def _add_values(detail: list[str | None], reasons: list[str], batch: RawBatch, rows: npt.NDArray[np.intp]) -> None:
    """The numbers as they were found, for the rows that they failed."""
    fields = {"bad_score": ("score",), "bad_count": ("clicks", "impressions")}
    for i, (row, reason) in enumerate(zip(rows.tolist(), reasons, strict=False)):
        if reason in fields:
            found = {f: batch.columns[f][row].as_py() for f in fields[reason] if f in batch.columns}
            detail[i] = ", ".join(f"{field}: {_plain(value)}" for field, value in found.items())


def _plain(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value))[:MAX_SHOWN]


def _bad_detail(detail: str, text: str | None) -> str:
    return detail if text is None else f"{detail}: {text}"


def _shown(text: _Text | None, rows: npt.NDArray[np.intp], more: int) -> pa.Array:
    """The texts of some rows, cut short, and nulls for `more` rows."""
    if text is None:
        return pa.nulls(len(rows) + more, pa.string())
    index = text.index[rows]
    missing = np.append(index == len(text.values), np.ones(more, bool))
    take = pa.array(np.append(index, np.zeros(more, np.int64)), mask=missing)
    return pc.utf8_slice_codeunits(text.values.take(take), 0, MAX_SHOWN)
