"""The category hierarchy: a directed acyclic graph of categories with dense labels.

In: the arrays of `build.build_taxonomy`, or the two tables of `schema`. Out: lookups of ids and names as Arrow
arrays, parents and children as CSR, depth, a NetworkX view. Labels are positions among the ids in bytes order,
so equal hierarchies give equal labels, whatever the order of their file. It holds no images and no counts.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .csr import Csr, Int32s, csr_from_pairs
from .errors import CycleError, TaxonomyError, UnknownCategoryError
from .schema import EDGES, VOCABULARY

if TYPE_CHECKING:
    import networkx as nx  # half a second that most commands need not wait

AMBIGUOUS = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Taxonomy:
    """A validated hierarchy of n categories; make it with `build_taxonomy`, `read_taxonomy` or `from_tables`.

    Attributes:
        ids: external ids, sorted in bytes order; label i is `ids[i]`.
        names: a name for people; the id where the source has none.
        synonyms: further names, without the first.
        definitions: what it is, where the source tells it.
        aliases: further ids that mean the category; none is an id or another category's alias.
        parents: direct parents of each category, each list sorted and unique.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    definitions: tuple[str | None, ...]
    aliases: tuple[tuple[str, ...], ...]
    parents: Csr

    def __post_init__(self) -> None:
        self.parents.frozen()
        looped = np.flatnonzero(self._depth < 0)
        if looped.size:
            raise CycleError(f"{_describe_cycle(self, looped)}. Remove one of these edges")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taxonomy) and self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        return f"Taxonomy({self.num_categories:,} categories, {len(self.parents.values):,} edges)"

    @property
    def num_categories(self) -> int:
        """How many categories there are; labels are [0, num_categories)."""
        return len(self.ids)

    @functools.cached_property
    def children(self) -> Csr:
        """Direct children of each category, each list sorted."""
        child = np.repeat(np.arange(self.num_categories, dtype=np.int32), self.parents.lengths)
        return csr_from_pairs(self.parents.values, child, self.num_categories).frozen()

    @property
    def roots(self) -> Int32s:
        """Sorted labels of the categories without a parent."""
        return np.flatnonzero(self.parents.lengths == 0).astype(np.int32)

    @functools.cached_property
    def _depth(self) -> Int32s:
        depth = longest_paths(self.parents, self.children)
        depth.setflags(write=False)
        return depth

    def depth(self) -> Int32s:
        """(n,) int32 edges on the longest path from a root: every parent lies at a smaller depth."""
        return self._depth

    def index_of(self, category_id: str) -> int:
        """The label of one external id.

        Raises:
            UnknownCategoryError: with the closest id, or the id of the category that bears this name.
        """
        label = self._labels.get(category_id)
        if label is None:
            raise UnknownCategoryError(
                f"expected the id of one of {self.num_categories:,} categories, found {category_id!r}."
                f"{self.suggest(category_id)}"
            )
        return label

    def suggest(self, text: str) -> str:
        """' Did you mean ...?' for an id that is unknown, or '' where nothing comes near."""
        named = self._name_labels.get(text.casefold())
        if named is not None and named != AMBIGUOUS:
            return f" Did you mean {self.ids[named]!r}, whose name that is?"
        close = difflib.get_close_matches(text, self.ids, n=1)
        return f" Did you mean {close[0]!r}?" if close else ""

    @functools.cached_property
    def _labels(self) -> dict[str, int]:
        labels = {alias: label for label, aliases in enumerate(self.aliases) for alias in aliases}
        return labels | {category_id: label for label, category_id in enumerate(self.ids)}

    @functools.cached_property
    def _id_set(self) -> tuple[pa.Array, pa.Int32Array]:
        """All ids and aliases, and the label of each."""
        return pa.array(self._labels, pa.string()), pa.array(self._labels.values(), pa.int32())

    def lookup_ids(self, ids: pa.Array | pa.ChunkedArray) -> pa.Int32Array:
        """Labels of external ids or aliases.

        Args:
            ids: (m,) string, large_string or dictionary of these.

        Returns:
            (m,) int32; null where the id is null or unknown.
        """
        known, labels = self._id_set
        found = labels.take(pc.index_in(_as_strings(ids), value_set=known, skip_nulls=True))
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    @functools.cached_property
    def _name_labels(self) -> dict[str, int]:
        """Casefolded name or synonym -> label, or `AMBIGUOUS` where several categories share it."""
        found: dict[str, int] = {}
        for label, (name, synonyms) in enumerate(zip(self.names, self.synonyms, strict=True)):
            for text in (name, *synonyms):
                if found.setdefault(text.casefold(), label) != label:
                    found[text.casefold()] = AMBIGUOUS
        return found

    def lookup_names(self, names: pa.Array | pa.ChunkedArray) -> tuple[pa.Int32Array, npt.NDArray[np.bool_]]:
        """Labels of names or synonyms, whole and casefolded.

        Args:
            names: (m,) string, large_string or dictionary of these.

        Returns:
            (labels, ambiguous): (m,) int32, null where no category or more than one bears the name, and (m,)
            bool, True where it is more than one.
        """
        encoded = pc.dictionary_encode(_as_strings(names))
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.unify_dictionaries().combine_chunks()
        # Casefolding is Python's: it runs over distinct names, of which a batch of 131k rows has a few thousand.
        known = self._name_labels
        distinct = pa.array([known.get(text.casefold()) for text in encoded.dictionary.to_pylist()], pa.int32())
        labels = distinct.take(encoded.indices)
        ambiguous = pc.equal(labels, AMBIGUOUS).fill_null(fill_value=False)
        return pc.if_else(ambiguous, pa.scalar(None, pa.int32()), labels), ambiguous.to_numpy(zero_copy_only=False)

    def to_networkx(self) -> nx.DiGraph[str]:
        """The ids as nodes (with `label` and `name`), edges from parent to child."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for label, category_id in enumerate(self.ids):
            graph.add_node(category_id, label=label, name=self.names[label])
        child = np.repeat(np.arange(self.num_categories), self.parents.lengths)
        graph.add_edges_from(
            (self.ids[p], self.ids[c]) for p, c in zip(self.parents.values.tolist(), child.tolist(), strict=True)
        )
        return graph

    def to_tables(self) -> tuple[pa.Table, pa.Table]:
        """(vocabulary, edges) with the schemas `VOCABULARY` and `EDGES`."""
        child = np.repeat(np.arange(self.num_categories, dtype=np.int32), self.parents.lengths)
        columns = (range(self.num_categories), self.ids, self.names, self.synonyms, self.definitions, self.aliases)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, VOCABULARY, strict=True)]
        edges = pa.table([pa.array(child), pa.array(self.parents.values)], schema=EDGES)
        return pa.table(arrays, schema=VOCABULARY), edges

    @classmethod
    def from_tables(cls, vocabulary: pa.Table, edges: pa.Table) -> Taxonomy:
        """The hierarchy that `to_tables` gave.

        Raises:
            TaxonomyError: a column is missing, labels are not 0, 1, 2, ..., ids are not sorted and unique, or an
                edge names a label that does not exist or stands twice.
            CycleError: a category is its own ancestor.
        """
        _, ids, names, synonyms, definitions, aliases = (
            column.to_pylist() for column in _checked(vocabulary, VOCABULARY).columns
        )
        child, parent = (column.to_numpy() for column in _checked(edges, EDGES).columns)
        n = len(ids)
        if not np.array_equal(vocabulary["label"].to_numpy(), np.arange(n)):
            raise TaxonomyError("vocabulary: expected the labels 0, 1, 2, ... in order. Write it with `to_tables`")
        if any(a >= b for a, b in itertools.pairwise(ids)):
            raise TaxonomyError("vocabulary: expected ids sorted and unique. Write it with `to_tables`")
        if len(child) and (min(child.min(), parent.min()) < 0 or max(child.max(), parent.max()) >= n):
            raise TaxonomyError(
                f"edges: expected labels in [0, {n}), found one outside. Are both files of one dataset?"
            )
        parents = csr_from_pairs(child, parent, n)
        if len(np.unique(child.astype(np.int64) * n + parent)) != len(child):
            raise TaxonomyError("edges: expected each (child, parent) once, found one twice. Write it with `to_tables`")
        further = tuple(map(tuple, synonyms)), tuple(definitions), tuple(map(tuple, aliases))
        return cls(tuple(ids), tuple(names), *further, parents)

    def fingerprint(self) -> str:
        """Sha256, as hex digits, of all that the hierarchy says; equal for equal content in any file format."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        content: list[Any] = [self.ids, self.names, self.synonyms, self.definitions, self.aliases]
        digest = hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode())
        digest.update(self.parents.values.astype("<i4").tobytes())
        digest.update(self.parents.offsets.astype("<i8").tobytes())
        return digest.hexdigest()


