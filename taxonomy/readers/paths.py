"""Product taxonomies with one path a line.

- 'Animals & Pet Supplies > Pet Supplies', as Google, eBay and Shopify have it, also with ids in front:
  '2 - Animals & Pet Supplies > Pet Supplies' (Google) or 'gid://shopify/TaxonomyCategory/ap-1 : ...' (Shopify).
- '/Home/Garden/Tools'; without the first '/' where the format is named.

The name is the path's last part. The id is the one in front, with the whole path as an alias, since feeds name
categories by either; without ids it is the path. An ancestor that has no line of its own is made (its line is that of
the first path that needs it), except where paths have ids: it would have none. Comments begin with '#'. A separator
is recognised only if nothing else can be meant: '>' without spaces is part of a name where some '>' has spaces around
it, and '/' is where any '>' stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .lines import numbered_lines, sample
from .reader import Reader, ReadOptions
from .source import Source

JOINT: Final = " > "
_SPACED: Final = re.compile(r"\s+>\s+")
_EMPTY_LEVEL: Final = re.compile(r"^>(\s|$)|\s>$")  # 'A > > B' and 'A >' have no space left for the separator
_TIGHT: Final = re.compile(r"\s*>\s*")
_SLASH: Final = re.compile(r"/")
_WITH_ID: Final = (re.compile(r"(\d+)\s+-\s+(\S.*)"), re.compile(r"(gid://\S+)\s+:\s+(\S.*)"))
# Other files: if the first line is so, and if every line is.
_FOREIGN_BEGIN: Final = re.compile(r"[{\[<\"].*|(?!gid:)[a-z0-9+.]+://.*")
_TABLE_COLUMNS: Final = frozenset({"id", "path", "name", "category", "parent", "child", "label"})
_FOREIGN_LINES: Final = (
    (re.compile(r"/[mg]/[0-9a-z_]+(,.*)?"), "MIDs of Open Images"),
    (re.compile(r"/\S+\s+-?\d+"), "classes with their numbers"),  # of Places365: '/a/airfield 0'
)


class _Form(NamedTuple):
    """How the lines of one file are written."""

    with_id: re.Pattern[str] | None
    separator: re.Pattern[str]
    joint: str
    begin: str  # what an id begins with


class _Path(NamedTuple):
    line: int
    id: str
    parts: tuple[str, ...]


def recognise(source: Source) -> bool:
    """By its separator on most of the first lines, or ids in front of all."""
    lines = sample(source, comments=True)
    try:
        form = _form(lines, str(source))
    except TaxonomyError:
        return False
    if form.joint == "/":
        return form.begin == "/"
    # A text may hold a '>' here and there, as definitions and code do.
    return form.with_id is not None or 2 * sum(bool(form.separator.search(line)) for line in lines) >= len(lines)


def read(source: Source, options: ReadOptions) -> Draft:
    """The categories of all paths, and their ancestors."""
    lines = list(numbered_lines(source, comments=True))
    form = _form([text for _, text in lines], str(source))
    paths = [_path(source, line, text, form) for line, text in lines]
    ids: dict[tuple[str, ...], str] = {}
    for path in paths:
        if form.with_id and ids.get(path.parts, path.id) != path.id:
            raise TaxonomyError(
                f"{source}:{path.line}: expected one id for {JOINT.join(path.parts)!r}, found {path.id!r} and before "
                f"{ids[path.parts]!r}. Remove one of the lines"
            )
        ids[path.parts] = path.id
    categories, edges = [], []
    for line, category_id, path_parts in paths:
        parts = path_parts
        aliases = (JOINT.join(parts),) if form.with_id else ()
        categories.append(Category(category_id, parts[-1], aliases=aliases, line=line))
        # Upwards, until an ancestor is known: a line of its own, or made for an earlier path.
        while len(parts) > 1:
            below, parts = ids[parts], parts[:-1]
            known = parts in ids
            if not known:
                ids[parts] = _implied(source, line, parts, form)
                categories.append(Category(ids[parts], parts[-1], line=line))
            edges.append(Edge(below, ids[parts], line))
            if known:
                break
    return Draft(tuple(categories), tuple(edges), str(source))


def _form(lines: Sequence[str], origin: str) -> _Form:
    """How paths are written in these lines.

    Raises:
        TaxonomyError: they are no paths, or it cannot be told what separates their parts.
    """
    expected = f"{origin}: expected paths such as 'A > B > C' or '/A/B/C', found"
    stripped = [line.strip() for line in lines]
    _refuse_foreign(stripped, expected)
    with_id = _ids_in_front(stripped, expected)
    if any(">" in line for line in stripped):
        if all(line.startswith("/") for line in stripped):
            raise TaxonomyError(f"{expected} both '>' and '/' at the beginning of every line. Keep one of them")
        spaced = any(_SPACED.search(line) for line in stripped)
        return _Form(with_id, _SPACED if spaced else _TIGHT, JOINT if spaced else ">", "")
    if with_id is not None:  # only roots
        return _Form(with_id, _SPACED, JOINT, "")
    if not any("/" in line for line in stripped):
        raise TaxonomyError(f"{expected} neither '>' nor '/'. Is it another format?")
    rooted = {line.startswith("/") for line in stripped}
    if len(rooted) > 1:
        odd = next(line for line in stripped if not line.startswith("/"))
        raise TaxonomyError(f"{expected} lines with and without a '/' in front, as {odd[:80]!r}. Write all alike")
    return _Form(None, _SLASH, "/", "/" if True in rooted else "")


def _refuse_foreign(lines: Sequence[str], expected: str) -> None:
    what = ""
    if not lines:
        what = "none"
    elif _FOREIGN_BEGIN.match(lines[0]):
        what = f"{lines[0][:80]!r}"
    elif "," in lines[0] and _TABLE_COLUMNS & {cell.strip().casefold() for cell in lines[0].split(",")}:
        what = f"the header of a table: {lines[0][:80]!r}"
    elif any("\t" in line for line in lines):
        what = f"a tab: {next(line for line in lines if chr(9) in line)[:80]!r}"
    else:
        what = next((what for form, what in _FOREIGN_LINES if all(form.fullmatch(line) for line in lines)), "")
    if what:
        raise TaxonomyError(f"{expected} {what}. Is it another format?")


def _ids_in_front(lines: Sequence[str], expected: str) -> re.Pattern[str] | None:
    """The form of the lines if they have ids; one that most lines have and one has not is an error."""
    for form in _WITH_ID:
        odd = [line for line in lines if not form.fullmatch(line)]
        if 2 * len(odd) < len(lines):
            if odd:
                raise TaxonomyError(f"{expected} lines with and without an id in front, as {odd[0][:80]!r}. Add it")
            return form
    return None


def _path(source: Source, line: int, text: str, form: _Form) -> _Path:
    match = form.with_id.fullmatch(text.strip()) if form.with_id else None
    written = match[2] if match else text.strip()
    if form.joint == "/":
        written = written.removeprefix("/").removesuffix("/")
    parts = tuple(part.strip() for part in form.separator.split(written))
    if any(not part or _EMPTY_LEVEL.search(part) for part in parts):
        raise TaxonomyError(
            f"{source}:{line}: expected a name on each level, found {text.strip()[:80]!r}. Mend the path"
        )
    return _Path(line, match[1] if match else form.begin + form.joint.join(parts), parts)


def _implied(source: Source, line: int, parts: tuple[str, ...], form: _Form) -> str:
    """The id of an ancestor that has no line of its own."""
    path = form.begin + form.joint.join(parts)
    if form.with_id:
        raise TaxonomyError(
            f"{source}:{line}: expected a line with an id for the ancestor {path!r}, found none. Add it, or take the "
            "ids away from all lines"
        )
    return path


READER = Reader(
    "paths", "product taxonomies, one path a line: 'A > B > C' with ids in front or without, '/A/B/C'", recognise, read
)
