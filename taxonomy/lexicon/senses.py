"""The senses that a word may have: the categories of the taxonomy, and those of a background that it does not have.

In: a taxonomy and, where there is one, a background taxonomy. Out: an `Inventory`: one graph of nodes, of which the
first n are the taxonomy's labels; which label a node counts as; how much each tells.

A background category with the id or an alias of a taxonomy's category is that category, and lends it its names,
definition and place. Any other counts as its nearest ancestor in the taxonomy that tells enough (a poodle is a dog
where the taxonomy has no poodle), or as none of ours. Information content after Resnik (1995), over categories.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..closure import Closure, ancestor_closure
from ..csr import Csr, Int32s, Int64s, csr_from_pairs
from ..hierarchy import Taxonomy

NONE: Final = -1
# An ancestor that no one named must leave at least seven eighths of all categories out. With Tencent's vocabulary
# before WordNet that keeps `person` (3.6 bits) and `animal` (3.3), and drops `instrumentality` (2.8) and `object`.
MIN_BITS: Final = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Inventory:
    """Nodes: the n labels of the taxonomy, then the background's further categories.

    Attributes:
        graph: all nodes with names, definitions and parents; its labels are the nodes.
        num_labels: n.
        mapped: (n,) bool, whether the background has the category too.
        own_names: (n,) int64 how many names of a label are the taxonomy's own; those that the background lends follow.
        closure: of `graph`.
        label: (nodes,) int32 label that a node counts as, or `NONE`.
        bits: (nodes,) float64 information content of a node in the graph.
        label_closure: of the taxonomy itself.
        label_bits: (n,) float64 information content of a label: the mean of the graph's and the taxonomy's own.
    """

    graph: Taxonomy
    num_labels: int
    mapped: npt.NDArray[np.bool_]
    own_names: Int64s
    closure: Closure
    label: Int32s
    bits: npt.NDArray[np.float64]
    label_closure: Closure
    label_bits: npt.NDArray[np.float64]

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return self.graph.num_categories

    def below(self) -> Int64s:
        """(nodes,) int64 how many nodes lie below each."""
        return descendants_of(self.closure)


def descendants_of(closure: Closure) -> Int64s:
    """(n,) int64 how many categories lie below each."""
    return np.bincount(closure.values, minlength=closure.num_categories).astype(np.int64)


def bits_of(closure: Closure) -> npt.NDArray[np.float64]:
    """(n,) float64 information content by the share of categories at or below each."""
    return np.abs(np.log2((descendants_of(closure) + 1) / max(closure.num_categories, 1)))


def take_inventory(taxonomy: Taxonomy, background: Taxonomy | None) -> Inventory:
    """All senses of a taxonomy and its background."""
    n = taxonomy.num_categories
    own = ancestor_closure(taxonomy)
    own_names = np.fromiter((1 + len(names) for names in taxonomy.synonyms), np.int64, n)
    if background is None:
        label = np.arange(n, dtype=np.int32)
        return Inventory(taxonomy, n, np.zeros(n, np.bool_), own_names, own, label, bits_of(own), own, bits_of(own))
    node_of = _align(taxonomy, background)
    graph = _join(taxonomy, background, node_of)
    mapped = np.zeros(n, np.bool_)
    mapped[node_of[node_of < n]] = True
    closure = ancestor_closure(graph)
    bits = bits_of(closure)
    label_bits = np.where(mapped, (bits[:n] + bits_of(own)) / 2, bits_of(own))
    label = _nearest_labels(graph, n, label_bits)
    return Inventory(graph, n, mapped, own_names, closure, label, bits, own, label_bits)


def _align(taxonomy: Taxonomy, background: Taxonomy) -> Int32s:
    """(m,) int32 node of each background category: the label with its id or an alias, else a new node."""
    n, m = taxonomy.num_categories, background.num_categories
    node_of = np.full(m, NONE, np.int32)
    taken = np.zeros(n, np.bool_)
    for ours, theirs in _shared_ids(taxonomy, background):
        if node_of[theirs] == NONE and not taken[ours]:
            node_of[theirs], taken[ours] = ours, True
    new = np.flatnonzero(node_of == NONE)
    node_of[new] = n + np.arange(len(new))
    return node_of


def _shared_ids(taxonomy: Taxonomy, background: Taxonomy) -> list[tuple[int, int]]:
    """(ours, theirs) of categories that share an id or alias: equal ids first."""
    pairs: list[tuple[int, int]] = []
    for ids, further in ((True, False), (False, True)):
        for one, other, swap in ((background, taxonomy, False), (taxonomy, background, True)):
            rows = [(i, name) for i in range(one.num_categories) for name in _ids_of(one, i, ids=ids, further=further)]
            if not rows:
                continue
            found = other.lookup_ids(pa.array([name for _, name in rows], pa.string())).to_pylist()
            for (i, _), j in zip(rows, found, strict=True):
                if j is not None:
                    pairs.append((i, j) if swap else (j, i))
    return pairs


def _ids_of(taxonomy: Taxonomy, label: int, *, ids: bool, further: bool) -> tuple[str, ...]:
    return ((taxonomy.ids[label],) if ids else ()) + (taxonomy.aliases[label] if further else ())


def _join(taxonomy: Taxonomy, background: Taxonomy, node_of: Int32s) -> Taxonomy:
    """One graph: the background's edges among its nodes, the taxonomy's for what only it has (so no new cycle)."""
    n = taxonomy.num_categories
    nodes = max(n, int(node_of.max(initial=-1)) + 1)
    ids = [*taxonomy.ids, *[""] * (nodes - n)]
    names = [*taxonomy.names, *[""] * (nodes - n)]
    synonyms = [*taxonomy.synonyms, *[()] * (nodes - n)]
    definitions: list[str | None] = [*taxonomy.definitions, *[None] * (nodes - n)]
    for theirs, node in enumerate(node_of.tolist()):
        if node >= n:
            ids[node], names[node] = background.ids[theirs], background.names[theirs]
            synonyms[node], definitions[node] = background.synonyms[theirs], background.definitions[theirs]
            continue
        lent = dict.fromkeys((*synonyms[node], background.names[theirs], *background.synonyms[theirs]))
        lent.pop(names[node], None)
        synonyms[node] = tuple(lent)
        definitions[node] = " ; ".join(filter(None, (definitions[node], background.definitions[theirs]))) or None
    child = np.repeat(node_of, background.parents.lengths)
    parent = node_of[background.parents.values]
    only_ours = ~np.isin(np.arange(n), node_of)
    ours = np.repeat(np.arange(n), taxonomy.parents.lengths)
    kept = only_ours[ours]
    child = np.concatenate([child, ours[kept]])
    parents = csr_from_pairs(child, np.concatenate([parent, taxonomy.parents.values[kept]]), nodes)
    return Taxonomy(tuple(ids), tuple(names), tuple(synonyms), tuple(definitions), ((),) * nodes, parents)


def _nearest_labels(graph: Taxonomy, num_labels: int, label_bits: npt.NDArray[np.float64]) -> Int32s:
    """(nodes,) int32 the label itself; for a further node the parents' label that tells most, if it tells enough."""
    label = np.full(graph.num_categories, NONE, np.int32)
    label[:num_labels] = np.arange(num_labels)
    further = np.arange(num_labels, graph.num_categories)
    for node in further[np.argsort(graph.depth()[further], kind="stable")].tolist():
        above = [found for found in label[graph.parents.of(node)].tolist() if found != NONE]
        above = [found for found in above if label_bits[found] >= MIN_BITS]
        if above:
            label[node] = min(above, key=lambda found: (-label_bits[found], found))
    return label


