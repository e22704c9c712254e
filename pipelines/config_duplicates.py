"""The section of the configuration on duplicates inside the training set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config_base import Section

MAX_CELLS = 65_536  # that of openjft.dedup.quantiser; a configuration is read without FAISS
Policy = Literal["keep-largest", "keep-all", "merge-labels"]


class Duplicates(Section):
    """Images of the training set that show one picture."""

    policy: Policy = Field(
        "keep-largest",
        description="keep-largest: of each group the largest original stays; merge-labels: the same, and it gets the "
        "labels of all; keep-all: all stay, and a subset of the data set holds all of a group or none",
    )
    min_similarity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="to the group's largest image; none: the descriptor's own default for removal"
    )
    cells: Annotated[int, Field(ge=1, le=MAX_CELLS)] | None = Field(
        None, description="into which vectors are sorted before they are compared; 1: all with all; none: by size"
    )
