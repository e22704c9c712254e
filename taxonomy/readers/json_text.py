"""JSON as it is written by strangers: parsed with a cap, every wrong value named by its place.

In: text, or a value found in it with the place where it stands (`file.json: nodes[3].id`). Out: plain values of the
expected type. A key that stands twice, NaN and nesting without end are errors; lines are not known, places are.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from ..draft import Category
from ..errors import TaxonomyError

MAX_JSON_CHARS: Final = 1 << 28  # parsed values take ten times the text: 2.7 GB


def parse_json(text: str, origin: str, *, start: int | None = None) -> Any:
    """The value that `text` holds.

    Args:
        text: one JSON document, or, with `start`, text that holds one value from there on.
        origin: file, the beginning of every error.
        start: where the value begins; what follows it is not looked at.

    Raises:
        TaxonomyError: no JSON, a key twice in one object, NaN or infinity, too deep, too long.
    """
    if start is None and len(text) > MAX_JSON_CHARS:
        raise TaxonomyError(
            f"{origin}: expected at most {MAX_JSON_CHARS:,} characters of JSON, found {len(text):,}. Is it a hierarchy?"
        )

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            _raise_repeated_key(pairs, text, origin)
        return found

    def no_constant(constant: str) -> NoReturn:
        raise TaxonomyError(f"{origin}: expected JSON, found {constant}, which JSON does not have. Write null")

    decoder = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=no_constant)
    try:
        return decoder.decode(text) if start is None else decoder.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        raise TaxonomyError(f"{origin}:{error.lineno}: expected JSON, found {error}. Is the file whole?") from None
    except RecursionError:
        raise TaxonomyError(f"{origin}: expected JSON, found lists or objects nested too deeply to be read") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise TaxonomyError(f"{origin}: expected JSON, found a number that is too long: {error}") from None


def _raise_repeated_key(pairs: list[tuple[str, Any]], text: str, origin: str) -> NoReturn:
    keys = [key for key, _ in pairs]
    repeated = next(key for i, key in enumerate(keys) if key in keys[:i])
    written = re.escape(json.dumps(repeated, ensure_ascii=False))
    lines = [text.count("\n", 0, match.start()) + 1 for match in re.finditer(rf"{written}\s*:", text)]
    where = f" (lines {lines[0]} and {lines[1]})" if len(lines) == 2 else ""
    raise TaxonomyError(
        f"{origin}: expected each key once in an object, found {repeated!r} twice{where}. Merge the two, or remove one"
    )


def show(value: Any) -> str:
    """A value in a few words, for an error: scalars as JSON, never a whole list or object."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(repr, list(value)[:5]))}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    return json.dumps(value)[:80]


def as_object(value: Any, place: str) -> dict[str, Any]:
    """`value`, which is an object.

    Raises:
        TaxonomyError: it is not.
    """
    if not isinstance(value, dict):
        raise TaxonomyError(f"{place}: expected an object, found {show(value)}")
    return value


def as_list(value: Any, place: str) -> list[Any]:
    """`value`, which is a list.

    Raises:
        TaxonomyError: it is not.
    """
    if not isinstance(value, list):
        raise TaxonomyError(f"{place}: expected a list, found {show(value)}")
    return value


def as_text(value: Any, place: str) -> str:
    """`value`, which is a string of Unicode characters.

    Raises:
        TaxonomyError: it is no string, or holds half a surrogate pair, which no file in UTF-8 can.
    """
    if not isinstance(value, str):
        raise TaxonomyError(f"{place}: expected a string, found {show(value)}. Write it in quotes")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise TaxonomyError(f"{place}: expected Unicode text, found half a surrogate pair in {value!a}") from None
    return value


def as_id(value: Any, place: str) -> str:
    """`value`, which is an id: a string that is not empty.

    Raises:
        TaxonomyError: it is not.
    """
    found = as_text(value, place)
    if not found:
        raise TaxonomyError(f"{place}: expected the id of a category, found an empty string")
    return found


def as_texts(value: Any, place: str) -> tuple[str, ...]:
    """`value`, which is a list of strings; null is an empty one.

    Raises:
        TaxonomyError: it is not.
    """
    listed = [] if value is None else as_list(value, place)
    return tuple(as_text(item, f"{place}[{i}]") for i, item in enumerate(listed))


def as_category(node: dict[str, Any], category_id: str, place: str) -> Category:
    """The category of an object with, optionally, `name`, `synonyms`, `definition` and `aliases`.

    Raises:
        TaxonomyError: one of these is of another type.
    """
    name, definition = node.get("name"), node.get("definition")
    return Category(
        category_id,
        "" if name is None else as_text(name, f"{place}.name"),
        as_texts(node.get("synonyms"), f"{place}.synonyms"),
        None if definition is None else as_text(definition, f"{place}.definition") or None,
        as_texts(node.get("aliases"), f"{place}.aliases"),
    )
