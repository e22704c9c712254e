"""Both laws: known curves are found again, and a law is rejected by data that can, not by four points."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders.errors import LoaderError
from openjft.loaders.studies.fit import fit_curves, ranged
from openjft.loaders.studies.laws import ANY, LOG_LINEAR, MIN_EXPONENT, SATURATING, Fit, Interval, basis
from openjft.loaders.studies.levels import make_levels

FOUR = np.array([1e7, 3e7, 1e8, 3e8])  # the paper's sizes
MANY = np.repeat(np.logspace(4, 8, 12), 4)


def line(n):
    return 0.1 + 0.05 * np.log10(n)


def power(n):
    return 0.7 - 4.0 * n**-0.3


def noisy(law, sizes, sd, seed=0):
    return law(sizes) + np.random.default_rng(seed).normal(0, sd, len(sizes))


def test_a_log_linear_curve_is_found_again_and_saturation_rejected_when_noise_is_small_and_sizes_are_many():
    comparison, _, _ = fit_curves(MANY, noisy(line, MANY, 0.002, seed=1))
    assert comparison.outcome == "log-linear"
    a, b = comparison.log_linear.parameters["a"], comparison.log_linear.parameters["b"]
    assert a.low < 0.1 < a.high
    assert b.low < 0.05 < b.high
    assert b.high - b.low < 0.002
    assert comparison.exponent.low < 0 < comparison.exponent.high < MIN_EXPONENT
    assert comparison.saturating.p_value < 1e-6
    assert comparison.log_linear.aicc < comparison.saturating.aicc
    assert "a saturation that closes half of the gap within 1,000 times the data is" in comparison.verdict


def test_a_saturating_curve_is_found_again_and_the_logarithm_rejected_when_noise_is_small_and_sizes_are_many():
    comparison, _, _ = fit_curves(MANY, noisy(power, MANY, 0.002, seed=1))
    assert comparison.outcome == "saturating"
    for name, true in (("a", 0.7), ("b", 4.0), ("c", 0.3)):
        value = comparison.saturating.parameters[name]
        assert value.low < true < value.high, name
    assert comparison.log_linear.p_value < 1e-6
    assert comparison.saturating.aicc < comparison.log_linear.aicc
    for prediction in comparison.saturating.predictions:
        assert prediction.low < power(prediction.size) < prediction.high


@pytest.mark.parametrize("law", [line, power])
def test_four_sizes_with_one_seed_reject_neither_law(law):
    # The saturating curve at these sizes bends by less than the noise can; 1 degree of freedom tells next to nothing.
    outcomes = [fit_curves(FOUR, noisy(law, FOUR, 0.004, seed))[0] for seed in range(100)]
    assert all(c.df == 1 and c.noise == "residuals" for c in outcomes)
    assert sum(c.outcome == "both" for c in outcomes) >= 88  # two tests at 5 %
    both = next(c for c in outcomes if c.outcome == "both")
    assert "The data do not tell whether the value saturates" in both.verdict


def test_the_verdict_on_four_sizes_is_computed_and_not_written_down():
    # The same four sizes with seeds and hardly any noise do tell.
    sizes = np.repeat(FOUR, 3)
    assert fit_curves(sizes, noisy(line, sizes, 1e-5))[0].outcome == "log-linear"
    assert fit_curves(sizes, noisy(power, sizes, 1e-5))[0].outcome == "saturating"


def test_both_laws_are_rejected_by_values_that_rise_faster_than_the_logarithm():
    comparison, _, _ = fit_curves(MANY, noisy(lambda n: 0.01 * n**0.2, MANY, 0.002))
    assert comparison.outcome == "neither"
    assert comparison.exponent.value == pytest.approx(-0.2, abs=0.01)
    assert "rise faster than the logarithm" in comparison.verdict


def test_a_curve_that_no_exponent_describes_is_said_to_be_one():
    comparison, _, _ = fit_curves(MANY, noisy(lambda n: line(n) + 0.05 * (n == MANY[20]), MANY, 0.002))
    assert comparison.misfit < 1e-6
    assert "Take care" in comparison.verdict


def test_intervals_hold_as_often_as_they_say():
    sizes = np.repeat(FOUR, 3)
    slopes = limits = ahead = rejected = 0
    for seed in range(300):
        straight = fit_curves(sizes, noisy(line, sizes, 0.004, seed))[0]
        slope = straight.log_linear.parameters["b"]
        slopes += slope.low <= 0.05 <= slope.high
        rejected += straight.log_linear.rejected
        bent = fit_curves(sizes, noisy(power, sizes, 0.002, seed))[0]
        limit, last = bent.saturating.parameters["a"], bent.saturating.predictions[1]
        limits += limit.low <= 0.7 <= limit.high
        ahead += last.low <= power(last.size) <= last.high
    assert 0.91 <= slopes / 300 <= 0.99
    assert 0.91 <= limits / 300 <= 1.0
    assert 0.91 <= ahead / 300 <= 1.0
    assert rejected / 300 <= 0.09


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 7),
    st.integers(1, 3),
    st.floats(-0.2, 0.2).filter(lambda b: abs(b) > 1e-3),
    st.integers(0, 2**32 - 1),
)
def test_the_log_linear_fit_is_least_squares_with_the_usual_intervals(num_sizes, seeds, slope, seed):
    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.unique(rng.uniform(3, 8, num_sizes)), seeds)
    values = 0.4 + slope * sizes + rng.normal(0, 0.01, len(sizes))
    levels = make_levels(10**sizes, values)
    fit = Fit(levels, LOG_LINEAR)
    design = np.column_stack([np.ones_like(sizes), sizes])
    (a, b), *_ = np.linalg.lstsq(design, values)
    assert (fit.intercept().value, fit.slope().value) == (pytest.approx(a, abs=1e-8), pytest.approx(b, abs=1e-8))
    if seeds == 1:  # then the noise is the line's own residuals, and a book's formula applies
        df = len(sizes) - 2
        sd = np.sqrt(((values - design @ [a, b]) ** 2).sum() / df)
        reach = scipy.stats.t.ppf(0.975, df) * sd / np.sqrt(((sizes - sizes.mean()) ** 2).sum())
        assert fit.slope().low == pytest.approx(b - reach, rel=1e-6, abs=1e-9)
        assert fit.slope().high == pytest.approx(b + reach, rel=1e-6, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.11, 1.5))
def test_the_saturating_fit_leaves_no_more_over_than_a_solver_from_many_starts(seed, exponent):
    rng = np.random.default_rng(seed)
    sizes = np.logspace(3, 7, 8)
    values = 0.8 - 0.5 * (sizes / 1e3) ** -exponent + rng.normal(0, 0.01, 8)
    fit = Fit(make_levels(sizes, values), SATURATING)

    def residuals(p):
        return p[0] - p[1] * (sizes / 1e5) ** -p[2] - values

    bounds = ([-np.inf, -np.inf, SATURATING.low], [np.inf, np.inf, SATURATING.high])
    best = min(
        2 * scipy.optimize.least_squares(residuals, (0.8, 0.1, start), bounds=bounds).cost for start in (0.15, 0.5, 1.5)
    )
    assert fit.left_over <= best * (1 + 1e-6) + 1e-12
    curve = fit.limit().value - fit.scale().value * sizes**-fit.exponent
    assert ((curve - values) ** 2).sum() == pytest.approx(fit.left_over, rel=1e-6)


def test_the_profile_interval_of_a_prediction_is_that_of_a_constrained_fit():
    sizes = np.repeat(FOUR / 1e7, 3)
    values = noisy(lambda n: 0.7 - 0.3 * n**-0.5, sizes, 0.01)
    fit = Fit(make_levels(sizes, values), SATURATING)
    _, low, high = fit.at(np.array([300.0]))
    allowed = fit.left_over + fit.variance * scipy.stats.f.ppf(0.95, 1, fit.df)
    levels = fit.levels

    def left_over(prediction):
        """The least that a law with this value at 300 leaves over: a second way to the same number."""

        def at(c):
            g = 300.0**-c - levels.sizes**-c
            y = levels.means - prediction
            b = (levels.weights * g * y).sum() / (levels.weights * g * g).sum()
            return (levels.weights * (y - b * g) ** 2).sum()

        return min(at(c) for c in np.linspace(SATURATING.low, SATURATING.high, 4001))

    for end in (float(low[0]), float(high[0])):
        assert left_over(end) == pytest.approx(allowed, rel=2e-3)


def test_given_deviations_decide_weights_and_noise():
    sizes, values = np.logspace(3, 6, 6), line(np.logspace(3, 6, 6))
    values = values + np.array([0.2, 0, 0, 0, 0, 0])  # an outlier that is known to be one
    comparison, _, _ = fit_curves(sizes, values, [1.0, *[0.001] * 5])
    assert (comparison.noise, comparison.df, comparison.sd) == ("given", None, None)
    assert comparison.log_linear.parameters["b"].value == pytest.approx(0.05, abs=1e-3)
    assert comparison.log_linear.p_value > 0.5


def test_the_order_of_the_values_does_not_matter():
    values = noisy(power, MANY, 0.01)
    order = np.random.default_rng(1).permutation(len(MANY))
    a, b = fit_curves(MANY, values)[0], fit_curves(MANY[order], values[order])[0]
    assert a.exponent.value == pytest.approx(b.exponent.value, abs=1e-6)
    assert a.outcome == b.outcome


def test_three_sizes_with_one_seed_can_be_fitted_but_not_tested():
    comparison, _, _ = fit_curves(FOUR[:3], [0.1, 0.2, 0.25])
    assert comparison.outcome == "untested"
    assert comparison.log_linear.p_value is None
    assert comparison.log_linear.aicc is None
    assert comparison.saturating.predictions[0].low is None
    assert "nothing to tell the noise from" in comparison.verdict


def test_aicc_is_none_where_it_is_not_defined():
    assert fit_curves(FOUR, noisy(line, FOUR, 0.01))[0].saturating.aicc is None  # n - k - 1 = -1
    assert fit_curves(MANY, line(MANY))[0].log_linear.aicc is None  # nothing is left over


def test_a_curve_without_any_noise_is_told_apart_and_not_by_rounding():
    assert fit_curves(MANY[::4], line(MANY[::4]))[0].outcome == "log-linear"
    assert fit_curves(MANY[::4], power(MANY[::4]))[0].outcome == "saturating"


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        ([1, 2], [0.1, 0.2], "at least 3 different sizes, found 2: any curve passes through two"),
        ([1, 1, 2, 2], [0.1, 0.2, 0.3, 0.3], "at least 3 different sizes, found 2"),
        ([], [], "at least 3 different sizes, found 0"),
        ([1, 2, 3], [0.5, 0.5, 0.5], "values that differ from size to size, found 0.5 at all 3 sizes"),
        ([1, 2, 3], [0.0, 0.0, 0.0], "found 0 at all 3 sizes"),
        ([1, 2, 3], [0.5, np.nan, 0.6], "every value finite, found nan in row 2"),
        (
            [1, np.inf, -3, 4, 5],
            [0.5, 0.5, 0.6, 0.7, 0.8],
            "every size finite and above 0, found inf in row 2 and 1 more",
        ),
        ([1, 2, 3], [0.5, 0.6], r"of one length, found shapes \(3,\), \(2,\)"),
        ([0, 1, 2], [np.nan, 1, 2], r"size finite and above 0, found 0 in row 1; .*value finite, found nan in row 1"),
    ],
)
def test_what_cannot_be_fitted_is_named(sizes, values, message):
    with pytest.raises(LoaderError, match=message):
        fit_curves(sizes, values)


def test_a_deviation_that_is_not_above_zero_is_named():
    with pytest.raises(LoaderError, match="every standard deviation above 0, found 0 in row 3"):
        fit_curves([1, 2, 3], [0.1, 0.2, 0.3], [0.1, 0.1, 0.0])


def test_the_comparison_is_plain_json():
    value = json.loads(json.dumps(fit_curves(FOUR, noisy(line, FOUR, 0.01))[0].to_json()))
    assert value["saturating"]["parameters"]["c"]["value"] >= MIN_EXPONENT
    assert [p["factor"] for p in value["log_linear"]["predictions"]] == [10, 100]


def test_the_family_meets_the_logarithm_at_exponent_zero():
    t = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(basis(np.array([0.0]), t)[0], t)
    np.testing.assert_allclose(basis(np.array([1e-8]), t)[0], t, rtol=1e-6)
    assert (ANY.parameters, SATURATING.parameters, LOG_LINEAR.parameters) == (3, 3, 2)


def test_an_open_end_is_shown_as_open():
    assert ranged(Interval(0.123456, None, 0.5)) == "0.1235 [.., 0.5]"
    assert ranged(Interval(0.123456, None, None)) == "0.1235"
