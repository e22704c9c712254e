"""Writers of hierarchy files: one registry, one function.

In: a `Taxonomy`, and a local path. Out: a file (or, for `dataset`, a folder) that `read_taxonomy` reads again. Only
`edges` loses something: synonyms, definitions and aliases. What is read from the others has the same fingerprint; a
text that a format cannot hold is an error. Equal hierarchies give equal bytes. Places are as `atomic` has it: a file
is replaced by a whole one or not at all, a folder with other things is not touched.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import write_file, write_folder
from .errors import TaxonomyError
from .hierarchy import Taxonomy
from .readers.table import join_items

NODE_COLUMNS: Final = ("id", "name", "parents", "synonyms", "definition", "aliases")
EDGE_COLUMNS: Final = ("child", "parent", "child_name")

_TEXTS: Final = pa.list_(pa.field("item", pa.string(), nullable=False))
_NODES: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("parents", _TEXTS, nullable=False),
        pa.field("synonyms", _TEXTS, nullable=False),
        pa.field("definition", pa.string()),
        pa.field("aliases", _TEXTS, nullable=False),
    ]
)
_SPECIAL_IN_CSV: Final = re.compile(r'[",\r\n]')
_NOT_IN_TSV: Final = re.compile(r"[\t\r\n]")
# XML 1.0 has no other control characters, and turns a carriage return into a line feed.
_NOT_IN_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class Writer:
    """One format.

    Attributes:
        name: as `--format` has it.
        what: one line for the help: what is written, and what is lost.
        endings: of the files that are of this format unless told otherwise; '' is a folder.
        write: content by file name, '' where it is one file; its arguments are the hierarchy and whether a table has
            tabs.
    """

    name: str
    what: str
    endings: tuple[str, ...]
    write: Callable[[Taxonomy, bool], Mapping[str, bytes]]


class _Row(NamedTuple):
    """One category, with its parents' ids."""

    id: str
    name: str
    parents: Sequence[str]
    synonyms: Sequence[str]
    definition: str | None
    aliases: Sequence[str]


def write_taxonomy(taxonomy: Taxonomy, path: str, format: str = "auto") -> None:
    """Writes a hierarchy to a file, or to a folder.

    Args:
        taxonomy: what to write.
        path: local; a text format is gzipped if it ends in '.gz'.
        format: a name in `WRITERS`; auto goes by the path's ending and, where it has none, writes a folder.

    Raises:
        TaxonomyError: the format or the ending is unknown, the format cannot hold one of the hierarchy's texts, or
            the place cannot be written.
    """
    if "://" in path:
        raise TaxonomyError(f"{path}: expected a local path to write to, found a URI. Write it here, then copy it")
    target = Path(path)
    suffixes = [suffix.lower() for suffix in target.suffixes]
    packed = suffixes[-1:] == [".gz"]
    ending = (suffixes[-2] if len(suffixes) > 1 else ".gz") if packed else (suffixes or [""])[-1]
    writer = _find_writer(path, format, ending)
    if packed and writer.name in _BINARY:
        raise TaxonomyError(f"{path}: expected a name without '.gz' for {writer.name}, which is packed. Leave it away")
    try:
        files = writer.write(taxonomy, ending == ".tsv")
        if "" not in files:
            write_folder(target, files)
        else:
            write_file(target, gzip.compress(files[""], mtime=0) if packed else files[""])
    except UnicodeEncodeError as error:
        raise TaxonomyError(
            f"{path}: expected Unicode text, found half a surrogate pair: {error.object!a:.80}"
        ) from None
    except OSError as error:
        raise TaxonomyError(f"{path}: cannot be written: {error}. Choose another place") from None


def _find_writer(path: str, format: str, ending: str) -> Writer:
    if format != "auto":
        if format not in WRITERS:
            raise TaxonomyError(f"expected a format among auto, {', '.join(WRITERS)}, found {format!r}")
        return WRITERS[format]
    found = next((writer for writer in WRITERS.values() if ending in writer.endings), None)
    if found is None:
        known = ", ".join(f"{end} ({writer.name})" for writer in WRITERS.values() for end in writer.endings if end)
        raise TaxonomyError(
            f"{path}: expected one of the endings {known}, or none for a folder (dataset), found {ending!r}. Mend the "
            f"name, or choose a format among {', '.join(WRITERS)}"
        )
    return found


def _rows(taxonomy: Taxonomy) -> Iterator[_Row]:
    """Each category, in the order of labels."""
    ids, values = taxonomy.ids, taxonomy.parents.values.tolist()
    parents = ([ids[p] for p in values[a:b]] for a, b in itertools.pairwise(taxonomy.parents.offsets.tolist()))
    columns = ids, taxonomy.names, parents, taxonomy.synonyms, taxonomy.definitions, taxonomy.aliases
    return map(_Row, *columns)


