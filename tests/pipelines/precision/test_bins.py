"""States: what is told apart, and where the cuts fall."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.config import Source
from openjft.pipelines.precision.bins import SourceBins, fit_bins, state_columns, state_matrix, tercile_cuts
from openjft.pipelines.schema import evidence_schema


def evidence(name, opportunity, **columns):
    """Rows of one source; what is not given is 0, scores null."""
    n = len(opportunity)
    values = {"rows": [0] * n, "domains": [0] * n, "score": [None] * n, "clicks": [0] * n, "impressions": [0] * n}
    values |= columns
    table = {"image_key": [bytes(16)] * n, "label": [0] * n, "uri": ["u"] * n, "opportunity": opportunity}
    table |= {f"{name}.{part}": column for part, column in values.items()}
    return pa.table(table, schema=evidence_schema([name]))


def states_of(bins, table):
    return state_matrix(table, [bins])[:, 0].tolist()


def test_silent_is_not_without_opportunity():
    bins = SourceBins("a", "domains", (2.0, 4.0))
    table = evidence("a", [0, 1, 1, 1, 1, 1], rows=[0, 0, 1, 2, 4, 9], domains=[0, 0, 1, 2, 3, 4])
    assert states_of(bins, table) == [0, 1, 2, 3, 3, 4]


def test_rows_without_a_page_count_as_one_domain():
    bins = SourceBins("a", "domains", (2.0, 4.0))
    assert states_of(bins, evidence("a", [1], rows=[7], domains=[0])) == [2]


def test_a_fired_row_without_a_score_has_a_state_of_its_own():
    bins = SourceBins("a", "score", (0.5, 0.75))
    table = evidence("a", [1] * 5, rows=[1, 1, 1, 1, 0], score=[None, 0.4, 0.5, 0.9, None])
    assert states_of(bins, table) == [5, 2, 3, 4, 1]
    assert bins.state_names()[5] == "strength not told"


def test_click_rates_of_few_impressions_are_drawn_to_the_mean():
    bins = SourceBins("a", "click_rate", (0.2, 0.5), mean_rate=0.1)
    table = evidence("a", [1] * 4, rows=[1] * 4, clicks=[1, 50, 0, 0], impressions=[1, 60, 60, 0])
    assert states_of(bins, table) == [2, 4, 2, 5]  # (1 + 1) / (1 + 10) is below 0.2


@pytest.mark.parametrize(
    ("strengths", "cuts"),
    [
        ([], ()),
        ([2, 2, 2], ()),
        ([1, 2], (2.0,)),
        ([1] * 80 + [2] * 15 + [3] * 4 + [9], (2.0, 3.0)),
        ([1] * 10 + [2] * 90, (2.0,)),
        ([1] * 5 + [2] * 90 + [3] * 5, (2.0, 3.0)),
        (list(range(9)), (3.0, 6.0)),
    ],
)
def test_cuts_are_terciles_that_ties_do_not_empty(strengths, cuts):
    assert tercile_cuts(np.array(strengths, float)) == cuts


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(2, 5))
def test_every_part_between_cuts_holds_strengths(strengths, levels):
    cuts = tercile_cuts(np.array(strengths, float), levels=levels)
    assert len(cuts) < levels
    edges = [-np.inf, *cuts, np.inf]
    if strengths:
        assert all(any(low <= s < high for s in strengths) for low, high in itertools.pairwise(edges))
    assert len(cuts) == 0 or len(set(strengths)) > 1


def test_links_are_measured_by_rows_where_domains_do_not_differ():
    source = Source(name="a", kind="links")
    without_pages = evidence("a", [1] * 6, rows=[1, 2, 3, 4, 5, 6])
    (bins,) = fit_bins([source], [without_pages])
    assert (bins.measure, bins.cuts) == ("rows", (3.0, 5.0))
    with_pages = evidence("a", [1] * 3, rows=[9, 9, 9], domains=[1, 2, 3])
    (bins,) = fit_bins([source], [with_pages])
    assert (bins.measure, bins.cuts) == ("domains", (2.0, 3.0))


def test_a_source_that_never_fires_has_one_state_for_firing():
    (bins,) = fit_bins([Source(name="a", kind="score")], [evidence("a", [1, 0])])
    assert (bins.cuts, bins.num_states, bins.strongest) == ((), 4, 2)
    assert bins.state_names() == ("no opportunity", "silent", "any score", "strength not told")


def test_the_sample_is_the_first_rows_wherever_tables_end():
    source = Source(name="a", kind="score")
    whole = evidence("a", [1] * 20, rows=[1] * 20, score=list(np.linspace(0, 1, 20)))
    expected = fit_bins([source], [whole], sample_rows=12)
    for size in (1, 5, 7, 12, 20):
        parts = [whole.slice(i, size) for i in range(0, 20, size)]
        assert fit_bins([source], parts, sample_rows=12) == expected
    assert expected == fit_bins([source], [whole.slice(0, 12)])


def test_no_more_tables_are_read_than_the_sample_needs():
    table = evidence("a", [1] * 4, rows=[1] * 4)

    def tables():
        yield table
        yield table
        raise AssertionError("one table too many")

    assert fit_bins([Source(name="a")], tables(), sample_rows=8) == fit_bins([Source(name="a")], [table, table])


def test_bins_survive_json_and_sixty_four_sources_have_sixty_four_bits():
    import json

    names = [f"s{i}" for i in range(64)]
    bins = [SourceBins(name, "score", (0.1 + 0.2, 1.0)) for name in names]
    assert [SourceBins.from_json(json.loads(json.dumps(b.to_json()))) for b in bins] == bins
    columns = {"opportunity": pa.array([2**64 - 1, 1 << 63, 0], pa.uint64())}
    for name in names:
        columns |= {f"{name}.rows": pa.array([0, 0, 0], pa.int32()), f"{name}.score": pa.nulls(3, pa.float32())}
    table = pa.table(columns).select(list(dict.fromkeys(state_columns(bins))))
    states = state_matrix(table, bins)
    assert states[0].tolist() == [1] * 64
    assert states[1].tolist() == [0] * 63 + [1]
    assert states[2].tolist() == [0] * 64
