"""A source whose labels are others than those that lie beside its images.

In: a `Source`, and how the index of a shard gets its new labels. Out: a `Source` with its own vocabulary. Samples that
get no label may be left out; then the others are numbered anew, in the same order. Which samples those are and how
often each class occurs takes one pass over all indexes, kept in a file when a folder for it is given.

Memory: 8 bytes a sample where some are left out (300M: 2.4 GB, mapped from the file where there is one), else nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import INDEX_CACHE_BYTES, IndexCache, ShardIndex
from openjft.loaders.source import Fetching, SampleSet, Source
from openjft.loaders.storage.cache import ChunkRef
from openjft.loaders.subset import NumberSet
from openjft.taxonomy import Taxonomy

Int64s = npt.NDArray[np.int64]
Unlabelled = Literal["drop", "keep"]
Relabel = Callable[[ShardIndex], ShardIndex]
Progress = Callable[[int, int], None]  # shards done, shards


@dataclasses.dataclass(frozen=True)
class ViewAccount:
    """Samples = labelled + unlabelled; `dropped` says whether the latter are left out."""

    samples: int
    labelled: int
    dropped: bool

    @property
    def unlabelled(self) -> int:
        """Samples without a label."""
        return self.samples - self.labelled


class LabelView:
    """A `Source` over another's images; make it with `with_labels` or `with_classes`.

    Args:
        inner: whose images.
        relabel: gives a shard's index its new labels.
        taxonomy: of the new labels.
        what: names the labels, for the fingerprint: a digest of their content.
        unlabelled: whether samples without a label are left out.
        cache: folder for the result of the pass over all indexes.
        on_progress: called after each shard of it.
    """

    def __init__(
        self,
        inner: Source,
        relabel: Relabel,
        taxonomy: Taxonomy,
        *,
        what: str,
        unlabelled: Unlabelled = "drop",
        cache: Path | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.inner, self._relabel, self.taxonomy = inner, relabel, taxonomy
        text = f"{inner.fingerprint}/{what}/{taxonomy.fingerprint()}/{unlabelled}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self._indexes: IndexCache[ShardIndex] = IndexCache(self._read_index, max_bytes=INDEX_CACHE_BYTES)
        labelled, self.class_counts = self._counted(cache, on_progress)
        drop = unlabelled == "drop" and len(labelled) < inner.num_samples
        self._kept = labelled if drop else None
        self.account = ViewAccount(inner.num_samples, len(labelled), drop)

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
        numbers = np.sort(inner.numbers(np.arange(inner.num_samples)))
        place = np.searchsorted(self._kept, numbers)
        inside = place < len(self._kept)
        inside[inside] = self._kept[place[inside]] == numbers[inside]
        return NumberSet(place[inside].astype(np.int64))

    # -- the pass over all indexes -------------------------------------------------------------------------------

    def _read_index(self, shard: int) -> ShardIndex:
        return self._relabel(self.inner.index(shard))

    def _counted(self, cache: Path | None, on_progress: Progress | None) -> tuple[Int64s, Int64s]:
        """Numbers of the samples with a label, rising, and the images of each class."""
        path = None if cache is None else cache / f"labels-{self.fingerprint[:32]}.npy"
        counts_path = None if path is None else path.with_suffix(".counts.npy")
        if path is not None and counts_path is not None and path.exists() and counts_path.exists():
            kept, counts = np.load(path, mmap_mode="r", allow_pickle=False), np.load(counts_path, allow_pickle=False)
            if counts.shape == (self.num_categories,) and kept.ndim == 1:
                return kept, counts
        kept, counts = self._count(on_progress)
        if path is not None and counts_path is not None:
            _write(path, kept)
            _write(counts_path, counts)
        return kept, counts

    def _count(self, on_progress: Progress | None) -> tuple[Int64s, Int64s]:
        n, counts, found, start = self.inner.num_samples, np.zeros(self.num_categories, np.int64), [], 0
        shards = int(self.inner.locate(np.array([n - 1], np.int64))[0][0]) + 1 if n else 0
        for shard in range(shards):
            index = self._read_index(shard)
            found.append(start + np.flatnonzero(index.labels.lengths))
            counts += np.bincount(index.labels.values, minlength=len(counts))
            start += index.num_samples
            if on_progress is not None:
                on_progress(shard + 1, shards)
        return (np.concatenate(found) if found else np.empty(0, np.int64)), counts


def _write(path: Path, values: Int64s) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            np.save(sink, values, allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        raise LoaderError(f"{path}: could not be written: {error}; free some space, or give another folder") from error
