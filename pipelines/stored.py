"""Stored images by key, out of the tars of `images/`: for whoever wants some of them and not all."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from openjft.loaders.tar import read_tar

from .keys import KEY_BYTES, buckets_of
from .storage import Store, bucket_file


def stored_images(store: Store, num_buckets: int, keys: Collection[bytes]) -> dict[bytes, bytes]:
    """JPEG by key of those that are stored; the others are left out. Reads each bucket's tar up to the last one."""
    found: dict[bytes, bytes] = {}
    wanted = sorted(set(keys))
    if not wanted:
        return found
    buckets = buckets_of(pa.array(wanted, pa.binary(KEY_BYTES)), num_buckets)
    for bucket in np.unique(buckets).tolist():
        path = bucket_file("images", bucket, num_buckets, "tar")
        if not store.exists(path):
            continue
        left = {key.hex(): key for key, b in zip(wanted, buckets.tolist(), strict=True) if b == bucket}
        with store.reading(path) as stream:
            for member in read_tar(stream, origin=path):
                key = left.pop(member.name.partition(".")[0], None)
                if key is not None:
                    found[key] = member.data
                if not left:
                    break
    return found
