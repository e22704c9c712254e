"""Files and folders that appear whole or not at all: written beside their place, then renamed.

In: a local path and the bytes. Out: nothing; what was there before is replaced, except a folder that holds anything
else. It does not write to object stores: that is `pipelines.storage`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import TaxonomyError


def write_file(target: Path, data: bytes) -> None:
    """Writes a file, or puts it in the place of one.

    Raises:
        TaxonomyError: a folder is there, or none to write into.
        OSError: the file system refuses.
    """
    if target.is_dir():
        raise TaxonomyError(f"{target}: expected a file or nothing there, found a folder. Add the file's name")
    with _temporary(target) as beside:
        beside.write_bytes(data)
        beside.replace(target)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of these files, or puts it in the place of one that holds nothing else.

    Raises:
        TaxonomyError: a file or a folder with other things is there, or no folder to write into.
        OSError: the file system refuses.
    """
    if target.exists() and not target.is_dir():
        raise TaxonomyError(f"{target}: expected a folder or nothing there, found a file. Choose another name")
    others = sorted({entry.name for entry in target.iterdir()} - set(files)) if target.exists() else []
    if others:
        raise TaxonomyError(
            f"{target}: expected an empty folder, or one with only {' and '.join(files)}, found {others[0]}"
            f"{f' and {len(others) - 1:,} more' if len(others) > 1 else ''}. Choose another folder"
        )
    with _temporary(target) as beside:
        beside.mkdir()
        for name, data in files.items():
            (beside / name).write_bytes(data)
        if target.exists():  # a folder is only renamed onto an empty one
            for name in files:
                (target / name).unlink(missing_ok=True)
        beside.replace(target)


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside the target, so on its file system; what lies there after an error is removed."""
    folder = target.absolute().parent
    if not folder.is_dir():
        raise TaxonomyError(f"{target}: expected a folder {folder} to write into, found none. Make it first")
    beside = folder / f".{target.name}.{os.getpid()}.part"
    try:
        yield beside
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)
