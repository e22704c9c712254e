"""What statements are worth that are not independent: planted correlations, templates, places."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.ingest.aggregate import Pairs, merge_pairs
from openjft.pipelines.ingest.dependence import DEFAULT_CORRELATION, page_correlations
from openjft.pipelines.ingest.numbers import EXPOSURE_UNIT, exposures
from openjft.pipelines.ingest.templates import WIDTH, TemplateCounts
from openjft.pipelines.mixing import mix64, text_word


def _pairs(key, label, domain, source=0):
    n = len(key)
    zeros = np.zeros(n, np.int64)
    return merge_pairs(
        Pairs(
            np.asarray(key, np.int64), np.asarray(label, np.int32), np.full(n, source, np.uint8),
            np.asarray(domain, np.uint64), zeros.astype(np.uint64), np.full(n, np.nan, np.float32),
            zeros + 1, zeros, zeros, zeros,
        )
    )  # fmt: skip


def _web(rho, images=6000, seed=0):
    """Pages of 2 to 4 domains an image say its label at the image's own rate; those of a domain copy with `rho`."""
    rng = np.random.default_rng(seed)
    key, label, domain = [], [], []
    for image in range(images):
        rate = rng.beta(2, 2)
        for d in range(rng.integers(2, 5)):
            copied = rng.random() < rate
            for _ in range(rng.geometric(0.4)):
                says = copied if rng.random() < np.sqrt(rho) else rng.random() < rate
                key.append(image)
                label.append(1 if says else -1)
                domain.append(10 + d)
    return _pairs(key, label, domain)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_a_planted_correlation_of_a_domain_s_pages_is_recovered(rho):
    [found] = page_correlations(_web(rho), [None])
    assert found.how == "estimated"
    assert found.value == pytest.approx(rho, abs=0.06)


def test_a_given_correlation_stands_and_too_few_pages_leave_the_default():
    pairs = _pairs([0, 0], [1, 1], [3, 4])
    given_one, default = page_correlations(pairs, [0.25, None])
    assert (given_one.value, given_one.how) == (0.25, "given")
    assert (default.value, default.how, default.candidates) == (DEFAULT_CORRELATION, "default", 0)


def test_where_all_pages_agree_nothing_tells_domains_apart():
    [found] = page_correlations(_pairs(np.repeat(np.arange(300), 4), [1] * 1200, [5, 5, 6, 7] * 300), [None])
    assert (found.how, found.candidates) == ("default", 300)


@given(st.lists(st.integers(1, 2**64 - 1), max_size=50), st.integers(1, 400))
def test_few_texts_are_counted_exactly(unique, repeats):
    hashes = np.unique(np.array([*unique, 17], np.uint64))
    counts = TemplateCounts.empty()
    counts.add(hashes)
    counts.add(np.full(repeats, 17, np.uint64))
    expected = [1 + repeats * (h == 17) for h in hashes.tolist()]
    assert counts.count(hashes).tolist() == expected


def test_counts_of_splits_add_up_and_survive_storage():
    rng = np.random.default_rng(1)
    hashes = rng.integers(1, 500, 5000).astype(np.uint64)
    whole, parts = TemplateCounts.empty(), TemplateCounts.empty()
    whole.add(hashes)
    for piece in np.split(hashes, [100, 3000]):
        one = TemplateCounts.empty()
        one.add(piece)
        parts.merge(TemplateCounts.from_bytes(one.to_bytes()))
    assert np.array_equal(whole.counters, parts.counters)


def test_unique_texts_lose_no_weight_however_full_the_table_is():
    rng = np.random.default_rng(2)
    unique = mix64(rng.integers(0, 2**63, 8 * WIDTH).astype(np.uint64))
    counts = TemplateCounts.empty()
    counts.add(unique)
    counts.add(np.full(5000, 99, np.uint64))
    found = counts.count(unique[:20_000])
    assert (found == 1).mean() > 0.999
    assert counts.count(np.array([99], np.uint64))[0] == pytest.approx(5000, rel=0.02)


