"""Stage `spill`, the first half of `ingest`: raw pairs of any format into sorted runs, bucket by bucket.

In: one split of the input. Out: `spill/00003-of-00040.arrow`, its valid rows as runs merged by (image, label,
source, domain, text), and `rejects/00003-of-00040.parquet`, the other rows with the reason; where rows tell their text
and page, `spill/00003-of-00040.templates` counts how many images bear each text. Memory is bounded by
`ingest.spill_rows`, whatever the size of the split. Where labels are text, the priors of what words mean can be
learned from the first rows of each input before anything is spilled: `spill/_priors.json`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa

from .. import config as cfg
from ..engine import Stage, UnitResult
from ..hierarchy import load_taxonomy
from ..keys import image_keys
from ..storage import Store, bucket_file
from .aggregate import Pairs, distinct_images, merge_pairs
from .domains import NO_DOMAIN
from .labels import TextMatcher
from .raw import NO_LABEL
from .readers import read_piece
from .rejects import RejectsWriter
from .runs import RunsWriter, run_table
from .splits import Split, format_of
from .templates import TemplateCounts, images_of_texts
from .uris import key_bases
from .validate import REFUSED, Accepted, Validator
from .words import load_lexicon, sample_texts, write_priors

SPILL = "spill"
TEMPLATES = "templates"  # ending of the files with counts of texts
REJECTED = "rejects"
# A run is also written when its URIs take so much: 1.5M of the longest would take 12 GB, and Arrow's string
# columns hold 2 GB.
_MAX_URI_BYTES: Final = 256 << 20


class _Run:
    """Accepted rows that wait to be written as one run."""

    def __init__(self, *, locators: bool) -> None:
        self._locators = locators  # whether URIs may end in one; looking for it costs as much as a tenth of hashing
        self.templates = TemplateCounts.empty()
        self._clear()

    def _clear(self) -> None:
        self.rows = 0
        self.uri_bytes = 0
        self._uris = 0
        self._batches: list[Accepted] = []
        self._keys: list[pa.FixedSizeBinaryArray] = []

    def add(self, accepted: Accepted) -> None:
        """Holds a batch; hashes its distinct URIs."""
        shifted = accepted.uri + np.int32(self._uris)
        self._batches.append(dataclasses.replace(accepted, uri=shifted))
        uris = key_bases(accepted.uris) if self._locators else accepted.uris
        self._keys.append(image_keys(uris.to_pylist()))
        self._uris += len(accepted.uris)
        self.uri_bytes += int(accepted.uris.nbytes)
        self.rows += len(shifted)

    def merged(self) -> pa.RecordBatch:
        """The rows as one sorted run; forgets them."""
        batches = self._batches
        images, rank = distinct_images(pa.concat_arrays(self._keys), pa.concat_arrays([b.uris for b in batches]))

        def column(name: str) -> Any:
            return np.concatenate([getattr(batch, name) for batch in batches])

        pairs = Pairs(
            rank[column("uri")], column("label"), column("source"), column("domain"), column("text"), column("score"),
            np.ones(self.rows, np.int64), column("clicks"), column("impressions"), column("exposure"),
        )  # fmt: skip
        self._clear()
        merged = merge_pairs(pairs)
        self.templates.add(images_of_texts(merged))
        return run_table(images, merged)


@dataclasses.dataclass(frozen=True)
class SpillStage(Stage):
    """Reads, checks, hashes and sorts raw pairs, one split at a time."""

    name: ClassVar[str] = SPILL
    noun: ClassVar[str] = "rows"
    unit_noun: ClassVar[str] = "splits"
    section: ClassVar[str] = "ingest"

    inputs: tuple[cfg.Input, ...]
    sources: tuple[cfg.Source, ...]
    labels: tuple[Literal["id", "name", "text"], ...]  # of each input
    ingest: cfg.Ingest
    num_buckets: int
    splits: tuple[Split, ...]
    lexicon: cfg.Lexicon

    @classmethod
    def from_config(cls, config: cfg.Config, splits: tuple[Split, ...]) -> SpillStage:
        """The stage of a build; `splits` come from `plan_splits`."""
        labels = tuple(config.labels_of(item) for item in config.inputs)
        return cls(config.inputs, config.sources, labels, config.ingest, config.build.buckets, splits, config.lexicon)

    def num_units(self) -> int:
        """The number of splits."""
        return len(self.splits)

    def input_bytes(self) -> int:
        """Of the raw pairs, as they lie."""
        return sum(piece.stop - piece.start for split in self.splits for piece in split.pieces)

    def settings(self) -> Mapping[str, Any]:
        """All but sizes of batches and runs, which do not change what `evidence` makes of it."""
        return {
            "inputs": [item.model_dump(mode="json") for item in self.inputs],
            "sources": [(source.name, source.position_exponent) for source in self.sources],
            "labels": list(self.labels),
            "lexicon": self.lexicon.model_dump(mode="json") if self.has_text else None,
            "allowed_schemes": list(self.ingest.allowed_schemes),
            "buckets": self.num_buckets,
            "splits": [dataclasses.asdict(split) for split in self.splits],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources, in the order of their bits."""
        return tuple(source.name for source in self.sources)

    def has_templates(self, number: int) -> bool:
        """Whether rows of an input tell their text and their page, so that templates can be seen."""
        columns = self.inputs[number].columns
        return columns.page is not None and (columns.text is not None or self.labels[number] == "text")

    @property
    def has_text(self) -> bool:
        """Whether an input's labels are text."""
        return "text" in self.labels

    def outputs(self) -> tuple[str, ...]:
        """Runs and rejects."""
        return (SPILL, REJECTED)

    def max_reject_share(self) -> float:
        """As configured."""
        return self.ingest.max_reject_share

    def prepare(self, store: Store) -> None:
        """Priors of the senses of words by source, for labels that are text, where they are to be learned."""
        if self.has_text and self.lexicon.learn_priors:
            write_priors(store, self.lexicon, self._samples())

    def _samples(self) -> Iterator[tuple[str, pa.StringArray]]:
        """Texts of the first rows of each input that has some."""
        for number, (item, labels) in enumerate(zip(self.inputs, self.labels, strict=True)):
            if labels == "text":
                mine = [split for split in self.splits if split.input == number]
                yield from sample_texts(item, mine, self.names, batch_rows=self.ingest.batch_rows)

    def run(self, unit: int, store: Store) -> UnitResult:
        """Spills one split.

        Raises:
            InputError: a file cannot be read, or not to its end.
        """
        split = self.splits[unit]
        item = self.inputs[split.input]
        counters: Counter[str] = Counter({"bytes": 0, "empty_files": 0})
        rows_in = rows_out = 0
        run = _Run(locators="tar" in self.ingest.allowed_schemes)
        validators: dict[str, Validator] = {}
        with (
            store.writing(bucket_file(SPILL, unit, self.num_units(), "arrow")) as sink,
            RejectsWriter(store, bucket_file(REJECTED, unit, self.num_units())) as rejects,
        ):
            runs = RunsWriter(sink, self.num_buckets)
            for piece in split.pieces:
                kind = format_of(piece.path, item.format)
                validate = validators.setdefault(kind, self._validator(split.input, kind, store))
                before = rows_in
                for batch in read_piece(item, piece, self.ingest.batch_rows):
                    accepted, rejected = validate(batch)
                    rejects.add(rejected, piece.name)
                    rows_in += len(batch.rows) + len(batch.bad)
                    rows_out += accepted.rows
                    counters.update(count_pairs(accepted))
                    if self.labels[split.input] == "text":
                        counters["text_rows"] += len(batch.rows)
                        silent = int(np.count_nonzero(accepted.label == NO_LABEL))
                        counters["text_matches"] += len(accepted.label) - silent
                        counters["text_silent"] += silent  # rows kept because their source looked
                    run.add(accepted)
                    if run.rows >= self.ingest.spill_rows or run.uri_bytes >= _MAX_URI_BYTES:
                        runs.add(run.merged())
                counters["bytes"] += piece.stop - piece.start
                counters["empty_files"] += piece.is_whole and rows_in == before
            if run.rows:
                runs.add(run.merged())
            runs.close()
        if self.has_templates(split.input):
            store.write_bytes(templates_file(unit, self.num_units()), run.templates.to_bytes())
        counters.update({"runs": runs.runs, "spilled": runs.rows})
        return UnitResult(rows_in=rows_in, rows_out=rows_out, rejects=dict(rejects.counts), counters=dict(counters))

    def _validator(self, number: int, kind: str, store: Store) -> Validator:
        item, labels = self.inputs[number], self.labels[number]
        matcher = None
        if labels == "text":
            lexicon = load_lexicon(store, self.lexicon)
            matcher = TextMatcher(lexicon, self.names, self.lexicon.min_probability)
        return Validator(
            load_taxonomy(store),
            labels=labels,
            sources=self.names,
            source=item.source,
            position_exponents=[source.position_exponent for source in self.sources],
            allowed_schemes=self.ingest.allowed_schemes,
            uri_template=item.uri_template,
            keep_unlabelled=item.empty_label == "opportunity",
            open_images=kind == "open_images",
            matcher=matcher,
        )


def templates_file(split: int, num_splits: int) -> str:
    """Where the counts of a split's texts lie."""
    return bucket_file(SPILL, split, num_splits, TEMPLATES)


def count_pairs(accepted: Accepted) -> dict[str, int]:
    """What there is in a batch of pairs."""
    refused = accepted.source == REFUSED
    return {
        "pairs": len(accepted.uri),
        "opportunity_rows": int(np.count_nonzero(accepted.label == NO_LABEL)),
        "negative_rows": int(np.count_nonzero(refused)),
        "no_domain_pairs": int(np.count_nonzero((accepted.domain == NO_DOMAIN) & ~refused)),
    }
