"""Gold: labels that people judged, from a CSV to rows of the evidence.

In: CSV with the columns uri, label, correct (0 or 1). Out: (image_key, label, correct), and with the evidence of a
bucket joined, the pattern of each. The gold should be a uniform sample of the candidates: the model's mean
probability, and with it the threshold, is only as right as the sample. A broken file is an error; rows that cannot
be used (unknown label, no such candidate, contradicting rows) are counted by reason, and every row is accounted for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from openjft.pipelines.errors import InputError, PipelineError, StorageError
from openjft.pipelines.ingest.uris import canonical_uris, key_bases
from openjft.pipelines.keys import image_keys
from openjft.pipelines.schema import KEY, KEY_TYPE, LABEL, URI
from openjft.pipelines.storage import resolve
from openjft.taxonomy import Taxonomy

from .bins import States
from .patterns import PATTERN, Int64s

Bools = npt.NDArray[np.bool_]

MIN_GOLD: Final = 20  # rows; a fit on fewer says nothing, though it would run
MIN_GOLD_OF_A_KIND: Final = 5
CORRECT: Final = "correct"
COLUMNS: Final = (URI, LABEL, CORRECT)
GOLD: Final = pa.schema(
    [
        pa.field(KEY, KEY_TYPE, nullable=False),
        pa.field(LABEL, pa.int32(), nullable=False),
        pa.field(CORRECT, pa.bool_(), nullable=False),
    ]
)
# Why a gold row is not used, in the order of the checks.
GOLD_REASONS: Final = (
    "bad_uri",
    "unknown_label",
    "ambiguous_label",
    "contradictory",  # the same pair judged 1 and 0: all of its rows
    "duplicate",  # the same judgement again
    "without_evidence",  # the pair is not among the candidates
)


@dataclasses.dataclass(frozen=True)
class Gold:
    """Usable gold: `table` with the schema `GOLD`, sorted by (image_key, label); `rows` of the file, and `rejects`."""

    table: pa.Table
    rows: int
    rejects: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The account of the file's rows."""
        return {"rows": self.rows, "rejects": dict(self.rejects)}


def gold_schema(num_sources: int) -> pa.Schema:
    """Of the gold rows of a bucket that were found in the evidence."""
    return GOLD.append(pa.field(PATTERN, pa.binary(num_sources), nullable=False))


def checked_digest(path: str) -> str:
    """Sha256 of the gold's file as hex digits, after a check that it is gold: what a build does before it starts.

    Raises:
        InputError: no such file, not a CSV, a column is missing, or `correct` is not 0 or 1 somewhere.
    """
    _truth(_parse(path)[CORRECT], path)
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: str) -> bytes:
    try:
        filesystem, inner = resolve(path)
        with filesystem.open_input_stream(inner) as source:  # .gz and .zst are read through
            data: bytes = source.read()
    except (OSError, StorageError) as error:
        raise InputError(f"{path}: expected the gold labels (precision.gold), could not read them: {error}") from error
    return data


def read_gold(
    path: str, taxonomy: Taxonomy, *, labels: Literal["id", "name"], allowed_schemes: tuple[str, ...]
) -> Gold:
    """Reads and resolves the gold.

    Args:
        path: CSV with the columns uri, label, correct; others are ignored.
        taxonomy: where the labels are looked up.
        labels: what the label column holds.
        allowed_schemes: of URIs, as for `ingest`.

    Raises:
        InputError: not a CSV, a column is missing, or `correct` is not 0 or 1 somewhere.
    """
    raw = _parse(path)
    correct = _truth(raw[CORRECT], path)
    uris = canonical_uris(raw[URI].combine_chunks(), allowed_schemes).uris
    found, ambiguous = _lookup(taxonomy, pc.utf8_trim_whitespace(raw[LABEL]), labels)
    bad = uris.is_null().to_numpy(zero_copy_only=False)
    unknown = found.is_null().to_numpy(zero_copy_only=False)
    rejects = {
        "bad_uri": int(bad.sum()),
        "ambiguous_label": int((~bad & ambiguous).sum()),
        "unknown_label": int((~bad & unknown & ~ambiguous).sum()),
    }
    usable = pa.array(~bad & ~unknown)
    keys = image_keys(key_bases(uris.filter(usable)).to_pylist())
    table = pa.table([keys, found.filter(usable), pa.array(correct).filter(usable)], schema=GOLD)
    table, repeated = _one_row_a_pair(table)
    return Gold(table, raw.num_rows, {**rejects, **repeated})


def _parse(path: str) -> pa.Table:
    """The three columns, as strings."""
    data = _read(path)
    options = pacsv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=False)
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            convert_options=options,
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: expected gold labels as CSV with the header uri,label,correct: {error}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise InputError(
            f"{path}: expected the columns uri, label, correct, found {', '.join(table.column_names)}; "
            f"without {', '.join(missing)}. Rename the columns in the header"
        )
    return table.select(list(COLUMNS))


