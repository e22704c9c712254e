"""What every section of the configuration is made of: the base class and the types of its values."""

from __future__ import annotations

import re
from typing import Annotated

import pydantic
from pydantic import Field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"expected 1 to 64 letters, digits, '_' or '-', found {value!r}")
    return value


Name = Annotated[str, pydantic.AfterValidator(_name)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
PathOrUri = Annotated[str, Field(min_length=1)]


class Section(pydantic.BaseModel):
    """A table of the file: frozen, and strict about unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