def _stripped_rows(taxonomy: Taxonomy, what: str) -> Iterator[_Row]:
    """As `_rows`, for formats whose readers strip texts and take no empty ones.

    Raises:
        TaxonomyError: a text begins or ends with space, or is empty.
    """
    for row in _rows(taxonomy):
        texts = row.id, row.name, *row.parents, *row.synonyms, row.definition, *row.aliases
        for text in texts:
            if text is not None and (text != text.strip() or not text):
                _refuse(row, text, f"texts with neither space around them nor nothing in them in {what}", "as dataset")
        yield row


def _refuse(row: _Row, found: str, expected: str, other: str) -> NoReturn:
    raise TaxonomyError(f"category {row.id!r}: expected {expected}, found {found[:80]!r}. Mend it, or write it {other}")


def _nodes(taxonomy: Taxonomy, tabs: bool) -> Mapping[str, bytes]:
    rows = (
        (
            row,
            (
                row.id,
                row.name,
                *map(join_items, (row.parents, row.synonyms)),
                row.definition or "",
                join_items(row.aliases),
            ),
        )
        for row in _stripped_rows(taxonomy, "a table")
    )
    return {"": _table(NODE_COLUMNS, rows, tabs)}


def _edges(taxonomy: Taxonomy, tabs: bool) -> Mapping[str, bytes]:
    rows = (
        (row, (row.id, parent, row.name))
        for row in _stripped_rows(taxonomy, "a table")
        for parent in row.parents or [""]
    )
    return {"": _table(EDGE_COLUMNS, rows, tabs)}


def _table(header: Sequence[str], rows: Iterable[tuple[_Row, Sequence[str]]], tabs: bool) -> bytes:
    lines = [("\t" if tabs else ",").join(header)]
    for row, cells in rows:
        odd = next((cell for cell in cells if _NOT_IN_TSV.search(cell)), None) if tabs else None
        if odd is not None:
            _refuse(row, odd, "texts without tabs and line breaks in a TSV", "as CSV or JSON")
        lines.append("\t".join(cells) if tabs else ",".join(map(_quoted, cells)))
    return ("\n".join(lines) + "\n").encode()


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL_IN_CSV.search(cell) else cell


def _json(taxonomy: Taxonomy, _: bool) -> Mapping[str, bytes]:
    """Node-link JSON, which `nx.node_link_graph(..., edges="edges")` reads too; one node or edge a line."""
    dump = functools.partial(json.dumps, ensure_ascii=False)
    nodes, edges = [], []
    for row in _rows(taxonomy):
        if "" in {row.name, row.definition}:
            _refuse(row, "", "a name and a definition, or null, in JSON", "as dataset")
        nodes.append(dump({key: value for key, value in row._asdict().items() if key != "parents"}))
        edges += [dump({"source": parent, "target": row.id}) for parent in row.parents]
    lists = (f'"{key}": [\n' + ",\n".join(lines) + "\n]" for key, lines in (("nodes", nodes), ("edges", edges)))
    return {"": f'{{"directed": true, "multigraph": false, "graph": {{}}, {", ".join(lists)}}}\n'.encode()}


def _graphml(taxonomy: Taxonomy, _: bool) -> Mapping[str, bytes]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    for row in _stripped_rows(taxonomy, "GraphML"):
        told = {"name": row.name, "definition": row.definition}
        told |= {"synonyms": join_items(row.synonyms), "aliases": join_items(row.aliases)}
        odd = next((text for text in (row.id, *told.values()) if text and _NOT_IN_XML.search(text)), None)
        if odd is not None:
            _refuse(row, odd, "texts without control characters in GraphML", "as CSV or JSON")
        graph.add_node(row.id, **{key: text for key, text in told.items() if text})
    graph.add_edges_from(taxonomy.to_networkx().edges)
    out = io.BytesIO()
    # By name: `write_graphml` takes lxml where it is installed, whose bytes differ.
    nx.write_graphml_xml(graph, out)
    return {"": out.getvalue()}


def _parquet(taxonomy: Taxonomy, _: bool) -> Mapping[str, bytes]:
    columns = zip(*_stripped_rows(taxonomy, "Parquet"), strict=True)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, _NODES, strict=True)]
    return {"": _packed(pa.table(arrays, schema=_NODES))}


def _dataset(taxonomy: Taxonomy, _: bool) -> Mapping[str, bytes]:
    vocabulary, edges = taxonomy.to_tables()
    return {"vocabulary.parquet": _packed(vocabulary), "edges.parquet": _packed(edges)}


def _packed(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


WRITERS: Final[Mapping[str, Writer]] = MappingProxyType(
    {
        writer.name: writer
        for writer in (
            Writer("nodes", "CSV (or TSV, by the ending) with one category a row", (".csv", ".tsv"), _nodes),
            Writer("edges", "CSV or TSV of edges; loses synonyms, definitions and aliases", (), _edges),
            Writer("json", "node-link JSON as NetworkX has it, edges from parent to child", (".json",), _json),
            Writer("parquet", "Parquet with one category a row", (".parquet",), _parquet),
            Writer("graphml", "GraphML, edges from parent to child", (".graphml",), _graphml),
            Writer("dataset", "a folder as datasets have it: vocabulary.parquet and edges.parquet", ("",), _dataset),
        )
    }
)
_BINARY: Final = {"parquet", "dataset"}
