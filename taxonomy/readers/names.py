"""Names from a table of two columns, for hierarchies that have ids only.

In: a CSV or TSV of id and name, with or without a header line: Open Images' `class-descriptions-boxable.csv`
(`LabelName,DisplayName`), or one of your own. Out: a draft whose categories without a name have one. Ids without a
name there keep their id; ids that the hierarchy does not have are passed over, as such files name many more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..draft import Draft
from ..errors import TaxonomyError
from .reader import ReadOptions
from .source import Source
from .table import read_rows


def read_names(source: Source) -> dict[str, str]:
    """Id -> name.

    Raises:
        TaxonomyError: a row has not two fields, or an id has two names.
    """
    names: dict[str, str] = {}
    for line, cells in read_rows(source):
        if len(cells) != 2:
            raise TaxonomyError(
                f"{source}:{line}: expected an id and a name, found {len(cells)} fields. Quote a name that holds the "
                "delimiter"
            )
        category_id, name = cells
        if names.setdefault(category_id, name) != name:
            raise TaxonomyError(
                f"{source}:{line}: {category_id!r} is named {name!r} here and {names[category_id]!r} before. "
                "Remove one of the rows"
            )
    return names


def named(draft: Draft, options: ReadOptions, *, beside: Iterable[Source] = ()) -> Draft:
    """The draft with names from `options.names`, or else from the files `beside`, of which the first that names counts.

    Raises:
        TaxonomyError: as `read_names`.
    """
    files = [Source(options.names)] if options.names is not None else list(beside)
    if not files or all(category.name for category in draft.categories):
        return draft
    names: dict[str, str] = {}
    for file in files:
        names = read_names(file) | names
    categories = (
        category if category.name else category._replace(name=names.get(category.id, ""))
        for category in draft.categories
    )
    return dataclasses.replace(draft, categories=tuple(categories))