def longest_paths(parents: Csr, children: Csr) -> Int32s:
    """(n,) int32 edges on the longest path from a root; -1 on a cycle or below one (Kahn's order, by levels)."""
    waiting = parents.lengths
    depth = np.full(parents.num_lists, -1, np.int32)
    frontier = np.flatnonzero(waiting == 0)
    level = 0
    while frontier.size:
        depth[frontier] = level
        reached, edges = np.unique(children.take(frontier).values, return_counts=True)
        waiting[reached] -= edges
        frontier = reached[waiting[reached] == 0]
        level += 1
    return depth


def _describe_cycle(taxonomy: Taxonomy, looped: npt.NDArray[np.integer]) -> str:
    """Names one cycle among categories that Kahn's order did not reach."""
    inside = set(looped.tolist())
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    # From child to parent: each of these categories has a parent among them, so every way up ends in a cycle.
    graph.add_edges_from((c, p) for c in looped.tolist() for p in taxonomy.parents.of(c).tolist() if p in inside)
    labels = [child for child, _ in nx.find_cycle(graph)]
    first = labels.index(min(labels))
    labels = [*labels[first:], *labels[:first], labels[first]]

    def show(label: int) -> str:
        category_id, name = taxonomy.ids[label], taxonomy.names[label]
        return category_id if name == category_id else f"{category_id} ({name})"

    return f"category {show(labels[0])} is its own ancestor via {' -> '.join(map(show, labels))}"


def _as_strings(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return values if values.type == pa.string() else pc.cast(values, pa.string())


def _checked(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise TaxonomyError(
            f"expected the columns {', '.join(schema.names)}, found {', '.join(table.column_names)}: "
            f"{', '.join(missing)} missing. Write the table with `Taxonomy.to_tables`"
        )
    return table.select(schema.names).cast(schema)
