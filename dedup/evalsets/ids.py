"""Lists of ids: which images of a set count.

| shape | example |
|---|---|
| an id a line; the rest of it is passed over, '#' comments | `42`, `000004  1`, `COCO_val2014_000000000042.jpg` |
| JSON list | `[42, 139]`, `["000000000042.jpg"]` |
| JSON object with `images`, `image_ids` or `ids` | annotations of a subset (`instances_minival2014.json`) |

A line that is an id as a whole is taken as a whole, so that names with blanks or '#' can stand in lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import EvalSetError
from .spec import MAX_LIST_BYTES, EvalSetSpec, Item, read_bounded, some, where

_LISTS: Final = ("images", "image_ids", "ids")
_FIELDS: Final = ("id", "image_id", "cocoid", "file_name", "filename")  # cocoid, filename: Karpathy's splits


def pick(spec: EvalSetSpec, found: list[Item], spellings: Callable[[str], Sequence[str]]) -> list[Item]:
    """The images that `spec.ids` lists, in the order of the list.

    Raises:
        EvalSetError: the list cannot be read, is empty, or holds ids twice or such that are not in the set.
    """
    assert spec.ids is not None
    items = {item.id: item for item in found}
    picked: dict[str, Item] = {}
    unknown: list[str] = []
    twice: list[str] = []
    for candidates in _read_entries(spec, Path(spec.ids)):
        id_ = _resolve(candidates, items, spellings)
        if id_ is None:
            if candidates[-1]:
                unknown.append(candidates[-1])
        elif id_ in picked:
            twice.append(id_)
        else:
            picked[id_] = items[id_]
    total = len(picked) + len(unknown) + len(twice)
    place = f"{where(spec)}: ids: {spec.ids}"
    if unknown:
        raise EvalSetError(f"{place}: {len(unknown):,} of {total:,} ids are not in the set: {some(unknown)}")
    if twice:
        raise EvalSetError(f"{place}: expected each id once, found {len(twice):,} again: {some(twice)}")
    if not picked:
        raise EvalSetError(f"{place}: expected ids, found none; the list is empty")
    return list(picked.values())


def _resolve(
    candidates: Sequence[str], items: Mapping[str, Item], spellings: Callable[[str], Sequence[str]]
) -> str | None:
    exact = next((text for text in candidates if text in items), None)
    # Other spellings from the shortest text on: the last number of "42 # like 139" is no id.
    spelled = (id_ for text in reversed(candidates) if text for id_ in spellings(text))
    return exact if exact is not None else next((id_ for id_ in spelled if id_ in items), None)


def _read_entries(spec: EvalSetSpec, path: Path) -> Iterator[Sequence[str]]:
    """Of each entry the texts that may be the id, the likeliest first; the last is empty where it is a comment."""
    try:
        text = read_bounded(path, MAX_LIST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvalSetError(f"{where(spec)}: ids: expected a text file, one id a line, at {path}: {error}") from error
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in {"[", "{"}:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            if path.suffix.lower() == ".json":
                raise EvalSetError(f"{where(spec)}: ids: {path}: expected JSON, found: {error}") from error
        else:
            yield from ((entry,) for entry in _json_entries(spec, path, value))
            return
    for line in text.split("\n"):  # splitlines would cut at characters that names may hold
        whole = line.rstrip("\r")
        plain = whole.split("#", 1)[0].strip()
        yield whole, whole.strip(), plain, (plain.split() or [""])[0]


def _json_entries(spec: EvalSetSpec, path: Path, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)
    if not isinstance(value, list):
        raise EvalSetError(
            f"{where(spec)}: ids: {path}: expected a JSON list of ids, or an object with such a list as one of "
            f"{', '.join(_LISTS)}"
        )
    for entry in value:
        found = entry
        if isinstance(entry, dict):
            found = next((entry[key] for key in _FIELDS if key in entry), None)
        if isinstance(found, bool) or not isinstance(found, int | str):
            raise EvalSetError(
                f"{where(spec)}: ids: {path}: expected each entry to be an id or to have one of {', '.join(_FIELDS)}, "
                f"found {str(entry)[:80]}"
            )
        yield str(found)
