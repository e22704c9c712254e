"""Lists of the clean images of a dataset: a key of 32 hex digits a line.

`openjft decontaminate` writes them as NAME.clean.txt for a dataset that is named as an evaluation set of format
"webdataset", since the keys of our shards' samples are the images' keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from openjft.loaders.errors import LoaderError
from openjft.loaders.source import Source, by_shard

_KEY: Final = re.compile(r"[0-9a-fA-F]{32}")
_SHOWN: Final = 5


def read_clean_list(path: Path) -> frozenset[bytes]:
    """Image keys, 32 hex digits a line; blank lines and what follows '#' are passed over.

    Raises:
        LoaderError: the file cannot be read, a line is no key, or there is none.
    """
    keys = set()
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                text = line.partition("#")[0].strip()
                if not text:
                    continue
                if not _KEY.fullmatch(text):
                    raise LoaderError(
                        f"{path}:{number}: expected an image key, 32 hex digits as the shards name their files, found "
                        f"{text[:80]!r}; a list of another benchmark does not name images of this dataset"
                    )
                keys.add(bytes.fromhex(text))
    except (OSError, UnicodeDecodeError) as error:
        raise LoaderError(f"{path}: expected a text file, one image key a line: {error}") from error
    if not keys:
        raise LoaderError(f"{path}: expected image keys, one a line, found none")
    return frozenset(keys)


def count_unknown(listed: frozenset[bytes], images: Source, *, path: Path, allow: bool) -> int:
    """How many keys of a list a source does not have.

    Args:
        listed: keys.
        images: all of them; a list may name images that are not scored, such as those trained on.
        path: of the list, for messages.
        allow: do not complain.

    Raises:
        LoaderError: there are some, and they are not allowed.
    """
    unknown = set(listed)
    for shard, _, rows in by_shard(images):
        if not unknown:
            break
        unknown.difference_update(key.tobytes() for key in images.index(shard).keys[rows])
    if unknown and not allow:
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        shown = ", ".join(key.hex() for key in sorted(unknown)[:_SHOWN])
        raise LoaderError(
            f"{path}: expected ids of {images.root}, found {len(unknown):,} of {len(listed):,} that are not "
            f"in it: {shown}{more}; name the list of these images, or allow them with --allow-unknown-ids"
        )
    return len(unknown)


def mask_of(listed: frozenset[bytes], keys: npt.NDArray[np.uint8], *, path: Path) -> npt.NDArray[np.bool_]:
    """(n,) which of the scored images, (n, 16) uint8 keys, a list names.

    Raises:
        LoaderError: none.
    """
    mask = np.fromiter((key.tobytes() in listed for key in keys), np.bool_, len(keys))
    if not mask.any():
        raise LoaderError(f"{path}: expected images among the {len(keys):,} that were scored, found none in the list")
    return mask
