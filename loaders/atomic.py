"""Files that appear whole or not at all: written beside their place, then renamed. On a local disk."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """Yields the name to write to; at the end it takes the place of `path`, after an error it is removed.

    The name is always the same, so that a killed process leaves one file at most and its successor writes over it;
    one process at a time writes a file. Its folder is made.

    Raises:
        OSError: the file system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise
