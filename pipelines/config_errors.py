"""What pydantic finds wrong with a configuration, in the user's words.

In: a `ValidationError` and the model it speaks of. Out: one line for each mistake, with the key's path.
"""

from __future__ import annotations

import difflib
from typing import Any

import pydantic


def describe_errors(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> list[str]:
    """One line for each mistake: the key's path, what was expected, what was found."""
    items = error.errors(include_url=False)
    lines = []
    for item in items:
        location = item["loc"]
        if item["type"] == "too_short" and any(o["loc"][: len(location)] == location != o["loc"] for o in items):
            continue  # pydantic counts only the items that passed; their own mistakes are listed
        path = ".".join(str(part) for part in location) or "(whole file)"
        told = isinstance(item["input"], dict) or "found" in item["msg"]
        found = "" if told else f", found {item['input']!r}"
        if item["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key.{_closest(str(location[-1]), _section_at(location[:-1], model))}")
        elif item["type"] == "missing":
            lines.append(f"{path}: required, and not given")
        else:
            lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}{found}")
    return lines


def _closest(key: str, section: Any) -> str:
    names = list(getattr(section, "model_fields", {}))
    close = difflib.get_close_matches(key, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}." if names else ""


def _section_at(location: tuple[int | str, ...], model: type[pydantic.BaseModel]) -> Any:
    """The model class that the keys of a location lead to, or None."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(here, "model_fields", {}).get(part)
        if field is None:
            return None
        here = field.annotation
        inner = getattr(here, "__args__", ())
        if inner and isinstance(inner[0], type) and issubclass(inner[0], pydantic.BaseModel):
            here = inner[0]
    return here
