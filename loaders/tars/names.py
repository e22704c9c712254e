"""Which tars are meant: a folder, one file, or names in brace notation."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from openjft.loaders.errors import LoaderError
from openjft.loaders.storage.cache import ChunkCache
from openjft.loaders.storage.folder import Folder

MAX_TARS: Final = 1_000_000
_TAR: Final = re.compile(r"([^./][^/]*/)?[^./][^/]*\.tar")  # in the folder or one below it, not hidden
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TarNames(NamedTuple):
    """Tars of one folder, by rising name."""

    folder: Folder
    names: tuple[str, ...]


def tar_names(path: str, *, cache: ChunkCache | None = None) -> TarNames:
    """The tars that a path means.

    Args:
        path: a folder or URI (its `*.tar`, and those of `shards/`), a tar, or names: `shards/x-{000000..000127}.tar`.
        cache: on local disk, for tars that lie elsewhere.

    Raises:
        LoaderError: there are none, or too many.
    """
    if path.endswith(".tar"):
        root, _, pattern = path.rpartition("/")
        names = expand(pattern)
        return TarNames(Folder(root or ".", cache), tuple(names))
    folder = Folder(path, cache)
    found = sorted(name for name in folder.sizes(()) if _TAR.fullmatch(name))
    if not found:
        raise LoaderError(
            f"{folder.shown_root}: expected tars (*.tar), found none; where a folder cannot be listed, name them: "
            f"{folder.shown_root.rstrip('/')}/name-{{000000..000127}}.tar"
        )
    return TarNames(folder, tuple(found))


def expand(pattern: str) -> list[str]:
    """The names of a pattern with one or more ranges `{000..127}`, in order; numbers are as wide as the first one."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.group(1), found.group(2)
    count = int(last) - int(first) + 1
    if not 1 <= count <= MAX_TARS:
        raise LoaderError(f"{pattern}: expected a rising range of at most {MAX_TARS:,}, found {found.group(0)}")
    head, tail = pattern[: found.start()], expand(pattern[found.end() :])
    if count * len(tail) > MAX_TARS:
        raise LoaderError(f"{pattern}: expected at most {MAX_TARS:,} names, found more")
    return [f"{head}{n:0{len(first)}d}{rest}" for n in range(int(first), int(last) + 1) for rest in tail]