def _truth(column: pa.ChunkedArray, path: str) -> npt.NDArray[np.bool_]:
    """(n,) bool of a column of 0 and 1."""
    text = pc.utf8_trim_whitespace(column)
    correct = pc.equal(text, "1").to_numpy()
    wrong = np.flatnonzero(~(correct | pc.equal(text, "0").to_numpy()))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"{path}: expected 0 or 1 in the column correct, found {column[first].as_py()!r} in data row {first + 1}"
            + (f" and others in {len(wrong) - 1:,} more rows" if len(wrong) > 1 else "")
        )
    return np.asarray(correct, bool)


def _lookup(
    taxonomy: Taxonomy, texts: pa.ChunkedArray, labels: Literal["id", "name"]
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    if labels == "name":
        return taxonomy.lookup_names(texts)
    return taxonomy.lookup_ids(texts), np.zeros(len(texts), bool)


def _one_row_a_pair(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Sorted by (image_key, label), each pair once; pairs with both judgements go."""
    grouped = (
        table.append_column("one", pa.array(np.ones(table.num_rows, np.int64)))
        .append_column("votes", table[CORRECT].cast(pa.int64()))
        .group_by([KEY, LABEL])
        .aggregate([("one", "sum"), ("votes", "sum")])
        .sort_by([(KEY, "ascending"), (LABEL, "ascending")])
    )
    rows, votes = grouped["one_sum"].to_numpy(), grouped["votes_sum"].to_numpy()
    agreed = (votes == 0) | (votes == rows)
    rejects = {"contradictory": int(rows[~agreed].sum()), "duplicate": int((rows[agreed] - 1).sum())}
    kept = grouped.filter(pa.array(agreed))
    columns = [kept[KEY], kept[LABEL], pa.array(votes[agreed] > 0)]
    return pa.table(columns, schema=GOLD).combine_chunks(), rejects


def match_rows(gold: pa.Table, keys: pa.Array, labels: npt.NDArray[np.int32]) -> tuple[Int64s, Int64s]:
    """Where gold rows stand in the evidence.

    Args:
        gold: schema `GOLD`, sorted.
        keys: (n,) image keys of the evidence, sorted.
        labels: (n,) their labels.

    Returns:
        (gold rows, evidence rows): (m,) positions each, rising.
    """
    near = np.flatnonzero(pc.is_in(keys, value_set=gold[KEY].combine_chunks()).to_numpy(zero_copy_only=False))
    rows_of = dict(zip(_pairs(keys.take(pa.array(near)), labels[near]), near.tolist(), strict=True))
    rows = [rows_of.get(pair, -1) for pair in _pairs(gold[KEY], gold[LABEL].to_numpy())]
    found = np.array(rows, np.int64)
    return np.flatnonzero(found >= 0), found[found >= 0]


def _pairs(keys: pa.Array | pa.ChunkedArray, labels: npt.NDArray[np.int32]) -> list[tuple[bytes, int]]:
    return list(zip(keys.to_pylist(), labels.tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class GoldRows:
    """Gold with evidence, in key order.

    `keys` (n, 16) uint8, `labels` (n,) int32, `states` (n, columns) uint8, `correct` (n,) bool.
    """

    keys: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    states: States
    correct: Bools

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[Any]) -> GoldRows:
        """Some of the rows."""
        return GoldRows(self.keys[rows], self.labels[rows], self.states[rows], self.correct[rows])


def image_folds(keys: npt.NDArray[np.uint8], folds: int, *, seed: int) -> npt.NDArray[np.int64]:
    """(n,) fold of each row in [0, folds): images at random in near-equal folds, one image's labels together."""
    _, image = np.unique(keys, axis=0, return_inverse=True)
    image = image.ravel()
    order = np.random.default_rng(seed).permutation(int(image.max()) + 1 if len(image) else 0)
    return order[image] % folds


def check_gold(correct: Bools, account: Mapping[str, Any] | None) -> None:
    """Refuses gold that cannot carry a fit.

    Raises:
        PipelineError: too few rows, or too few of one kind.
    """
    right = int(correct.sum())
    wrong = len(correct) - right
    if right + wrong < MIN_GOLD or min(right, wrong) < MIN_GOLD_OF_A_KIND:
        why = {reason: n for reason, n in (account or {}).get("rejects", {}).items() if n}
        raise PipelineError(
            f"precision.gold: expected at least {MIN_GOLD} judged candidates, {MIN_GOLD_OF_A_KIND} of them correct and "
            f"{MIN_GOLD_OF_A_KIND} wrong, found {right:,} correct and {wrong:,} wrong"
            + (f" (not used: {', '.join(f'{n:,} {reason}' for reason, n in why.items())})" if why else "")
            + ". Judge more labels, drawn at random from evidence/, or leave precision.gold out to filter without"
        )
