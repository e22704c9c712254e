"""Keys and buckets: stable, spread evenly, in order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.keys import buckets_of, image_key, image_keys, key_words


def test_the_key_of_a_uri_never_changes():
    # Data sets in the world carry these keys: a change here orphans them.
    assert image_key("https://example.org/a.jpg").hex() == "e6c8386bc8bdc774c26f260cea2502a1"


@given(st.lists(st.binary(min_size=16, max_size=16)), st.integers(1, 65_536))
def test_the_bucket_is_the_range_of_the_first_32_bits(keys, num_buckets):
    array = pa.array(keys, pa.binary(16))
    expected = [int.from_bytes(k[:4], "big") * num_buckets >> 32 for k in keys]
    assert buckets_of(array, num_buckets).tolist() == expected


def test_buckets_follow_the_order_of_the_keys():
    keys = image_keys(f"https://example.org/{i}" for i in range(1000))
    in_order = pa.array(sorted(keys.to_pylist()), pa.binary(16))
    buckets = buckets_of(in_order, 7)
    assert (np.diff(buckets) >= 0).all()
    assert np.bincount(buckets, minlength=7).min() > 100


def test_a_slice_and_chunks_are_read_where_they_start():
    keys = image_keys(["a", "b", "c", "d"])
    assert key_words(keys.slice(2)).tobytes() == image_key("c") + image_key("d")
    assert key_words(pa.chunked_array([keys.slice(0, 1), keys.slice(3)])).tobytes() == image_key("a") + image_key("d")
    assert key_words(pa.array([], pa.binary(16))).shape == (0, 16)
