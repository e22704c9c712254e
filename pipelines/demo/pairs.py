"""The pair files of the demo's web, one for each source and each in another format, with bad rows among the good.

In: candidates with their evidence, the address of each picture, and alternative texts. Out: `pairs/alt.csv.gz`, whose
labels are text, and `caption.jsonl.zst`, `anchor.parquet`, `clicks.tsv`, `classifier.parquet`, whose labels are ids. A
row without a label says that its source looked at the picture and found nothing, and so does a text that names nothing.
Rows are in random order; equal input gives equal bytes. Returned: how many rows there are and how many of them `ingest`
must reject, by reason; texts that it finds ambiguous are not among these.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .hierarchy import leaves
from .signals import Signals
from .texts import SOURCE as TEXT_SOURCE

Row = dict[str, Any]

# source: (file, what a source's kind is, the column names as the file has them)
FILES: Final[Mapping[str, tuple[str, str, Mapping[str, str]]]] = {
    "alt": ("alt.csv.gz", "links", {"uri": "src", "label": "alt", "page": "page"}),
    "caption": (
        "caption.jsonl.zst", "score",
        {"uri": "image_url", "label": "category", "score": "confidence", "page": "page_url"},
    ),
    "anchor": ("anchor.parquet", "links", {"uri": "uri", "label": "label", "page": "page"}),
    "clicks": (
        "clicks.tsv", "clicks", {"uri": "uri", "label": "query", "clicks": "clicks", "impressions": "impressions"}
    ),
    "classifier": ("classifier.parquet", "score", {"uri": "uri", "label": "label", "score": "score"}),
}  # fmt: skip
_SITES: Final = 400


def write_pairs(
    folder: Path,
    signals: Signals,
    uris: Sequence[str],
    texts: pa.Table,
    rng: np.random.Generator,
    *,
    bad_share: float = 0.004,
) -> tuple[int, Counter[str]]:
    """Writes all files below `folder`; returns the rows, and the rejects that they must give, by reason.

    Args:
        folder: made if need be.
        signals: m pictures.
        uris: (m,) address of each.
        texts: of `texts.draw_texts`.
        rng: of pages, order and bad rows.
        bad_share: bad rows of each kind and file, as a share of its good rows; at least one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total, expected = 0, Counter[str]()
    for source, (name, _, columns) in FILES.items():
        rows = _rows(source, signals, uris, rng)
        if source == TEXT_SOURCE:
            rows = _in_words(rows, texts)
        bad = _bad_rows(source, rows, rng, max(1, round(bad_share * len(rows))))
        broken = [reason for reason, _ in bad]
        everything: list[Row | str] = [*rows, *(row for _, row in bad)]
        order = rng.permutation(len(everything)).tolist()
        _WRITERS[name.partition(".")[2]](folder / name, [everything[i] for i in order], columns)
        total += len(everything)
        expected.update(broken)
    return total, expected


def _page(rng: np.random.Generator, site: int) -> str:
    return f"https://www.site-{site:03d}.example/{int(rng.integers(10_000))}.html"


def _rows(source: str, signals: Signals, uris: Sequence[str], rng: np.random.Generator) -> list[Row]:
    """The good rows of a source, by the names of the configuration; those without a label at the end."""
    evidence = signals.evidence[source]
    names = [leaf.id for leaf in leaves()]
    rows: list[Row] = []
    for i in np.flatnonzero(evidence.fired).tolist():
        row: Row = {"uri": uris[signals.picture[i]], "label": names[signals.label[i]]}
        if evidence.score is not None:
            row["score"] = round(float(evidence.score[i]), 4)
        if evidence.clicks is not None and evidence.impressions is not None:
            row |= {"clicks": int(evidence.clicks[i]), "impressions": int(evidence.impressions[i])}
        if evidence.pages:
            sites = rng.choice(_SITES, len(evidence.pages[i]), replace=False).tolist()
            rows += [
                {**row, "page": _page(rng, site)}
                for site, count in zip(sites, evidence.pages[i], strict=True)
                for _ in range(count)
            ]
        elif "page" in FILES[source][2]:
            rows.append({**row, "page": _page(rng, int(rng.integers(_SITES)))})
        else:
            rows.append(row)
    said = np.zeros(len(signals.leaf), bool)
    said[signals.picture[evidence.fired]] = True
    return rows + [{"uri": uris[i], "label": None} for i in np.flatnonzero(evidence.looked & ~said).tolist()]


