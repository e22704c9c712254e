"""Names without a hierarchy: every category is a root.

- A table with a header of one or two columns: a name (`class`, `name`, ...: `_NAME_COLUMNS`), and an index or id
  (`index`, `id`, `LabelName`, ...: `_ID_COLUMNS`).
- Without a header: 'index,name', 'id,name' or 'id<TAB>name', the ids with a digit or a MID; and Places365's
  '/a/airfield 0', whose name is 'airfield'.
- One name a line.

An id that is a number is an index: the name is the id then, the number an alias, as networks order their outputs. A
hierarchy that it takes for a list of names would be lost without a word, so it recognises only what cannot be one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ..draft import Category, Draft
from ..errors import TaxonomyError
from .names import named
from .reader import Reader, ReadOptions
from .source import Source
from .table import find_delimiter, read_rows

_NAME_COLUMNS: Final = {"name", "names", "class", "class_name", "classes", "category", "label", "displayname"}
_ID_COLUMNS: Final = {"id", "index", "idx", "class_id", "class_index", "category_id", "label_id", "labelname", "mid"}
_DIGITS_AT_END: Final = re.compile(r"\d+$")  # index80
_PLACE: Final = re.compile(r"(?P<id>/[a-z]/\S+) (?P<index>\d+)")
_MID: Final = re.compile(r"/[a-z]/[0-9a-z_]+")
_WORDNET_ID: Final = re.compile(r"[navrs]\d{8}")  # `imagenet` reads these
_CODE: Final = re.compile(r"(?=\S*\d)[\w./:-]+")
# A word or a few, as no prose, code or path has on every line.
_NAME: Final = re.compile(r"[^\W_][\w'\u2019&()+.-]*( [\w'\u2019&()+.-]+){0,5}")
_WORD: Final = re.compile(r"(?<!\S)[^\W\d_]{2,}(?!\S)")

Found = list[Category]


def recognise(source: Source) -> bool:
    """Whether all lines have one of the shapes."""
    if not source.is_text or source.is_json:
        return False
    try:
        return any(shape(source) for shape in (*_SHAPES, _names_only))
    except TaxonomyError:
        return False


def read(source: Source, options: ReadOptions) -> Draft:
    """The list of names."""
    found = next((found for shape in _SHAPES if (found := shape(source))), None)
    categories = _lines(source) if found is None else found
    return named(Draft(tuple(categories), (), str(source)), options)


def _with_header(source: Source) -> Found | None:
    rows = list(read_rows(source))
    if not rows:  # nothing but quotation marks
        return None
    columns = [_DIGITS_AT_END.sub("", column.casefold()) for column in rows[0][1]]
    names = [i for i, column in enumerate(columns) if column in _NAME_COLUMNS]
    ids = [i for i, column in enumerate(columns) if column in _ID_COLUMNS]
    if len(rows) == 1 or len(columns) > 2 or len(names) != 1 or len(names) + len(ids) != len(columns):
        return None
    for line, cells in rows:
        if len(cells) != len(columns):
            raise TaxonomyError(f"{source}:{line}: expected {len(columns)} fields, found {len(cells)}. Mend the row")
    return [_category(cells[ids[0]] if ids else "", cells[names[0]], line) for line, cells in rows[1:]]


def _two_columns(source: Source) -> Found | None:
    """Codes and names; two columns of names, or of codes, may be child and parent."""
    if find_delimiter(source.first_line) not in source.first_line:
        return None
    rows = list(read_rows(source))
    if any(len(cells) != 2 for _, cells in rows):
        return None
    ids, names = ({cells[i] for _, cells in rows} for i in (0, 1))
    if not all(map(_is_code, ids)) or all(map(_WORDNET_ID.fullmatch, ids)):
        return None
    # Parents repeat, have ids like their children's, and are children themselves.
    if len(ids) < len(rows) or 2 * len(names) < len(rows) or 2 * sum(map(_is_code, names)) > len(names) or names & ids:
        return None
    return [_category(cells[0], cells[1], line) for line, cells in rows]


def _places(source: Source) -> Found | None:
    matches = [(line, _PLACE.fullmatch(text)) for line, text in _numbered(source)]
    found = [(line, match["id"], match["index"]) for line, match in matches if match is not None]
    if len(found) < len(matches):
        return None
    if len({index for _, _, index in found}) < len(found):
        raise TaxonomyError(
            f"{source}: expected an index of its own after each category, found some twice. Is it the list of "
            "categories, or a list of their properties?"
        )
    return [Category(place, _prettify(place), aliases=(index,), line=line) for line, place, index in found]


_SHAPES: Final[tuple[Callable[[Source], Found | None], ...]] = (_with_header, _two_columns, _places)


def _names_only(source: Source) -> bool:
    """At least two lines, each a name, none twice, no empty line between."""
    lines = [line.rstrip("\r") for line in source.text.rstrip().split("\n")]
    if len(lines) < 2 or len({line.casefold() for line in lines}) < len(lines):
        return False
    if not all(_NAME.fullmatch(line) for line in lines) or _may_be_pairs([line.split() for line in lines]):
        return False
    # Lists of ids (n01440764) and trees by number have no words.
    return 2 * sum(_WORD.search(line) is not None for line in lines) >= len(lines)


def _may_be_pairs(lines: list[list[str]]) -> bool:
    """Whether lines of two words may be parent and child, or child and parent."""
    if any(len(words) != 2 for words in lines):
        return False
    first, second = {words[0] for words in lines}, {words[1] for words in lines}
    return bool(first & second) or 2 * min(len(first), len(second)) <= len(lines)


def _lines(source: Source) -> Found:
    """One name a line, whatever it is; for a file that a person says is flat."""
    found = []
    for line, text in _numbered(source):
        if "\t" in text:
            raise TaxonomyError(
                f"{source}:{line}: expected one name a line, or an id with a digit and a name, found {text[:80]!r}. "
                "Name the columns in the first line: id, tab, name"
            )
        found.append(Category(text, text, line=line))
    return found


def _numbered(source: Source) -> list[tuple[int, str]]:
    lines = enumerate(source.text.split("\n"), 1)
    return [(line, text.strip()) for line, text in lines if text.strip()]


def _is_code(text: str) -> bool:
    return bool(_MID.fullmatch(text) or _CODE.fullmatch(text))


def _category(category_id: str, name: str, line: int) -> Category:
    """A number is an index; a category without an id is called by its name."""
    if not category_id or category_id.isdecimal():
        return Category(name, name, aliases=(category_id,) if category_id not in {"", name} else (), line=line)
    return Category(category_id, name, line=line)


def _prettify(place: str) -> str:
    """'apartment building, outdoor' for '/a/apartment_building/outdoor'."""
    return ", ".join(place.split("/")[2:]).replace("_", " ")


READER = Reader("flat", "lists of names without a hierarchy: every category a root", recognise, read)
