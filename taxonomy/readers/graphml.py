"""GraphML, as `networkx.write_graphml` and graph editors write it: edges from parent to child.

The attributes `name` (or a `label` of type string), `definition`, `synonyms` and `aliases` ('|' between items) of a
node are kept, others passed over; `options.reverse` turns the edges round. Read by defusedxml's SAX parser, which
refuses DTDs and entities and knows lines; NetworkX's reader takes unknown nodes for new ones and drops repeated ones.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import defusedxml.sax
from defusedxml.common import DefusedXmlException

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .names import named
from .reader import Reader, ReadOptions
from .source import Source
from .table import items

_ROOT: Final = re.compile(r"\s*(<\?[^>]*\?>\s*|<!--.*?-->\s*)*<(\w+:)?graphml\b", re.DOTALL)


def recognise(source: Source) -> bool:
    """By its first element."""
    return _ROOT.match(source.head) is not None


def read(source: Source, options: ReadOptions) -> Draft:
    """The graph's nodes and edges."""
    handler = _Handler(str(source), reverse=options.reverse)
    try:
        defusedxml.sax.parseString(source.data, handler, forbid_dtd=True)
    except DefusedXmlException as error:
        raise TaxonomyError(
            f"{source}: expected GraphML without a DTD or entities, found {type(error).__name__}. Remove the DOCTYPE"
        ) from None
    except SAXParseException as error:
        place = f"{source}:{error.getLineNumber()}"
        raise TaxonomyError(f"{place}: expected GraphML, found {error.getMessage()}. Is the file whole?") from None
    except (SAXException, ValueError, LookupError) as error:  # such as an encoding that is not known
        raise TaxonomyError(f"{source}: expected GraphML, found {error}. Write it in UTF-8") from None
    if handler.num_graphs != 1:
        raise TaxonomyError(f"{source}: expected one graph, found {handler.num_graphs}. Is it GraphML?")
    return named(Draft(tuple(handler.categories), tuple(handler.edges), str(source)), options)


class _Handler(ContentHandler):
    """Collects categories and edges while the file is read."""

    def __init__(self, origin: str, *, reverse: bool) -> None:
        super().__init__()
        self.categories: list[Category] = []
        self.edges: list[Edge] = []
        self.num_graphs = 0
        self._origin, self._reverse = origin, reverse
        self._keys: dict[str, str] = {}  # id of a key -> name of the attribute
        self._undirected = False
        self._node: tuple[str, int] | None = None  # id and line of the node that is open
        self._attributes: dict[str, str] = {}
        self._attribute: str | None = None
        self._text: list[str] = []

    @property
    def _line(self) -> int:
        return int(self._locator.getLineNumber() or 1)  # type: ignore[attr-defined]  # set by the parser

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        match name.rpartition(":")[2]:
            case "key" if attrs.get("for", "all") in {"node", "all"}:
                name = attrs.get("attr.name", "")
                is_number = name == "label" and attrs.get("attr.type") != "string"  # our own labels are numbers
                self._keys[self._required(attrs, "id")] = "" if is_number else name
            case "graph":
                self._start_graph(attrs)
            case "node":
                self._node, self._attributes = (self._required(attrs, "id"), self._line), {}
            case "data" if self._node is not None:
                self._attribute, self._text = self._keys.get(attrs.get("key", ""), ""), []
            case "edge":
                self._add_edge(attrs)
            case "hyperedge":
                self._fail("expected edges of two nodes, found a hyperedge. Write it as edges")

    def characters(self, content: str) -> None:
        if self._attribute:
            self._text.append(content)

    def endElement(self, name: str) -> None:  # noqa: N802
        match name.rpartition(":")[2]:
            case "data" if self._attribute is not None:
                self._attributes.setdefault(self._attribute, "".join(self._text).strip())
                self._attribute = None
            case "node" if self._node is not None:
                self._add_node(*self._node)
                self._node = None

    def _start_graph(self, attrs: AttributesImpl) -> None:
        if self._node is not None:
            self._fail("expected one flat graph, found a graph within a node. Write its nodes beside the others")
        self.num_graphs += 1
        self._undirected = attrs.get("edgedefault", "directed") != "directed"

    def _add_node(self, node_id: str, line: int) -> None:
        told = self._attributes
        synonyms, aliases = (tuple(items(told.get(key, ""))) for key in ("synonyms", "aliases"))
        name = told.get("name") or told.get("label", "")
        self.categories.append(Category(node_id, name, synonyms, told.get("definition") or None, aliases, line))

    def _add_edge(self, attrs: AttributesImpl) -> None:
        parent, child = self._required(attrs, "source"), self._required(attrs, "target")
        directed = attrs.get("directed")
        if directed == "false" or (directed is None and self._undirected):
            self._fail(f"expected a directed edge from {parent!r} to {child!r}, found one without a direction")
        self.edges.append(Edge(parent, child, self._line) if self._reverse else Edge(child, parent, self._line))

    def _required(self, attrs: AttributesImpl, name: str) -> str:
        value = attrs.get(name)
        if not value:
            self._fail(f"expected the attribute `{name}`, found {', '.join(attrs.keys()) or 'none'}")
        return str(value)

    def _fail(self, message: str) -> None:
        raise TaxonomyError(f"{self._origin}:{self._line}: {message}")


READER = Reader("graphml", "GraphML, edges from parent to child", recognise, read)
