"""Readers of hierarchy files: one module for each format, one registry, one interface.

In: a path or URI that pyarrow opens, of a file or a folder. Out: a `Draft`, or the `Taxonomy` made of it. `auto` asks
each reader in the registry's order whether it recognises the content; the file's name plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..build import Built, build_mended
from ..draft import Draft
from ..errors import TaxonomyError
from ..hierarchy import Taxonomy
from . import (
    coco,
    dataset,
    edges,
    flat,
    graphml,
    imagenet,
    indented,
    json_graph,
    oewn,
    open_images,
    parquet,
    paths,
    tencent,
    yolo9000,
)
from .id_list import read_ids
from .reader import Reader, ReadOptions
from .source import Source

# In the order in which they are asked: a format that others would also take comes first, lists of names last.
_MODULES: Final = (
    *(dataset, parquet, graphml),
    *(coco, open_images, json_graph),
    *(oewn, tencent, edges),
    *(imagenet, yolo9000, paths, indented),
    flat,
)
READERS: Final[Mapping[str, Reader]] = MappingProxyType({module.READER.name: module.READER for module in _MODULES})
ENDINGS: Final = (".csv", ".tsv", ".json", ".txt", ".parquet", ".graphml", ".xml", ".tree")


def read_draft(path: str, format: str = "auto", *, options: ReadOptions | None = None) -> Draft:
    """The hierarchy of a file as it stands there, not yet checked.

    Args:
        path: file, or folder that is a hierarchy or holds one; local or a URI that pyarrow knows.
        format: a name in `READERS`; auto goes by the content.
        options: what the file does not tell.

    Raises:
        TaxonomyError: the file is missing or is of another format.
    """
    source, reader = _choose(Source(path), format)
    return reader.read(source, options or ReadOptions())


def read_taxonomy(
    path: str,
    format: str = "auto",
    *,
    options: ReadOptions | None = None,
    collapse: bool = False,
    only: str | None = None,
) -> Taxonomy:
    """The hierarchy of a file, checked.

    Args:
        path: as `read_draft`.
        format: as `read_draft`.
        options: as `read_draft`.
        collapse: whether each cycle becomes one category (`collapse_cycles`); else it is an error.
        only: file of ids to keep, with all their ancestors (`restrict`); None keeps all.

    Raises:
        TaxonomyError: the file is missing, is of another format, or what it says is no hierarchy.
    """
    return read_mended(path, format, options=options, collapse=collapse, only=only).taxonomy


def read_mended(
    path: str,
    format: str = "auto",
    *,
    options: ReadOptions | None = None,
    collapse: bool = False,
    only: str | None = None,
) -> Built:
    """As `read_taxonomy`, with what was mended and which listed ids are not there."""
    draft = read_draft(path, format, options=options)
    return build_mended(draft, collapse=collapse, only=None if only is None else read_ids(only))


def _choose(source: Source, format: str) -> tuple[Source, Reader]:
    """What to read, and with which reader."""
    if format != "auto" and format not in READERS:
        raise TaxonomyError(f"expected a format among auto, {', '.join(READERS)}, found {format!r}")
    if not source.exists:
        raise TaxonomyError(f"{source}: expected a hierarchy file, found nothing there. Check taxonomy.path")
    asked = list(READERS.values()) if format == "auto" else [READERS[format]]
    if source.is_folder:
        whole = next((reader for reader in asked if reader.recognise(source)), None)
        if whole is not None:
            return source, whole
        source = _only_file(source)
    if format != "auto":
        return source, READERS[format]
    return source, _recognise(source)


def _recognise(source: Source) -> Reader:
    source.data  # noqa: B018  # raises: a file that cannot be read is no format's
    for reader in READERS.values():
        if reader.recognise(source):
            return reader
    source.text  # noqa: B018  # raises: says where it stops being text
    if source.is_json:
        source.document  # noqa: B018  # raises: says where it stops being JSON
    formats = "\n".join(f"  {reader.name}: {reader.what}" for reader in READERS.values())
    raise TaxonomyError(
        f"{source}: expected a hierarchy of one of these formats:\n{formats}\nFound the first line "
        f"{source.first_line[:80]!r}. Give --format (taxonomy.format) for that reader's own message"
    )


def _only_file(folder: Source) -> Source:
    """The one file of a folder that can be a hierarchy."""
    known = folder.files()
    names = [name for name in known if name.removesuffix(".gz").endswith(ENDINGS)]
    # Names beside a hierarchy are none; alone they are a flat one.
    names = [name for name in names if name not in open_images.name_files(folder)] or names
    if len(names) != 1:
        found = ", ".join(names) or f"none among {', '.join(known[:10]) or 'no files'}"
        raise TaxonomyError(
            f"{folder}: expected a file, or a folder with one hierarchy file ({', '.join(ENDINGS)}, gzipped or not), "
            f"found {found}. Name the file in taxonomy.path"
        )
    return folder.file(names[0])


__all__ = ["READERS", "ReadOptions", "Reader", "Source", "read_draft", "read_ids", "read_mended", "read_taxonomy"]
