"""Embed: a descriptor's vector for every stored image, and its perceptual hash.

In: `images/BUCKET.tar`, members HEXKEY.jpg in key order. Out: `embeddings/BUCKET.parquet`
(`openjft.dedup.schema.embeddings_schema`), the same order. Memory: one batch of decoded images, and the bucket's
vectors as float16. The Parquet is neither compressed nor dictionary-encoded: to both, vectors are noise.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openjft.dedup import Embedder, EmbedderSpec, embedder_fingerprint, embeddings_table, make_embedder
from openjft.dedup.bands import fingerprint as perceptual_fingerprint
from openjft.dedup.bands import perceptual_hash
from openjft.loaders.decoding import DecodeError, decode_stored_jpeg
from openjft.loaders.tar import Member, read_tar

from .config import Embed
from .engine import Stage, UnitResult
from .errors import PipelineError
from .keys import KEY_BYTES
from .schema import KEY_TYPE
from .storage import ROW_GROUP_ROWS, Store, bucket_file

Pixels = npt.NDArray[np.uint8]


def embedder_spec(embed: Embed) -> EmbedderSpec:
    """The section of the configuration, as `openjft.dedup` takes it."""
    return EmbedderSpec(**embed.model_dump())


@functools.lru_cache(maxsize=2)
def load_embedder(spec: EmbedderSpec) -> Embedder:
    """The descriptor, loaded once in a process."""
    return make_embedder(spec)


@dataclasses.dataclass(frozen=True)
class EmbedStage(Stage):
    """images/ -> embeddings/."""

    embed: Embed
    num_buckets: int

    name: ClassVar[str] = "embeddings"
    heavy: ClassVar[bool] = True
    noun: ClassVar[str] = "images"

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The weights' hash, the preprocessing and the perceptual hash; not the batch size or the device."""
        return {
            "embedder": embedder_fingerprint(embedder_spec(self.embed)),
            "perceptual": perceptual_fingerprint(),
        }

    def setup(self) -> None:
        """Loads the model."""
        load_embedder(embedder_spec(self.embed))

    def run(self, unit: int, store: Store) -> UnitResult:
        """Embeds one bucket."""
        embedder = load_embedder(embedder_spec(self.embed))
        source = bucket_file("images", unit, self.num_buckets, "tar")
        keys: list[bytes] = []
        vectors: list[npt.NDArray[np.float16]] = []
        hashes: list[int | None] = []
        rows_in = failed = 0
        with store.reading(source) as stream:
            for members in _batches(read_tar(stream, origin=source), self.embed.batch_size):
                images = []
                for member in members:
                    rows_in += 1
                    pixels = decode_member(member)
                    if pixels is None:
                        failed += 1
                        continue
                    keys.append(key_of(member.name, origin=source))
                    images.append(pixels)
                    hashes.append(perceptual_hash(pixels))
                vectors.append(embedder.embed(images).astype(np.float16))
        matrix = np.concatenate(vectors) if vectors else np.empty((0, embedder.dim), np.float16)
        table = embeddings_table(pa.array(keys, KEY_TYPE), matrix, pa.array(hashes, pa.uint64()))
        write_embeddings(store, bucket_file(self.name, unit, self.num_buckets), table)
        return UnitResult(rows_in=rows_in, rows_out=len(keys), rejects={"decode_failed": failed} if failed else {})


def write_embeddings(store: Store, relative: str, table: pa.Table) -> None:
    """A Parquet file of vectors, plain."""
    with store.writing(relative) as sink:
        pq.write_table(
            table, sink, compression="none", use_dictionary=False, write_statistics=False, row_group_size=ROW_GROUP_ROWS
        )


def key_of(name: str, *, origin: str) -> bytes:
    """The image key in a member's name.

    Raises:
        PipelineError: the name is not HEXKEY.jpg.
    """
    stem, _, ending = name.partition(".")
    try:
        key = bytes.fromhex(stem)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or ending != "jpg":
        raise PipelineError(
            f"{origin}: member {name!r}: expected 32 hex digits and .jpg, as `openjft fetch` "
            "writes; run `openjft fetch CONFIG` again"
        )
    return key


def decode_member(member: Member) -> Pixels | None:
    """Pixels of a stored image, or None when its bytes are damaged."""
    try:
        return decode_stored_jpeg(member.data)
    except DecodeError:
        return None


def _batches(members: Iterator[Member], size: int) -> Iterator[list[Member]]:
    batch: list[Member] = []
    for member in members:
        batch.append(member)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
