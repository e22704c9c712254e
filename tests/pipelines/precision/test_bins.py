"""States: what is told apart, and where the cuts fall."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.config import Source
from openjft.pipelines.precision.bins import SourceBins, fit_bins, quantile_cuts, state_columns, state_matrix
from openjft.pipelines.schema import evidence_schema


def evidence(name, opportunity, **columns):
    """Rows of one source; what is not given is 0, scores null."""
    n = len(opportunity)
    values = {
        name: [0] * n for name in ("rows", "domains", "support", "statements", "clicks", "impressions", "exposure")
    }
    values |= {"score": [None] * n, **columns}
    table = {"image_key": [bytes(16)] * n, "label": [0] * n, "uri": ["u"] * n, "opportunity": opportunity}
    table |= {f"{name}.{part}": column for part, column in values.items()}
    return pa.table(table, schema=evidence_schema([name]))


def states_of(bins, table):
    return state_matrix(table, [bins])[:, 0].tolist()


def test_silent_is_not_without_opportunity():
    bins = SourceBins("a", "support", (2.0, 4.0))
    table = evidence("a", [0, 1, 1, 1, 1, 1], rows=[0, 0, 1, 2, 4, 9], support=[0, 0, 1, 2, 3, 4])
    assert states_of(bins, table) == [0, 1, 2, 3, 3, 4]


def test_silence_among_many_statements_is_a_state_of_its_own():
    bins = SourceBins("a", "agreement", (0.0,), (0.2, 0.8), many=3.0)
    table = evidence("a", [0, 1, 1, 1, 1], rows=[0, 0, 0, 1, 2], support=[0, 0, 0, 1, 2], statements=[0, 2, 3, 5, 2])
    assert states_of(bins, table) == [0, 1, 4, 2, 3]
    assert bins.silent_states == (1, 4)
    assert bins.state_names()[4] == "silent about it in 3 statements or more"


def test_a_fired_row_without_a_score_has_a_state_of_its_own():
    bins = SourceBins("a", "score", (0.5, 0.75))
    table = evidence("a", [1] * 5, rows=[1, 1, 1, 1, 0], score=[None, 0.4, 0.5, 0.9, None])
    assert states_of(bins, table) == [5, 2, 3, 4, 1]
    assert bins.state_names()[5] == "strength not told"


def test_clicks_are_told_by_their_likelihood_ratio_not_by_their_rate():
    bins = SourceBins("a", "clicks", (0.0, 2.0), (0.05, 0.3, 3.0))
    clicks, exposure = [1, 30, 0, 0, 0], [1.0, 100.0, 1.0, 100.0, 0.0]
    table = evidence("a", [1] * 5, rows=[1] * 5, clicks=clicks, exposure=exposure)
    assert states_of(bins, table) == [3, 4, 2, 2, 5]  # one click on one impression is no proof
    ratio = bins.strengths([np.array(clicks), np.array(exposure, np.float32)])
    assert np.isnan(ratio[4])
    assert ratio[3] < ratio[2] < 0 < ratio[0] < ratio[1]


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
def test_cuts_are_quantiles_that_ties_do_not_empty(strengths, cuts):
    assert quantile_cuts(np.array(strengths, float), 3) == cuts


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(2, 5))
def test_every_part_between_cuts_holds_strengths(strengths, levels):
    cuts = quantile_cuts(np.array(strengths, float), levels)
    assert len(cuts) < levels
    edges = [-np.inf, *cuts, np.inf]
    if strengths:
        assert all(any(low <= s < high for s in strengths) for low, high in itertools.pairwise(edges))
    assert len(cuts) == 0 or len(set(strengths)) > 1


def test_links_are_measured_by_what_they_agree_on_where_they_say_different_things():
    rng = np.random.default_rng(0)
    source, n = Source(name="a", kind="links", levels=3), 4000
    statements = rng.geometric(0.35, n)
    support = rng.binomial(statements, np.where(rng.random(n) < 0.5, 0.8, 0.2))
    table = evidence("a", [1] * n, rows=support, support=support, statements=statements)
    (bins,) = fit_bins([source], [table])
    assert bins.measure == "agreement"
    assert bins.rates == pytest.approx((0.2, 0.8), abs=0.08)
    assert bins.many is not None
    alone = evidence("a", [1] * 6, rows=[1, 2, 3, 4, 5, 6], support=[1, 2, 3, 4, 5, 6], statements=[1, 2, 3, 4, 5, 6])
    (bins,) = fit_bins([source], [alone])
    assert (bins.measure, bins.cuts, bins.many) == ("support", (3.0, 5.0), None)


def test_click_rates_of_two_kinds_are_recovered():
    rng = np.random.default_rng(1)
    n = 40_000
    exposure = np.ceil(rng.lognormal(3, 1, n))
    rate = np.where(rng.random(n) < 0.4, rng.gamma(3, 0.3 / 3, n), rng.gamma(3, 0.04 / 3, n))
    clicks = rng.poisson(rate * exposure)
    table = evidence("a", [1] * n, rows=[1] * n, clicks=clicks, exposure=exposure)
    (bins,) = fit_bins([Source(name="a", kind="clicks")], [table])
    low, high, shape = bins.rates
    assert (low, high, shape) == (pytest.approx(0.04, rel=0.1), pytest.approx(0.3, rel=0.1), 3.0)


@pytest.mark.parametrize("clicks", [[0] * 50, [1] * 50])
def test_clicks_of_one_kind_still_have_an_order(clicks):
    exposure = list(range(1, 51))
    table = evidence("a", [1] * 50, rows=[1] * 50, clicks=clicks, exposure=exposure)
    (bins,) = fit_bins([Source(name="a", kind="clicks", levels=3)], [table])
    assert len(bins.cuts) == 2
    assert len(set(states_of(bins, table))) == 3


def test_a_source_that_never_fires_has_one_state_for_firing():
    (bins,) = fit_bins([Source(name="a", kind="score")], [evidence("a", [1, 0])])
    assert (bins.cuts, bins.num_states, bins.strongest) == ((), 4, 2)
    assert bins.state_names() == ("no opportunity", "silent", "any score", "strength not told")


def test_the_sample_is_the_first_rows_wherever_tables_end():
    source = Source(name="a", kind="score", levels=3)
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
