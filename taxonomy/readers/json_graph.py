"""Graphs as JSON, in the three shapes that people write.

- Node-link, as `networkx.node_link_data(taxonomy.to_networkx())` gives: `nodes` (`id`; optionally `name`,
  `synonyms`, `definition`, `aliases`) and `edges` or `links` (`source` is the parent, `target` the child).
- Adjacency: `{"animal": ["dog", "cat"]}`, a parent and its children.
- Nested: `{"id": "animal", "name": "Animal", "children": [...]}`, or a list of such; without `id`, `name` is the id.

`options.reverse` turns the edges of the first two round, where they go from child to parent. NetworkX's own reader
is not used: it takes an edge to an unknown node for a new node, and drops repeated nodes and edges.
"""

from __future__ import annotations

from typing import Any, Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from . import open_images
from .json_text import as_category, as_id, as_list, as_object, show
from .names import named
from .nested import read_nested
from .reader import Reader, ReadOptions
from .source import Source

_EDGE_KEYS: Final = ("edges", "links")


def recognise(source: Source) -> bool:
    """By the keys of the outermost object."""
    if not source.is_json or open_images.recognise(source):  # whose older file is nested JSON too
        return False
    try:
        root = source.document
    except TaxonomyError:
        return False
    return _is_node_link(root) or _is_nested(root) or (_is_adjacency(root) and any(root.values()))


def read(source: Source, options: ReadOptions) -> Draft:
    """The graph, whichever of the three shapes it has."""
    root, origin = source.document, str(source)
    if _is_node_link(root):
        draft = _from_node_link(root, origin, reverse=options.reverse)
    elif _is_nested(root):
        roots = [(node, (None, i)) for i, node in enumerate(root)] if isinstance(root, list) else [(root, None)]
        draft = read_nested(roots, origin, id_keys=("id", "name"), below={"children": True})
    elif isinstance(root, dict) and root:
        draft = _from_adjacency(root, origin, reverse=options.reverse)
    else:
        raise TaxonomyError(
            f"{origin}: expected `nodes` and `edges`, lists of children by their parent, or nested objects with "
            f"`children`, found {show(root)}"
        )
    return named(draft, options)


def _is_node_link(root: Any) -> bool:
    return isinstance(root, dict) and "nodes" in root and any(key in root for key in _EDGE_KEYS)


def _is_nested(root: Any) -> bool:
    if isinstance(root, list):
        return any(_is_nested(node) for node in root if isinstance(node, dict))
    return isinstance(root, dict) and ("id" in root or "name" in root) and isinstance(root.get("children"), list)


def _is_adjacency(root: Any) -> bool:
    return isinstance(root, dict) and all(
        isinstance(children, list) and all(isinstance(child, str) for child in children) for children in root.values()
    )


def _from_node_link(root: dict[str, Any], origin: str, *, reverse: bool) -> Draft:
    if root.get("directed", True) is not True:
        raise TaxonomyError(
            f"{origin}: directed: expected true, found {show(root['directed'])}. An edge must tell the parent from the "
            "child: write a directed graph"
        )
    if all(key in root for key in _EDGE_KEYS):
        raise TaxonomyError(f"{origin}: expected `edges` or `links`, found both. Remove one of them")
    key = next(key for key in _EDGE_KEYS if key in root)
    categories = []
    for i, value in enumerate(as_list(root["nodes"], f"{origin}: nodes")):
        place = f"{origin}: nodes[{i}]"
        node = as_object(value, place)
        categories.append(as_category(node, _id_of(node, "id", place), place))
    edges = []
    for i, value in enumerate(as_list(root[key], f"{origin}: {key}")):
        place = f"{origin}: {key}[{i}]"
        edge = as_object(value, place)
        parent, child = _id_of(edge, "source", place), _id_of(edge, "target", place)
        edges.append(Edge(parent, child) if reverse else Edge(child, parent))
    return Draft(tuple(categories), tuple(edges), origin)


def _id_of(item: dict[str, Any], key: str, place: str) -> str:
    if key not in item:
        raise TaxonomyError(f"{place}: expected a key `{key}`, found {show(item)}")
    return as_id(item[key], f"{place}.{key}")


def _from_adjacency(root: dict[str, Any], origin: str, *, reverse: bool) -> Draft:
    ids: dict[str, None] = {}
    edges = []
    for key, listed in root.items():
        first = as_id(key, f"{origin}: a key")
        ids[first] = None
        for i, value in enumerate(as_list(listed, f"{origin}: [{key!r}]")):
            second = as_id(value, f"{origin}: [{key!r}][{i}]")
            ids[second] = None
            edges.append(Edge(first, second) if reverse else Edge(second, first))
    return Draft(tuple(map(Category, ids)), tuple(edges), origin)


READER = Reader("json_graph", "graphs as JSON: node-link, parent to children, or nested `children`", recognise, read)
