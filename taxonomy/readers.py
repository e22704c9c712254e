"""Readers of hierarchy files: one function for each format, in one registry.

In: a path or URI that pyarrow opens. Out: a `Taxonomy`. Formats:

- `edges`: CSV or TSV with the columns `child,parent` and, optionally, `child_name`; an empty parent makes a root. Or
  one row a category, `id,name,parents` with '|' between parents, optionally `synonyms` ('|' too) and `definition`.
- `oewn`: Open English WordNet nouns as a TSV (`oewn_id, wnid_pwn30, hypernyms, instance_hypernyms, members,
  definition`); the id is the WordNet 3.0 one where there is one. Both kinds of hypernyms are parents.
- `open_images`: the hierarchy JSON (`LabelName`, `Subcategory`); names come from a class-descriptions CSV beside it.
  `Part` is left out: a wheel is not a kind of car.

Every file may be gzipped. What stands in a file is never run, and no more than `MAX_BYTES` of it is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from .build import Category, Edge, build_taxonomy
from .errors import TaxonomyError
from .hierarchy import Taxonomy

Format = Literal["auto", "edges", "oewn", "open_images"]

MAX_BYTES: Final = 1 << 30  # after decompression; the WordNet nouns are 10 MB
NAME_FILES: Final = ("class-descriptions", "class_descriptions", "mid_to_name")
ENDINGS: Final = (".csv", ".tsv", ".json", ".txt", ".csv.gz", ".tsv.gz", ".json.gz", ".txt.gz")


def read_taxonomy(path: str, format: Format = "auto") -> Taxonomy:
    """The hierarchy of a file.

    Args:
        path: file, or folder that holds one hierarchy file; local or a URI that pyarrow knows.
        format: see the module; auto goes by the content.

    Raises:
        TaxonomyError: the file is missing, is of another format, or what it says is no hierarchy.
    """
    path = _the_file(path)
    text = _read_text(path)
    return READERS[_detect(text, path) if format == "auto" else format](text, path)


def read_edges(text: str, path: str) -> Taxonomy:
    """`child,parent` rows, or `id,name,parents` rows."""
    header, rows = _table(text, path)
    if {"child", "parent"} <= set(header):
        return _from_edge_rows(rows, path)
    if {"id", "parents"} <= set(header):
        return _from_node_rows(rows, path)
    raise TaxonomyError(
        f"{path}: expected the columns child,parent or id,name,parents, found {','.join(header)}. Name them so in the "
        "first line"
    )


def read_oewn(text: str, path: str) -> Taxonomy:
    """Open English WordNet nouns, made to a table."""
    header, rows = _table(text, path, delimiter="\t")
    _require(header, ("oewn_id", "wnid_pwn30", "hypernyms", "instance_hypernyms", "members", "definition"), path)
    found = list(rows)
    ids = {row.cells["oewn_id"]: row.cells["wnid_pwn30"] or row.cells["oewn_id"] for row in found}
    categories, edges = [], []
    for line, row in found:
        category_id = ids[row["oewn_id"]]
        name, *synonyms = _items(row["members"]) or [category_id]
        categories.append(Category(category_id, name, tuple(synonyms), row["definition"] or None, line))
        parents = dict.fromkeys(_items(row["hypernyms"]) + _items(row["instance_hypernyms"]))
        edges += [Edge(category_id, ids.get(parent, parent), line) for parent in parents]
    return build_taxonomy(categories, edges, origin=path)


def read_open_images(text: str, path: str) -> Taxonomy:
    """The nested JSON; a category that stands in several places has several parents."""
    try:
        root = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TaxonomyError(f"{path}: expected the Open Images hierarchy as JSON, found {error}") from None
    pairs: dict[tuple[str, str], None] = {}  # a category's own subtree is repeated wherever it stands
    ids: dict[str, None] = {}
    nodes: list[tuple[Any, str | None]] = [(root, None)]
    while nodes:
        node, parent = nodes.pop()
        name = node.get("LabelName") if isinstance(node, dict) else None
        below = node.get("Subcategory", []) if isinstance(node, dict) else None
        if not isinstance(name, str) or not isinstance(below, list):
            raise TaxonomyError(
                f"{path}: expected objects with a `LabelName` and, where it has children, a list `Subcategory`, found "
                f"{json.dumps(node)[:80]}"
            )
        ids[name] = None
        if parent is not None:
            pairs[name, parent] = None
        nodes += [(child, name) for child in below]
    names = _names_beside(path)
    categories = [Category(category_id, names.get(category_id, "")) for category_id in ids]
    return build_taxonomy(categories, [Edge(child, parent) for child, parent in pairs], origin=path)


READERS: Final[Mapping[str, Callable[[str, str], Taxonomy]]] = {
    "edges": read_edges,
    "oewn": read_oewn,
    "open_images": read_open_images,
}


def _detect(text: str, path: str) -> str:
    """The format that a text looks like."""
    if text.lstrip()[:1] in {"{", "["}:
        return "open_images"
    columns = set(_split_header(text)[0])
    if "oewn_id" in columns:
        return "oewn"
    if {"child", "parent"} <= columns or {"id", "parents"} <= columns:
        return "edges"
    raise TaxonomyError(
        f"{path}: expected a hierarchy: a table with the columns child,parent or id,name,parents, the OEWN table, or "
        f"the Open Images JSON; found a first line {text.partition(chr(10))[0][:80]!r}. Set taxonomy.format to get the "
        "reader's own message"
    )


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]


def _from_edge_rows(rows: Iterator[_Row], path: str) -> Taxonomy:
    names: dict[str, str] = {}
    edges = []
    for line, row in rows:
        child, parent, name = row["child"], row["parent"], row.get("child_name", "")
        if not child:
            raise TaxonomyError(f"{path}:{line}: expected an id in `child`, found none. Fill it in, or remove the row")
        if name and names.get(child, "") not in {"", name}:
            raise TaxonomyError(
                f"{path}:{line}: category {child!r} is named {name!r} here and {names[child]!r} before. Choose one name"
            )
        names[child] = name or names.get(child, "")
        if parent:
            names.setdefault(parent, "")
            edges.append(Edge(child, parent, line))
    return build_taxonomy([Category(*item) for item in names.items()], edges, origin=path)


def _from_node_rows(rows: Iterator[_Row], path: str) -> Taxonomy:
    categories, edges = [], []
    for line, row in rows:
        synonyms = tuple(_items(row.get("synonyms", "")))
        definition = row.get("definition") or None
        categories.append(Category(row["id"], row.get("name", ""), synonyms, definition, line))
        edges += [Edge(row["id"], parent, line) for parent in _items(row["parents"])]
    return build_taxonomy(categories, edges, origin=path)


def _items(cell: str) -> list[str]:
    return [item for item in (part.strip() for part in cell.split("|")) if item]


def _split_header(text: str) -> tuple[list[str], str]:
    """Column names, and the delimiter that parts them."""
    first = text.partition("\n")[0].rstrip("\r")
    delimiter = "\t" if "\t" in first else ","
    return [name.strip().strip('"') for name in first.split(delimiter)], delimiter


def _table(text: str, path: str, *, delimiter: str | None = None) -> tuple[list[str], Iterator[_Row]]:
    """The header, and the rows with their lines; empty lines are passed over."""
    header, found = _split_header(text)
    delimiter = delimiter or found
    if len(set(header)) != len(header):
        raise TaxonomyError(f"{path}:1: expected each column once, found {delimiter.join(header)!r}")

    def rows() -> Iterator[_Row]:
        # A TSV has no quotes: a definition may begin with one.
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        )
        try:
            next(reader, None)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise TaxonomyError(
                        f"{path}:{reader.line_num}: expected {len(header)} fields ({', '.join(header)}), found "
                        f"{len(cells)}. Quote a field that holds the delimiter"
                    )
                yield _Row(reader.line_num, {k: v.strip() for k, v in zip(header, cells, strict=True)})
        except csv.Error as error:
            raise TaxonomyError(f"{path}:{reader.line_num}: expected a row of a table, found {error}") from None

    return header, rows()


def _require(header: Sequence[str], columns: Sequence[str], path: str) -> None:
    missing = [column for column in columns if column not in header]
    if missing:
        raise TaxonomyError(
            f"{path}: expected the columns {', '.join(columns)}, found {', '.join(header)}: {', '.join(missing)} "
            "missing. Is it another format?"
        )


def _filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    try:
        if "://" in path:
            filesystem, inner = pafs.FileSystem.from_uri(path)
            return filesystem, inner
        return pafs.LocalFileSystem(), str(Path(path).absolute())
    except (pa.ArrowInvalid, OSError, ImportError) as error:
        raise TaxonomyError(f"{path}: expected a local path or a URI that pyarrow knows, found {error}") from None


def _the_file(path: str) -> str:
    """The path itself, or the one file of a folder that can be a hierarchy."""
    filesystem, inner = _filesystem(path)
    info = filesystem.get_file_info(inner)
    if info.type == pafs.FileType.NotFound:
        raise TaxonomyError(f"{path}: expected a hierarchy file, found nothing there. Check taxonomy.path")
    if info.type != pafs.FileType.Directory:
        return path
    names = sorted(entry.base_name for entry in filesystem.get_file_info(pafs.FileSelector(inner)) if entry.is_file)
    names = [name for name in names if name.endswith(ENDINGS) and not any(part in name for part in NAME_FILES)]
    if len(names) != 1:
        raise TaxonomyError(
            f"{path}: expected a file, or a folder with one hierarchy file ({', '.join(ENDINGS[:4])}, gzipped or not), "
            f"found {', '.join(names) or 'none'}. Name the file in taxonomy.path"
        )
    return f"{path.rstrip('/')}/{names[0]}"


def _read_text(path: str) -> str:
    filesystem, inner = _filesystem(path)
    try:
        with filesystem.open_input_file(inner) as source:
            data: bytes = source.read(MAX_BYTES + 1)
        if data[:2] == b"\x1f\x8b" and len(data) <= MAX_BYTES:
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TaxonomyError(f"{path}: the file cannot be read to its end: {error}. Is it whole?") from None
    if len(data) > MAX_BYTES:
        raise TaxonomyError(f"{path}: expected at most {MAX_BYTES:,} bytes, found more. Is it a hierarchy?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path}: expected text in UTF-8, found {error}. Convert it, or check the path") from None
    if not text.strip():
        raise TaxonomyError(f"{path}: expected a hierarchy, found an empty file")
    return text


def _names_beside(path: str) -> dict[str, str]:
    """MID -> name from the first class-descriptions CSV in the folder of the hierarchy; empty without one."""
    filesystem, inner = _filesystem(path)
    folder = inner.rpartition("/")[0]
    entries = filesystem.get_file_info(pafs.FileSelector(folder))
    files = [e.base_name for e in entries if e.is_file and any(part in e.base_name for part in NAME_FILES)]
    if not files:
        return {}
    text = _read_text(f"{path.rpartition('/')[0] or '.'}/{min(files)}")
    return {row[0].strip(): row[1].strip() for row in csv.reader(io.StringIO(text, newline="")) if len(row) >= 2}
