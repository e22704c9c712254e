"""Readers of hierarchy files: one module for each format, one registry, one interface.

In: a path or URI that pyarrow opens, of a file or a folder. Out: a `Draft`, or the `Taxonomy` made of it. `auto` asks
each reader in the registry's order whether it recognises the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..build import build_draft
from ..draft import Draft
from ..errors import TaxonomyError
from ..hierarchy import Taxonomy
from . import edges, oewn, open_images
from .reader import Reader, ReadOptions
from .source import Source

# In the order in which they are asked: a format that others would also take comes first.
READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {module.READER.name: module.READER for module in (oewn, edges, open_images)}
)
ENDINGS: Final = (".csv", ".tsv", ".json", ".txt", ".csv.gz", ".tsv.gz", ".json.gz", ".txt.gz")


def read_draft(path: str, format: str = "auto", *, options: ReadOptions | None = None) -> Draft:
    """The hierarchy of a file as it stands there, not yet checked.

    Args:
        path: file, or folder that holds one hierarchy; local or a URI that pyarrow knows.
        format: a name in `READERS`; auto goes by the content.
        options: what the file does not tell.

    Raises:
        TaxonomyError: the file is missing or is of another format.
    """
    source = _the_file(Source(path))
    return _reader(source, format).read(source, options or ReadOptions())


def read_taxonomy(path: str, format: str = "auto", *, options: ReadOptions | None = None) -> Taxonomy:
    """The hierarchy of a file, checked.

    Args:
        path: as `read_draft`.
        format: as `read_draft`.
        options: as `read_draft`.

    Raises:
        TaxonomyError: the file is missing, is of another format, or what it says is no hierarchy.
    """
    return build_draft(read_draft(path, format, options=options))


def _reader(source: Source, format: str) -> Reader:
    if format != "auto":
        if format not in READERS:
            raise TaxonomyError(f"expected a format among auto, {', '.join(READERS)}, found {format!r}")
        return READERS[format]
    for reader in READERS.values():
        if reader.recognise(source):
            return reader
    if not source.is_text:
        source.text  # noqa: B018  # raises: says where it stops being text
    raise TaxonomyError(
        f"{source}: expected a hierarchy: a table with the columns child,parent or id,name,parents, the OEWN table, or "
        f"the Open Images JSON; found a first line {source.first_line[:80]!r}. Set taxonomy.format to get the "
        "reader's own message"
    )


def _the_file(source: Source) -> Source:
    """The file itself, or the one file of a folder that can be a hierarchy."""
    if not source.exists:
        raise TaxonomyError(f"{source}: expected a hierarchy file, found nothing there. Check taxonomy.path")
    if not source.is_folder:
        return source
    names = [name for name in source.files() if name.endswith(ENDINGS)]
    names = [name for name in names if not any(part in name for part in open_images.NAME_FILES)]
    if len(names) != 1:
        raise TaxonomyError(
            f"{source}: expected a file, or a folder with one hierarchy file ({', '.join(ENDINGS[:4])}, gzipped or "
            f"not), found {', '.join(names) or 'none'}. Name the file in taxonomy.path"
        )
    return source.file(names[0])


__all__ = ["READERS", "ReadOptions", "Reader", "Source", "read_draft", "read_taxonomy"]
