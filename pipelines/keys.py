"""Image keys and buckets: the hash space that every stage is cut along.

A key is the first 128 bits of BLAKE2b of the canonical URI. A cryptographic hash, because URIs come from
strangers, who could otherwise make two images collide on purpose. Bucket i of N holds the keys whose first 32
bits lie in [i * 2^32 / N, (i + 1) * 2^32 / N), so files in bucket order are in key order, and a prefix of the
buckets is a uniform sample of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

KEY_BYTES = 16
MAX_BUCKETS = 65_536


def image_key(canonical_uri: str) -> bytes:
    """The 16-byte key of one canonical URI."""
    return hashlib.blake2b(canonical_uri.encode(), digest_size=KEY_BYTES).digest()


def image_keys(canonical_uris: Iterable[str]) -> pa.FixedSizeBinaryArray:
    """Keys of many canonical URIs, as Arrow `fixed_size_binary(16)`."""
    # Copying one fresh state is a quarter faster than setting up a new one for each address.
    fresh = hashlib.blake2b(digest_size=KEY_BYTES)
    digests = []
    for uri in canonical_uris:
        state = fresh.copy()
        state.update(uri.encode())
        digests.append(state.digest())
    joined = b"".join(digests)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), len(joined) // KEY_BYTES, [None, pa.py_buffer(joined)]
    )


def key_words(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """(n, 16) uint8 view of a `fixed_size_binary(16)` array without nulls."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks() if keys.num_chunks != 1 else keys.chunk(0)
    buffer = keys.buffers()[1]
    if len(keys) == 0 or buffer is None:
        return np.empty((0, KEY_BYTES), np.uint8)
    flat = np.frombuffer(buffer, np.uint8, count=len(keys) * KEY_BYTES, offset=keys.offset * KEY_BYTES)
    return flat.reshape(-1, KEY_BYTES)


def first_of_image(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """(n,) bool: where another image's rows begin, among rows sorted by key."""
    # Two words at a time: whether neighbours differ is all that is asked.
    words = np.ascontiguousarray(key_words(keys)).view(np.uint64)
    first = np.ones(len(words), np.bool_)
    first[1:] = (words[1:] != words[:-1]).any(axis=1)
    return first


def sortable_keys(words: npt.NDArray[np.uint8] | npt.NDArray[np.uint64]) -> npt.NDArray[np.bytes_]:
    """(n,) byte strings of (n, 16) bytes, which sort as the keys do: NumPy pads with the zeros that it strips."""
    return np.ascontiguousarray(words).view(f"S{KEY_BYTES}").ravel()


def buckets_of(keys: pa.Array | pa.ChunkedArray, num_buckets: int) -> npt.NDArray[np.int32]:
    """(n,) int32 bucket of each key, in [0, num_buckets)."""
    head = np.ascontiguousarray(key_words(keys)[:, :4]).view(">u4").ravel().astype(np.uint64)
    return ((head * np.uint64(num_buckets)) >> np.uint64(32)).astype(np.int32)
