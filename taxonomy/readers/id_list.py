"""A list of ids, as `--only`, `taxonomy.only` and `expand.roles_file` name one. It is no hierarchy: no `Reader`."""

from __future__ import annotations

import re
from typing import Final

from ..errors import TaxonomyError
from .source import Source

_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


def read_ids(path: str) -> tuple[str, ...]:
    """A list of ids, in its order, each once.

    Args:
        path: local path or URI of a text file: one id a line, its first column where tabs separate several; '#'
            begins a comment at the start of a line or after a space; empty lines are passed over.

    Raises:
        TaxonomyError: the file cannot be read, or holds no id.
    """
    source = Source(path)
    ids = parse_ids(source.text)
    if not ids:
        raise TaxonomyError(f"{source}: expected one id a line, found none")
    return ids


def parse_ids(text: str) -> tuple[str, ...]:
    """The ids of a list's text, as `read_ids`."""
    cells = (_COMMENT.sub("", line).partition("\t")[0].strip() for line in text.splitlines())
    return tuple(dict.fromkeys(cell for cell in cells if cell))
