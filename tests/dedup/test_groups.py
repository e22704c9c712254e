"""Groups against the slow, obvious way: components of all similar pairs, taken apart until each member fits."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.dedup import links
from openjft.dedup.groups import connected, make_groups
from openjft.dedup.links import link_similar

# No whole degree has a cosine within the margin below it: a clump is joined by that margin, and there may part two
# images that comparing all with all would join.
THRESHOLD = 0.805


def on_circle(degrees):
    """Unit vectors in the plane: the cosine of two is that of the angle between them."""
    angles = np.radians(np.asarray(degrees, float))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)


def similar(vectors, i, j, content):
    x, y = vectors[i].astype(np.float64), vectors[j].astype(np.float64)
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    return content[i] == content[j] or (lengths > 0 and np.float32(x @ y / lengths) >= np.float32(THRESHOLD))


def by_hand(vectors, rank, content):
    """Representative of each: components; the least rank keeps its neighbours; the others among themselves, again."""
    n = len(vectors)
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((i, j) for i in range(n) for j in range(i) if similar(vectors, i, j, content))
    leader = [-1] * n
    while graph:
        for members in [list(c) for c in nx.connected_components(graph)]:
            chosen = min(members, key=lambda i: rank[i])
            fit = [i for i in members if i == chosen or graph.has_edge(i, chosen)]
            for i in fit:
                leader[i] = chosen
            graph.remove_nodes_from(fit)
    return leader


def whole(vectors, rank, content, *, limit):
    """As the stages do it with one cell: links, components, groups."""
    order = np.argsort(rank)
    first = link_similar(vectors[order], THRESHOLD, whole=limit)
    a, b = order[first], order
    same = [(i, j) for i in range(len(content)) for j in range(i) if content[i] == content[j]]
    extra = np.array(same, np.int64).reshape(-1, 2)
    component = connected(np.concatenate([a, extra[:, 0]]), np.concatenate([b, extra[:, 1]]), len(vectors))
    return make_groups(component, rank, content, vectors, min_similarity=THRESHOLD)


CASES = st.lists(st.tuples(st.integers(0, 360), st.booleans(), st.integers(0, 30)), min_size=0, max_size=40).flatmap(
    lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))
)


@settings(deadline=None)
@given(CASES, st.sampled_from([1, 5, 1_000]))
def test_one_cell_gives_the_groups_of_brute_force(case, limit):
    rows, ranks = case
    # Equal bytes have equal vectors; some have none.
    vectors = on_circle([50 * c if c < 5 else degrees for degrees, _, c in rows])
    vectors[[i for i, (degrees, zero, c) in enumerate(rows) if (c == 4 if c < 5 else zero and degrees % 3 == 0)]] = 0
    rank = np.array(ranks, np.int64)
    content = np.array([c if c < 5 else 100 + i for i, (_, _, c) in enumerate(rows)], np.int64)
    found = whole(vectors, rank, content, limit=limit)
    assert found.leader.tolist() == by_hand(vectors, rank, content)
    for i, of in enumerate(found.leader.tolist()):
        assert i == of or similar(vectors, i, of, content)
        assert found.leader[of] == of
        assert rank[of] <= rank[i]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.randoms())
def test_components_do_not_depend_on_the_order_of_links(pairs, random):
    graph = nx.Graph(pairs)
    graph.add_nodes_from(range(31))
    expected = sorted(sorted(c) for c in nx.connected_components(graph))
    random.shuffle(pairs)
    a, b = (np.array(ends, np.int64) for ends in (zip(*pairs, strict=True) if pairs else ([], [])))
    component = connected(a, b, 31)
    assert sorted(np.flatnonzero(component == c).tolist() for c in np.unique(component)) == expected
    assert component.tolist() == [next(k for k, c in enumerate(expected) if i in c) for i in range(31)]


def test_a_chain_does_not_merge_what_its_representative_does_not_know():
    degrees = [0, 30, 60, 90, 120]  # neighbours at cosine 0.87, next ones at 0.5
    found = whole(on_circle(degrees), np.arange(5), np.arange(5), limit=100)
    assert found.leader.tolist() == [0, 0, 2, 2, 4]
    assert found.failures == 3
    assert found.similarity.tolist() == pytest.approx([1, np.cos(np.pi / 6), 1, np.cos(np.pi / 6), 1], abs=1e-3)


def test_the_representative_is_the_first_by_rank_and_not_by_place():
    found = whole(on_circle([0, 30, 60]), np.array([2, 0, 1]), np.arange(3), limit=100)
    assert found.leader.tolist() == [1, 1, 1]


def test_zero_vectors_match_nothing_but_the_same_bytes():
    vectors = np.zeros((4, 2), np.float16)
    assert link_similar(vectors, -1.0).tolist() == [0, 1, 2, 3]
    found = whole(vectors, np.arange(4), np.array([7, 7, 8, 9]), limit=100)
    assert found.leader.tolist() == [0, 0, 2, 3]
    assert found.similarity.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("limit", [1, 10_000])
def test_blocks_of_a_cell_give_what_one_block_gives(monkeypatch, limit):
    rng = np.random.default_rng(4)
    vectors = on_circle(rng.integers(0, 3600, 200) / 10)
    expected = link_similar(vectors, 0.9995, whole=limit)
    monkeypatch.setattr(links, "_ROWS", 7)
    monkeypatch.setattr(links, "_COLUMNS", 11)
    assert link_similar(vectors, 0.9995, whole=limit).tolist() == expected.tolist()
    assert len(np.unique(expected)) < 200
    assert (expected <= np.arange(200)).all()


def test_no_images_have_no_groups():
    found = make_groups(*(np.empty(0, np.int64),) * 3, np.empty((0, 4), np.float16), min_similarity=0.5)
    assert len(found.leader) == 0
    assert found.failures == 0
