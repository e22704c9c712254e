"""Open Images' hierarchy JSON: `LabelName`, `Subcategory` and `Part`; or the older one by name, `name` and `children`.

Names come from `options.names`, or from the class-descriptions CSV beside the file; a MID without one keeps its id.
A category that stands only under `Part` is a category without that parent; with `options.parts` it is an edge too.
The CSV alone, without a hierarchy, is read as `flat`.
"""

from __future__ import annotations

from typing import Any, Final

from ..draft import Draft
from ..errors import TaxonomyError
from .json_text import show
from .names import named
from .nested import read_nested
from .reader import Reader, ReadOptions
from .source import Source

NAME_FILES: Final = ("class-descriptions", "class_descriptions", "mid_to_name")


def recognise(source: Source) -> bool:
    """By the keys of the outermost object."""
    if not source.is_json:
        return False
    # 'size', the area of a drawn circle, tells the older file from other nested JSON.
    if '"LabelName"' not in source.head and '"size"' not in source.head:
        return False
    try:
        root = source.document
    except TaxonomyError:
        return False
    return _is_by_id(root) or (_is_by_name(root) and "id" not in root and '"size"' in source.head)


def read(source: Source, options: ReadOptions) -> Draft:
    """The nested JSON; a category that stands in several places has several parents."""
    root = source.document
    if _is_by_id(root):
        keys, below = ("LabelName",), {"Subcategory": True, "Part": options.parts}
    elif _is_by_name(root):
        keys, below = ("name",), {"children": True}
    else:
        raise TaxonomyError(
            f"{source}: expected an object with `LabelName` and `Subcategory`, or with `name` and `children`, found "
            f"{show(root)}. Is it another format?"
        )
    draft = read_nested([(root, None)], str(source), id_keys=keys, below=below)
    return named(draft, options, beside=map(source.file, name_files(source)))


def name_files(source: Source) -> list[str]:
    """The class-descriptions files beside it, or in the folder that it is."""
    return [name for name in source.files() if any(part in name for part in NAME_FILES)]


def _is_by_id(root: Any) -> bool:
    return isinstance(root, dict) and "LabelName" in root


def _is_by_name(root: Any) -> bool:
    return isinstance(root, dict) and "name" in root and isinstance(root.get("children"), list)


READER = Reader("open_images", "Open Images' hierarchy JSON (`LabelName`, `Subcategory`, `Part`)", recognise, read)
