"""COCO categories with their supercategories, from an annotations JSON or a CSV.

- Any file with `"categories": [{"id", "name", "supercategory"}, ...]`, such as instances or panoptic annotations;
  of the annotations themselves nothing is parsed. Or that list alone (panopticapi's).
- A CSV with the columns id,name,supercategory.

The name is the id, the number an alias. A supercategory is a category; where it is the category's own name
(person/person) there is one category. No supercategory, or 'none', makes a root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .json_text import as_id, as_list, as_object, as_text, parse_json, show
from .reader import Reader, ReadOptions
from .source import Source
from .table import read_table, require, split_header

COLUMNS: Final = ("id", "name", "supercategory")
_KEY: Final = re.compile(r'"categories"\s*:\s*(?=\[)')
_NO_PARENT: Final = {"", "none"}


def recognise(source: Source) -> bool:
    """By the columns of a CSV, or objects with a supercategory under `categories`."""
    if not source.is_json:
        return source.is_text and set(COLUMNS) <= set(split_header(source)[0])
    try:
        listed, _ = _json_categories(source)
    except TaxonomyError:
        return False
    named = all(isinstance(item, dict) and "name" in item and "id" in item for item in listed)
    return named and any("supercategory" in item for item in listed)


def read(source: Source, options: ReadOptions) -> Draft:
    """The categories and their supercategories."""
    rows = _json_rows(source) if source.is_json else _table_rows(source)
    categories: list[Category] = []
    parents: dict[str, Category] = {}
    edges = []
    for number, name, parent, line in rows:
        categories.append(Category(name, name, aliases=(number,) if number not in {"", name} else (), line=line))
        if parent not in {name, *_NO_PARENT}:
            parents.setdefault(parent, Category(parent, parent, line=line))
            edges.append(Edge(name, parent, line))
    own = {category.id for category in categories}
    further = (category for category in parents.values() if category.id not in own)
    return Draft((*categories, *further), tuple(edges), str(source))


def _table_rows(source: Source) -> Iterable[tuple[str, str, str, int | None]]:
    """(number, name, supercategory, line) of each category."""
    header, rows = read_table(source)
    require(source, header, COLUMNS)
    for line, row in rows:
        if not row["name"]:
            raise TaxonomyError(f"{source}:{line}: expected a name, found none. Fill it in, or remove the row")
        yield row["id"], row["name"], row["supercategory"], line


def _json_rows(source: Source) -> Iterable[tuple[str, str, str, int | None]]:
    listed, key = _json_categories(source)
    for i, value in enumerate(listed):
        place = f"{source}: {key}[{i}]"
        item = as_object(value, place)
        if "name" not in item:
            raise TaxonomyError(f"{place}: expected a key `name`, found {show(item)}")
        number, parent = item.get("id", ""), item.get("supercategory")
        if isinstance(number, int) and not isinstance(number, bool):
            number = str(number)
        parent = "" if parent is None else as_text(parent, f"{place}.supercategory")
        yield as_text(number, f"{place}.id"), as_id(item["name"], f"{place}.name"), parent, None


def _json_categories(source: Source) -> tuple[list[Any], str]:
    """The list of categories, and what its place is called.

    It is found by its key and parsed alone: the annotations of COCO's training images are 450 MB, and the list the last
    kilobytes of them.
    """
    if source.head.lstrip().startswith("["):
        return as_list(source.document, str(source)), ""
    text = source.text
    # Within a string of the file the key would be \"categories\". Looked at here: a look back in the pattern costs 6 s.
    starts = [match.end() for match in _KEY.finditer(text) if text[match.start() - 1] != "\\"]
    if len(starts) != 1:
        raise TaxonomyError(
            f"{source}: expected one key `categories` with a list, found {len(starts)}. Is it a file of "
            "COCO's annotations?"
        )
    return as_list(parse_json(text, str(source), start=starts[0]), f"{source}: categories"), "categories"


READER = Reader("coco", "COCO annotations JSON, or a CSV id,name,supercategory", recognise, read)