def signatures(graph: Taxonomy, own: Csr, num_words: int) -> tuple[Csr, npt.NDArray[np.float32]]:
    """The words that speak for each node, as in extended Lesk (Banerjee and Pedersen 2002).

    Args:
        graph: of the nodes.
        own: words of each node's names and definition, sorted and unique.
        num_words: how many words are numbered.

    Returns:
        (words, weights): sorted words of each node, and beside them float32 weights: inverse document frequency,
        times 1 for own words, 0.6 for those of parents and children.
    """
    n = graph.num_categories
    nodes = np.arange(n)
    rows, words, share = [np.repeat(nodes, own.lengths)], [own.values], [np.ones(len(own.values), np.float32)]
    for relation in (graph.parents, graph.children):
        # A node of 400 children is described by none of them.
        few = np.flatnonzero(relation.lengths <= 60)
        near = relation.take(few)
        lists = own.take(near.values)
        rows.append(np.repeat(np.repeat(few, near.lengths), lists.lengths))
        words.append(lists.values)
        share.append(np.full(len(lists.values), 0.6, np.float32))
    key = np.concatenate(rows) * num_words + np.concatenate(words)
    weight = np.concatenate(share)
    order = np.lexsort((-weight, key))
    key, weight = key[order], weight[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = key[1:] != key[:-1]
    key, weight = key[first], weight[first]
    row, word = key // num_words, (key % num_words).astype(np.int32)
    seen = np.bincount(own.values, minlength=num_words)
    idf = np.log(max(n, 2) / np.maximum(seen, 1)).astype(np.float32)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=n), out=offsets[1:])
    return Csr(word, offsets), weight * idf[word]


def usage_counts(closure: Closure, own: Csr, names: Csr, num_words: int) -> tuple[Int64s, Int64s]:
    """How often a word is used for a node by those who stand below it: 'car' by the sports car and its definition.

    It stands in for counts of senses, which taxonomies lack, and tells the actor on a stage from the "actor" that is
    anyone who does something: the latter has more kinds below it, which are hardly ever called so.

    Where several bear the word, one above the other, the deepest is meant.

    Args:
        closure: of the graph.
        own: words of each node's names and definition, sorted and unique.
        names: words that are a name of a node, sorted and unique.
        num_words: how many words are numbered.

    Returns:
        (keys, counts): node * num_words + word, sorted, and the number of nodes below that use it; only where there
        is one.
    """
    called = names.take(closure.values)  # for each (node, ancestor): the ancestor's names
    below = np.repeat(np.arange(closure.num_categories), np.diff(closure.offsets))
    speaker = np.repeat(below, called.lengths)
    spoken_of = np.repeat(closure.values.astype(np.int64), called.lengths)
    said = np.repeat(np.arange(own.num_lists), own.lengths) * num_words + own.values  # sorted: rows, then words
    asked = speaker * num_words + called.values
    place = np.minimum(np.searchsorted(said, asked), max(len(said) - 1, 0))
    used = said[place] == asked if len(said) else np.zeros(len(asked), np.bool_)
    asked, spoken_of, word = asked[used], spoken_of[used], called.values[used]
    order = np.lexsort((closure.depth[spoken_of], asked))
    asked, spoken_of, word = asked[order], spoken_of[order], word[order]
    deepest = np.ones(len(asked), np.bool_)
    deepest[:-1] = asked[1:] != asked[:-1]
    return np.unique(spoken_of[deepest] * num_words + word[deepest], return_counts=True)
