"""What a format's module gives to the registry: how to recognise a file of it, and how to read one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..draft import Draft
from .source import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the file itself does not tell.

    Attributes:
        names: file with ids and names, for formats that keep them apart; None looks beside the hierarchy.
        parts: whether 'is a part of' counts as an edge too (Open Images). A wheel is not a kind of car: off.
        reverse: whether edges of node-link JSON and GraphML go from child to parent, not from parent to child.
    """

    names: str | None = None
    parts: bool = False
    reverse: bool = False


@dataclasses.dataclass(frozen=True)
class Reader:
    """One format.

    Attributes:
        name: as `--format` has it.
        what: one line for the help.
        recognise: whether a file (or folder) looks like it; reads little and never raises for a strange file.
        read: the draft of a file; raises TaxonomyError for one of another format.
    """

    name: str
    what: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Draft]
