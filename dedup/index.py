"""The resident index: every evaluation image in every view, of all sets together, searched in one pass.

In: decoded eval images in a stated order, and a descriptor. Out: for query vectors, the eval images at a similarity or
above, each with its best view. Stored as .npy (no pickle), Parquet and JSON, with the descriptor's fingerprint, so that
vectors of another model are refused. The views of an eval image lie here, not on the side of the billions: 50,000
images in 11 views of 170 float16 are 190 MB.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from .background import Background
from .embedder import Embedder
from .errors import DedupError, IndexMismatchError
from .resample import Float32, Image, grey
from .schema import EVAL_IMAGES
from .search import FlatSearcher, Hits, Int32, Int64
from .vectors import Float16, check_finite
from .views import View

OpenFile = Callable[[str], AbstractContextManager[IO[bytes]]]
VECTORS_FILE: Final = "vectors.npy"
ROWS_FILE: Final = "rows.npy"
IMAGES_FILE: Final = "images.parquet"
HEADER_FILE: Final = "index.json"  # written last: an index without it is not whole
_VERSION: Final = 1
# Grey levels of spread under which a part of an image (sky, wall, white ground) says nothing: a view of it would
# match every other plain image. Whole images stay, whatever they show.
MIN_VIEW_SPREAD: Final = 8.0


class Matches(NamedTuple):
    """Pairs by query, falling similarity, eval image. `view` is an index into `EvalIndex.views`.

    `score` is the similarity, less the query's mean similarity to a background where there is one. `full_k` counts
    queries that a GPU could not answer whole and the CPU did.
    """

    query_index: Int64
    eval_index: Int32
    view: npt.NDArray[np.int16]
    similarity: Float32
    score: Float32
    full_k: int


@dataclasses.dataclass(frozen=True, eq=False)
class EvalIndex:
    """Vectors of all (eval image, view) rows, and what they stand for.

    Attributes:
        images: EVAL_IMAGES rows, the order of which breaks ties.
        views: every view that was asked for.
        vectors: (rows, dim) float16.
        rows: (rows, 2) int32: eval image, view; sorted. Undecodable images and plain views have no row.
        embedder: fingerprint of the descriptor.
        counts: what was skipped while building.
    """

    images: pa.Table
    views: tuple[View, ...]
    vectors: Float16
    rows: Int32
    embedder: str
    counts: dict[str, int]

    @classmethod
    def build(
        cls,
        images: Iterable[tuple[int, Image]],
        table: pa.Table,
        embedder: Embedder,
        views: Sequence[View],
        *,
        batch: int = 64,
    ) -> EvalIndex:
        """Embeds every view of a stream of images.

        Args:
            images: (row of `table`, uint8 RGB pixels), rising rows; rows left out have no vectors.
            table: EVAL_IMAGES.
            embedder: the descriptor.
            views: the views, at least one.
            batch: vectors made at a time.
        """
        if not views:
            raise DedupError("expected at least one view of the eval images, found none")
        counts = {"images": 0, "plain_views": 0}
        vectors: list[Float16] = []
        rows: list[tuple[int, int]] = []
        for chunk in _chunks(_viewed(images, views, counts), batch):
            vectors.append(embedder.embed([part for _, _, part in chunk]).astype(np.float16))
            rows += [(image, view) for image, view, _ in chunk]
        matrix = np.concatenate(vectors) if vectors else np.empty((0, embedder.dim), np.float16)
        pairs = np.asarray(rows, np.int32).reshape(-1, 2)
        return cls(table.cast(EVAL_IMAGES), tuple(views), matrix, pairs, embedder.fingerprint, counts)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @functools.cached_property
    def searcher(self) -> FlatSearcher:
        """The vectors in FAISS; made at the first search."""
        return FlatSearcher(self.vectors)

    @classmethod
    def concat(cls, indexes: Sequence[EvalIndex], *, dim: int, embedder: str) -> EvalIndex:
        """Several sets as one, in their order, so that one pass over the queries serves all of them.

        Raises:
            IndexMismatchError: they are of two models, or have other views.
        """
        for each in indexes:
            if (each.embedder, each.dim, each.views) != (embedder, dim, indexes[0].views):
                names = ", ".join(sorted(set(each.images["eval_set"].to_pylist())))
                raise IndexMismatchError(
                    f"eval set {names}: expected vectors of {dim} values by the model {embedder[:12]}... in "
                    f"{len(indexes[0].views)} views, found {each.dim} by {each.embedder[:12]}... in {len(each.views)}: "
                    "vectors of two models cannot be compared. Add the set again with the build's model and views"
                )
        if not indexes:
            no_vectors, no_rows = np.empty((0, dim), np.float16), np.empty((0, 2), np.int32)
            return cls(EVAL_IMAGES.empty_table(), (), no_vectors, no_rows, embedder, {})
        starts = np.cumsum([0, *(each.images.num_rows for each in indexes[:-1])])
        rows = [each.rows + np.array([start, 0], np.int32) for each, start in zip(indexes, starts, strict=True)]
        counts = {name: sum(each.counts.get(name, 0) for each in indexes) for name in indexes[0].counts}
        return cls(
            pa.concat_tables([each.images for each in indexes]),
            indexes[0].views,
            np.concatenate([each.vectors for each in indexes]),
            np.concatenate(rows).astype(np.int32),
            embedder,
            counts,
        )

    def search(
        self, vectors: Float32, *, min_score: float, neighbours: int, background: Background | None = None
    ) -> Matches:
        """The nearest eval images of each query, the best view of each.

        Args:
            vectors: (m, dim) float32 unit vectors.
            min_score: what is below is not returned.
            neighbours: eval images of a query, at most.
            background: for the score; none: it is the cosine.

        Raises:
            DedupError: the vectors have another length, or hold NaN.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise IndexMismatchError(f"expected queries (m, {self.dim}), found {vectors.shape}: of another model")
        check_finite(vectors, origin="queries")
        usual = np.zeros(len(vectors), np.float32) if background is None else background.usual(vectors)
        least = min_score + float(usual.min()) if len(usual) else min_score
        hits = self.searcher.search(vectors, least)
        score = hits.similarity - usual[hits.query]
        keep = score >= np.float32(min_score)
        kept = Hits(hits.query[keep], hits.row[keep], hits.similarity[keep], hits.full_k)
        return self._best(kept, usual, neighbours)

    def _best(self, hits: Hits, usual: Float32, neighbours: int) -> Matches:
        """Best view of each (query, eval image), and the first `neighbours` of those."""
        image, view = self.rows[hits.row, 0], self.rows[hits.row, 1].astype(np.int16)
        order = np.lexsort((view, -hits.similarity, image, hits.query))
        query, image, view, similarity = hits.query[order], image[order], view[order], hits.similarity[order]
        first = np.ones(len(query), bool)
        first[1:] = (query[1:] != query[:-1]) | (image[1:] != image[:-1])
        query, image, view, similarity = query[first], image[first], view[first], similarity[first]
        order = np.lexsort((image, -similarity, query))
        query, image, view, similarity = query[order], image[order], view[order], similarity[order]
        keep = np.arange(len(query)) - np.searchsorted(query, query) < neighbours
        query, similarity = query[keep], similarity[keep]
        return Matches(query, image[keep], view[keep], similarity, similarity - usual[query], hits.full_k)

    def save(self, create: OpenFile) -> None:
        """Writes the files; `create` opens a name for writing."""
        for name, array in ((VECTORS_FILE, self.vectors), (ROWS_FILE, self.rows)):
            with create(name) as sink:
                np.save(sink, array, allow_pickle=False)
        with create(IMAGES_FILE) as sink:
            pq.write_table(self.images, sink, compression="zstd")
        header = {
            "version": _VERSION,
            "embedder": self.embedder,
            "dim": self.dim,
            "rows": len(self.rows),
            "views": [dataclasses.asdict(view) for view in self.views],
            "counts": self.counts,
        }
        with create(HEADER_FILE) as sink:
            sink.write((json.dumps(header, indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, open_: OpenFile, *, embedder: str, origin: str) -> EvalIndex:
        """Reads what `save` wrote.

        Args:
            open_: opens a name for reading.
            embedder: fingerprint of the descriptor that the queries are of.
            origin: the index's place, for messages.

        Raises:
            IndexMismatchError: the index was made by another descriptor or another version, or is damaged.
        """
        with open_(HEADER_FILE) as source:
            header: dict[str, Any] = json.loads(source.read())
        if header.get("version") != _VERSION:
            raise IndexMismatchError(
                f"{origin}: expected an index of version {_VERSION}, found {header.get('version')}; build it again"
            )
        if header["embedder"] != embedder:
            raise IndexMismatchError(
                f"{origin}: made by the model {header['embedder'][:12]}..., but the embeddings are of "
                f"{embedder[:12]}...: vectors of two models cannot be compared. Embed both sides with one model"
            )
        vectors, rows = _array(open_, VECTORS_FILE), _array(open_, ROWS_FILE)
        with open_(IMAGES_FILE) as source:
            images = pq.read_table(source, schema=EVAL_IMAGES)
        if vectors.shape != (header["rows"], header["dim"]) or rows.shape != (header["rows"], 2):
            raise IndexMismatchError(
                f"{origin}: expected {header['rows']} rows of {header['dim']}, found {vectors.shape} and {rows.shape}: "
                "the index is damaged; delete it, and it is built again"
            )
        views = tuple(View(**view) for view in header["views"])
        return cls(images, views, vectors, rows, header["embedder"], dict(header["counts"]))


def _array(open_: OpenFile, name: str) -> npt.NDArray[Any]:
    with open_(name) as source:
        array: npt.NDArray[Any] = np.lib.format.read_array(source, allow_pickle=False)
    return array


_Viewed = tuple[int, int, Image]  # eval image, view, pixels


def _viewed(images: Iterable[tuple[int, Image]], views: Sequence[View], counts: dict[str, int]) -> Iterator[_Viewed]:
    """All views of all images that show something; a view of the whole image always does."""
    for row, image in images:
        counts["images"] += 1
        for number, view in enumerate(views):
            part = view.apply(image)
            if not view.is_whole and float(grey(part, 32).std()) < MIN_VIEW_SPREAD:
                counts["plain_views"] += 1
                continue
            yield row, number, part


def _chunks(items: Iterator[_Viewed], size: int) -> Iterator[list[_Viewed]]:
    chunk: list[_Viewed] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
