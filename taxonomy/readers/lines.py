"""Text files that have one category a line, and the names beside them: lines with their numbers, names with synonyms.

In: a `Source`. Out: lines without their ends, counted from 1; a cell of comma-separated names in its parts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Final

from .source import HEAD_BYTES, Source

SAMPLE_LINES: Final = 64  # what `recognise` looks at
# A comma without a space belongs to the name, as in '2,4-dinitrophenol'.
_BETWEEN_NAMES: Final = re.compile(r",\s+")


def numbered_lines(source: Source, *, comments: bool = False) -> Iterator[tuple[int, str]]:
    r"""(line, text) of each line that holds anything; with `comments`, those that begin with '#' are passed over too.

    Only '\n' and '\r\n' end a line: Unicode has further line separators, which names may hold.
    """
    for line, text in enumerate(source.text.split("\n"), 1):
        if text.strip() and not (comments and _is_comment(text)):
            yield line, text.rstrip("\r")


def sample(source: Source, *, comments: bool = False) -> list[str]:
    """The first lines of a file that hold something, without those of comments; [] of what is no text. Never raises."""
    lines = source.head.split("\n")
    if len(lines) > 1 and len(source.head.encode()) >= HEAD_BYTES - 4:
        lines.pop()  # it may be cut
    texts = (line.rstrip("\r") for line in lines if line.strip())
    return list(itertools.islice((text for text in texts if not (comments and _is_comment(text))), SAMPLE_LINES))


def _is_comment(text: str) -> bool:
    return text.lstrip().startswith("#")


def split_names(cell: str) -> tuple[str, tuple[str, ...]]:
    """The name and the synonyms of 'tench, Tinca tinca'; each once, empty ones left out."""
    names = list(dict.fromkeys(name for name in (part.strip() for part in _BETWEEN_NAMES.split(cell)) if name))
    return (names[0], tuple(names[1:])) if names else ("", ())
