"""Words to categories in `ingest`: the lexicon of a worker, and what its source priors are measured on.

In: the build's hierarchy (and the background's), the section `lexicon`, the inputs whose labels are text. Out: a
`Lexicon`, built once a process, and the priors of `spill/_priors.json`. The sample is the first rows of each
input, so that priors do not depend on splits, batches or workers. Matching itself is `openjft.taxonomy.lexicon`'s.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa

from openjft.taxonomy import Taxonomy

from .. import config as cfg
from ..hierarchy import load_background, load_taxonomy
from ..storage import Store
from .columns import as_string, distinct
from .labels import source_index
from .readers import read_piece
from .splits import Split

if TYPE_CHECKING:  # its libraries are loaded by builds whose inputs carry text
    from openjft.taxonomy.lexicon import Lexicon

PRIORS: Final = "spill/_priors.json"
SAMPLE_ROWS: Final = 20_000  # of each input


def load_lexicon(store: Store, settings: cfg.Lexicon) -> Lexicon:
    """The lexicon of the build's hierarchies, with the build's priors if it learns some; built once a process."""
    lexicon = _lexicon(store, settings)
    return _with_priors(lexicon, store.read_bytes(PRIORS).decode()) if settings.learn_priors else lexicon


def _lexicon(store: Store, settings: cfg.Lexicon) -> Lexicon:
    return _build(load_taxonomy(store), load_background(store), settings.language, settings.exclude)


@functools.lru_cache(maxsize=1)  # hierarchies are equal where their content is
def _build(
    taxonomy: Taxonomy, background: Taxonomy | None, language: Literal["en", "none"], exclude: tuple[str, ...]
) -> Lexicon:
    from openjft.taxonomy.lexicon import Lexicon

    return Lexicon.build(taxonomy, background=background, language=language, exclude=exclude)


@functools.lru_cache(maxsize=1)
def _with_priors(lexicon: Lexicon, priors: str) -> Lexicon:
    from openjft.taxonomy.lexicon import SensePriors

    return lexicon.with_priors(SensePriors.from_json(priors))


def write_priors(store: Store, settings: cfg.Lexicon, samples: Iterator[tuple[str, pa.StringArray]]) -> None:
    """Counts what the samples of (source, texts) name without ambiguity, and writes the priors."""
    from openjft.taxonomy.lexicon import SenseCounts, SensePriors

    lexicon = _lexicon(store, settings)
    counts = SenseCounts()
    for source, texts in samples:
        counts += lexicon.count_sources(texts, source)
    store.write_bytes(PRIORS, SensePriors.fit(counts).to_json().encode())


def sample_texts(
    item: cfg.Input, splits: Sequence[Split], sources: Sequence[str], *, batch_rows: int, rows: int = SAMPLE_ROWS
) -> Iterator[tuple[str, pa.StringArray]]:
    """The texts of an input's first rows, by source.

    Args:
        item: the input.
        splits: all of the input's, in order.
        sources: names of the known ones.
        batch_rows: rows read at a time.
        rows: of the sample; such as do not parse are not among them.

    Raises:
        InputError: a file cannot be read.
    """
    left = rows
    for piece in (piece for split in splits for piece in split.pieces):
        if left <= 0:
            return
        with contextlib.closing(read_piece(item, piece, batch_rows)) as batches:
            for batch in batches:
                columns = {field: column.slice(0, left) for field, column in batch.columns.items()}
                size = min(left, len(batch.rows))
                texts, _ = as_string(columns["label"])
                named = distinct(as_string(columns["source"])[0], trim=True) if "source" in columns else None
                source = source_index(sources, item.source, named, size)
                for number, name in enumerate(sources):
                    mine = np.flatnonzero(source == number)
                    if len(mine):
                        yield name, texts.take(pa.array(mine)).drop_null()
                left -= size
                if left <= 0:
                    break
