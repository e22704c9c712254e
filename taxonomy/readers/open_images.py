"""Open Images' hierarchy JSON (`LabelName`, `Subcategory`, `Part`), names from a class-descriptions CSV beside it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .reader import Reader, ReadOptions
from .source import Source

NAME_FILES: Final = ("class-descriptions", "class_descriptions", "mid_to_name")


def recognise(source: Source) -> bool:
    """A JSON object."""
    return source.is_text and source.text.lstrip()[:1] in {"{", "["}


def read(source: Source, options: ReadOptions) -> Draft:
    """The nested JSON; a category that stands in several places has several parents."""
    try:
        root = json.loads(source.text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TaxonomyError(f"{source}: expected the Open Images hierarchy as JSON, found {error}") from None
    pairs: dict[tuple[str, str], None] = {}  # a category's own subtree is repeated wherever it stands
    ids: dict[str, None] = {}
    nodes: list[tuple[Any, str | None]] = [(root, None)]
    while nodes:
        node, parent = nodes.pop()
        name = node.get("LabelName") if isinstance(node, dict) else None
        below = node.get("Subcategory", []) if isinstance(node, dict) else None
        if not isinstance(name, str) or not isinstance(below, list):
            raise TaxonomyError(
                f"{source}: expected objects with a `LabelName` and, where it has children, a list `Subcategory`, "
                f"found {json.dumps(node)[:80]}"
            )
        ids[name] = None
        if parent is not None:
            pairs[name, parent] = None
        nodes += [(child, name) for child in below]
    names = _names(source, options)
    categories = [Category(category_id, names.get(category_id, "")) for category_id in ids]
    return Draft(tuple(categories), tuple(Edge(child, parent) for child, parent in pairs), str(source))


def _names(source: Source, options: ReadOptions) -> dict[str, str]:
    """MID -> name from a class-descriptions CSV; empty without one."""
    files = [name for name in source.files() if any(part in name for part in NAME_FILES)]
    if options.names is None and not files:
        return {}
    found = Source(options.names) if options.names is not None else source.file(min(files))
    return {row[0].strip(): row[1].strip() for row in csv.reader(io.StringIO(found.text, newline="")) if len(row) >= 2}


READER = Reader("open_images", "Open Images' hierarchy JSON", recognise, read)