def _in_words(rows: list[Row], texts: pa.Table) -> list[Row]:
    """The rows with a text in place of their label; on each page of a candidate stands the same."""
    text_of = {(row["uri"], row["label"]): row["text"] for row in texts.to_pylist()}
    return [{**row, "label": text_of.get((row["uri"], row["label"]))} for row in rows]


def _bad_rows(source: str, rows: list[Row], rng: np.random.Generator, count: int) -> list[tuple[str, Row | str]]:
    """(reason, row) of rows that must be rejected; text stands for a line that does not parse."""
    labelled = [row for row in rows if row["label"] is not None]

    def some() -> Row:
        return dict(labelled[int(rng.integers(len(labelled)))])

    bad: list[tuple[str, Row | str]] = []
    for number in range(count):
        bad += [
            ("missing_uri", {**some(), "uri": None}),
            ("forbidden_scheme", {**some(), "uri": ["ftp://files.example/a.jpg", "file:///etc/passwd"][number % 2]}),
            ("bad_uri", {**some(), "uri": ["http://", "dog.jpg", "http://[::1/a.jpg"][number % 3]}),
        ]
        if source != TEXT_SOURCE:  # a text is no unknown label, it only names nothing
            wrong = ["unicorn", "Dog!", "n00000000", "null"][number % 4]
            bad.append(("unknown_label", {**some(), "label": wrong}))
        if source == "classifier":
            bad.append(("bad_score", {**some(), "score": [float("nan"), float("inf")][number % 2]}))
        elif source == "clicks":
            bad.append(("bad_count", {**some(), "clicks": [-1, 9][number % 2], "impressions": 3}))
            bad.append(("bad_row", "a line\tthat was cut"))
        elif source == "caption":
            bad.append(("bad_row", '{"image_url": "http://127.0.0.1/pictures/'))
    return bad


def _write_csv_gz(path: Path, rows: Sequence[Row | str], columns: Mapping[str, str]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.values())
    for row in rows:
        assert isinstance(row, dict)
        writer.writerow(["" if row.get(field) is None else row[field] for field in columns])
    # No time and no name in the header: equal rows, equal bytes.
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _write_jsonl_zst(path: Path, rows: Sequence[Row | str], columns: Mapping[str, str]) -> None:
    lines = [
        row if isinstance(row, str) else json.dumps({columns[field]: value for field, value in row.items()})
        for row in rows
    ]
    with pa.CompressedOutputStream(str(path), "zstd") as sink:
        sink.write("".join(f"{line}\n" for line in lines).encode())


def _write_tsv(path: Path, rows: Sequence[Row | str], columns: Mapping[str, str]) -> None:
    lines = ["\t".join(columns.values())]
    for row in rows:
        if isinstance(row, str):
            lines.append(row)
        else:
            lines.append("\t".join("" if row.get(field) is None else str(row[field]) for field in columns))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_parquet(path: Path, rows: Sequence[Row | str], columns: Mapping[str, str]) -> None:
    assert all(isinstance(row, dict) for row in rows)
    kinds = {"score": pa.float32(), "clicks": pa.int64(), "impressions": pa.int64()}
    arrays = {
        name: pa.array([row.get(field) for row in rows if isinstance(row, dict)], kinds.get(field, pa.string()))
        for field, name in columns.items()
    }
    pq.write_table(pa.table(arrays), path, row_group_size=4096)


_WRITERS: Final = {
    "csv.gz": _write_csv_gz,
    "jsonl.zst": _write_jsonl_zst,
    "parquet": _write_parquet,
    "tsv": _write_tsv,
}
