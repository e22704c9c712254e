"""A source whose labels are others than those that lie beside its images.

In: a `Source`, and how the index of a shard gets its new labels. Out: a `Source` with its own vocabulary. Samples that
get no label may be left out; then the others are numbered anew, in the same order. Which samples those are and how
often each class occurs takes one pass over all indexes; see `survey`.

Memory: 4 bytes a sample where some are left out (300M: 1.2 GB, mapped from a file where a folder for it is given; 8
bytes from 2^32 samples on), else nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from openjft.loaders.shard_index import INDEX_CACHE_BYTES, IndexCache, ShardIndex
from openjft.loaders.source import Fetching, SampleSet, Source
from openjft.loaders.storage.cache import ChunkRef
from openjft.loaders.subset import NumberSet, Subset
from openjft.taxonomy import Taxonomy

from .survey import Numbers, Progress, Relabelling, surveyed

Int64s = npt.NDArray[np.int64]
Unlabelled = Literal["drop", "keep"]


@dataclasses.dataclass(frozen=True)
class ViewAccount:
    """Samples = labelled + unlabelled; `dropped` says whether the latter are left out.

    `foreign`: images of the label table that are no sample here; None where the labels come from no table.
    """

    samples: int
    labelled: int
    dropped: bool
    foreign: int | None = None

    @property
    def unlabelled(self) -> int:
        """Samples without a label."""
        return self.samples - self.labelled

    @property
    def message(self) -> str:
        """For people."""
        what = "left out" if self.dropped else "kept as images of no class"
        parts = [f"{self.labelled:,} of {self.samples:,} images have a label"]
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} have none and are {what}")
        if self.foreign:
            parts.append(f"{self.foreign:,} images of the table are not among them")
        return "; ".join(parts)


class LabelView:
    """A `Source` over another's images; make it with `with_labels` or `with_classes`.

    Args:
        inner: whose images.
        relabelling: gives a shard's index its new labels.
        taxonomy: of the new labels.
        what: names the labels, for the fingerprint: a digest of their content.
        unlabelled: whether samples without a label are left out.
        cache: folder for the result of the pass over all indexes.
        on_progress: called after each shard of it.
    """

    def __init__(
        self,
        inner: Source,
        relabelling: Relabelling,
        taxonomy: Taxonomy,
        *,
        what: str,
        unlabelled: Unlabelled = "drop",
        cache: Path | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.inner, self._relabelling, self.taxonomy = inner, relabelling, taxonomy
        text = f"{inner.fingerprint}/{what}/{taxonomy.fingerprint()}/{unlabelled}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self._indexes: IndexCache[ShardIndex] = IndexCache(self._read_index, max_bytes=INDEX_CACHE_BYTES)
        found = surveyed(
            inner, relabelling, taxonomy.num_categories, name=self.fingerprint, cache=cache, on_progress=on_progress
        )
        self.class_counts = found.class_counts
        drop = unlabelled == "drop" and len(found.labelled) < inner.num_samples
        self._kept: Numbers | None = found.labelled if drop else None
        self.account = ViewAccount(inner.num_samples, len(found.labelled), drop, found.foreign)

    def __repr__(self) -> str:
        return f"LabelView({self.root!r}, {self.num_samples:,} samples, {self.num_categories:,} categories)"

    def __len__(self) -> int:
        return self.num_samples

    # -- a Source ------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """Where the images lie."""
        return self.inner.root

    @property
    def stored(self) -> bool:
        """As of the images."""
        return self.inner.stored

    @property
    def uniform(self) -> bool:
        """As of the images."""
        return self.inner.uniform

    @property
    def image_size(self) -> int | None:
        """As of the images."""
        return self.inner.image_size

    @property
    def num_samples(self) -> int:
        """Samples that are not left out."""
        return self.inner.num_samples if self._kept is None else len(self._kept)

    @property
    def num_categories(self) -> int:
        """Categories of the new vocabulary."""
        return self.taxonomy.num_categories

    @property
    def category_ids(self) -> Sequence[str]:
        """External id of each label."""
        return self.taxonomy.ids

    @property
    def category_names(self) -> Sequence[str]:
        """Name of each label."""
        return self.taxonomy.names

    def place(self, shard: int) -> str:
        """The file of a shard's images."""
        return self.inner.place(shard)

    def locate(self, numbers: Int64s) -> tuple[Int64s, Int64s]:
        """Shard and row of samples (m,)."""
        return self.inner.locate(numbers if self._kept is None else np.asarray(self._kept[numbers], np.int64))

    def index(self, shard: int) -> ShardIndex:
        """A shard's index with the new labels; samples that are left out have none."""
        return self._indexes.get(shard)

    def read_bytes(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes of a shard."""
        return self.inner.read_bytes(shard, offset, size)

    @property
    def ahead_bytes(self) -> int:
        """As of the images."""
        return self.inner.ahead_bytes if isinstance(self.inner, Fetching) else 0

    def chunks(self, shard: int, offset: int, size: int) -> list[ChunkRef]:
        """The chunks that some bytes of a shard lie in."""
        return self.inner.chunks(shard, offset, size) if isinstance(self.inner, Fetching) else []

    def fetch(self, shard: int, ref: ChunkRef) -> None:
        """Brings a chunk near."""
        if isinstance(self.inner, Fetching):
            self.inner.fetch(shard, ref)

    def subset(self, low: float, high: float) -> SampleSet:
        """Those of the inner subset that are not left out."""
        inner = self.inner.subset(low, high)
        if self._kept is None:
            return inner
        if isinstance(inner, Subset):
            # Numbers rise with those of the inner source, so a range of these is a range of those.
            first, stop = _places(self._kept, np.array([inner.first, inner.stop], np.int64)).tolist()
            return Subset(first, stop, self._among_kept(inner.left_out), self._among_kept(inner.added))
        return NumberSet(self._among_kept(np.sort(inner.numbers(np.arange(inner.num_samples)))))

    def _among_kept(self, numbers: Int64s) -> Int64s:
        """The new numbers of those of the inner source's numbers (m,) that are not left out, rising."""
        assert self._kept is not None
        places = _places(self._kept, numbers)
        inside = places < len(self._kept)
        inside[inside] = self._kept[places[inside]] == numbers[inside]
        return places[inside]

    def _read_index(self, shard: int) -> ShardIndex:
        return self._relabelling.relabel(self.inner.index(shard))


def _places(kept: Numbers, numbers: Int64s) -> Int64s:
    """(m,) how many kept numbers lie before each. `searchsorted` of two types would copy all that are kept."""
    return np.asarray(np.searchsorted(kept, numbers.astype(kept.dtype)), np.int64)


def images_of(source: Source) -> Source:
    """A source's images as they lie, whatever labels they have been given, with those that these leave out."""
    while isinstance(source, LabelView):
        source = source.inner
    return source


def images_fingerprint(source: Source) -> str:
    """The fingerprint of a source's images, whatever labels they have been given."""
    return images_of(source).fingerprint