def test_impressions_count_less_where_they_were_shown_far_down_and_never_nothing():
    units = exposures(np.array([100, 100, 0, 1]), np.array([1.0, 10.0, 3.0, 1e9]), np.array([0.9, 0.9, 0.9, 5.0]))
    assert (units * EXPOSURE_UNIT).tolist() == pytest.approx([100, 100 * 10**-0.9, 0, EXPOSURE_UNIT], abs=1e-3)


def test_mixing_loses_no_word_and_texts_are_hashed_the_same_everywhere():
    words = mix64(np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(words)) == 100_000
    assert abs(float((words >> np.uint64(63)).mean()) - 0.5) < 0.01
    assert int(mix64(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF  # splitmix64's first number for seed 0
    assert text_word("cheap shoes") == text_word("cheap shoes") != text_word("Cheap shoes")


def test_pages_of_one_domain_templates_and_places_reach_the_evidence(workshop):
    shop = [f"http://a.b/{i},n1,http://shop.com/{i},Buy shoes,,," for i in range(2, 50)]
    (workshop.folder / "a.csv").write_text(
        "\n".join(
            [
                "uri,label,page,text,clicks,impressions,position",
                "http://a.b/1,n1,http://c.org/1,One,2,10,10",
                "http://a.b/1,n1,http://c.org/2,Two,,,",
                "http://a.b/1,n1,http://d.org/1,three,0,4,",
                "http://a.b/1,n1,http://e.org/1,three,0,4,0.5",
                *shop,
            ]
        )
    )
    columns = {name: name for name in ("page", "text", "clicks", "impressions", "position")}
    sources = [{"name": "alt", "page_correlation": 0.5, "template_correlation": 0.25}]
    config = workshop.config({"path": "a.csv", "columns": columns, "source": "alt"}, sources=sources)
    spilled, _, rows = workshop.ingest(config)
    assert dict(spilled.rejects) == {"bad_position": 1}
    [detail] = [row["detail"] for row in workshop.rejects(config)]
    assert detail == "position: 0.5"
    by_uri = {row["uri"]: row for row in rows}
    one = by_uri["http://a.b/1"]
    assert (one["alt.rows"], one["alt.domains"]) == (3, 2)
    assert one["alt.support"] == pytest.approx(2 / 1.5 + 1)
    assert one["alt.statements"] == pytest.approx(2 / 1.5 + 1)
    assert one["alt.exposure"] == pytest.approx(10 * 10**-0.9 + 4, abs=1e-3)
    assert by_uri["http://a.b/7"]["alt.support"] == pytest.approx(1 / (1 + 47 * 0.25))
    stored = json.loads((workshop.folder / "out/evidence/_dependence.json").read_text())
    assert stored["page_correlation"]["alt"] == {"value": 0.5, "candidates": 0, "how": "given"}


def test_the_same_evidence_comes_out_for_any_number_of_buckets(workshop):
    rng = np.random.default_rng(3)
    lines = ["uri,label,page,text"]
    for _ in range(600):
        image, label, domain, text = (int(rng.integers(n)) for n in (60, 3, 4, 5))
        lines.append(f"http://a.b/{image},n{label + 1},http://d{domain}.org/{rng.integers(9)},text {text}")
    (workshop.folder / "a.csv").write_text("\n".join(lines))
    rows = []
    for buckets in (1, 7):
        build = {"output": f"out{buckets}", "buckets": buckets}
        item = {"path": "a.csv", "columns": {"page": "page", "text": "text"}, "source": "alt"}
        config = workshop.config(item, build=build)
        rows.append(workshop.ingest(config)[2])
    assert rows[0] == rows[1]
    assert any(0 < row["alt.support"] < row["alt.rows"] for row in rows[0])
