"""Any folder: every image file at any depth; ids are relative paths."""

from __future__ import annotations

from typing import Final

from .spec import EvalSetSpec, Item, Layout, images_below, root_folder


def _read(spec: EvalSetSpec) -> list[Item]:
    return [Item(relative, str(path)) for relative, path in images_below(root_folder(spec))]


LAYOUT: Final = Layout(read=_read)
