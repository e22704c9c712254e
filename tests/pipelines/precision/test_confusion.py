"""Confusions as states: against a slow reference; with gold alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.config import Audit, Precision
from openjft.pipelines.engine import UnitResult, run_unit
from openjft.pipelines.keys import image_keys
from openjft.pipelines.precision import CountStage, PriorsStage, ScoresStage
from openjft.pipelines.precision.bins import state_matrix
from openjft.pipelines.precision.confusion import Confusions
from openjft.pipelines.precision.gold import checked_digest
from openjft.pipelines.storage import Store

pairs = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)
candidates = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=20)


def _list(found):
    table = pa.table({"label": [a for a, _ in found], "inside_label": [b for _, b in found]})
    return Confusions.from_table(table.cast(pa.schema([("label", pa.int32()), ("inside_label", pa.int32())])))


def _rows(found):
    keys = sorted(image_keys([f"http://a.b/{i}" for i in range(5)]).to_pylist())
    rows = sorted(found)
    return pa.table(
        {
            "image_key": pa.array([keys[image] for image, _ in rows], pa.binary(16)),
            "label": pa.array([label for _, label in rows], pa.int32()),
            "opportunity": pa.array([0] * len(rows), pa.uint64()),
        }
    )


def _reference(confusions, found):
    def state(image, label):
        longer = {b for a, b in confusions if a == label}
        return 0 if not longer else 2 if any((image, other) in found for other in longer) else 1

    return [state(image, label) for image, label in sorted(found)]


@given(pairs, candidates)
def test_states_equal_the_reference(confusions, found):
    states = state_matrix(_rows(found), [_list(confusions)])
    assert states[:, 0].tolist() == _reference(confusions, found)


def _run(web, folder, **precision):
    store = Store(str(folder))
    web.write(store, 3)
    gold = precision.get("gold")
    settings = Precision(**precision)
    count = CountStage(web.sources, settings, 3, gold_digest=checked_digest(gold) if gold else None)
    for stage in (count, PriorsStage(3, gold is not None), ScoresStage(3, settings, Audit())):
        stage.prepare(store)
        account = UnitResult(rows_in=0, rows_out=0)
        for unit in range(stage.num_units()):
            account += run_unit(stage, unit, store, "fp")
        stage.finish(store, account)
    return store.read_json("scores/precision.json")


def test_with_gold_a_confused_label_is_worth_less(web, tmp_path):
    # Label 0 is wrong wherever label 1 is a candidate too, and the sources do not know.
    beside = state_matrix(web.table, [_list({(0, 1)})])[:, 0] == 2
    spoilt = dataclasses.replace(web, correct=web.correct & ~beside)
    gold = tmp_path / "gold.csv"
    gold.write_text(spoilt.gold_csv(np.random.default_rng(1).choice(len(web.correct), 3000, replace=False)))
    told = _run(spoilt, tmp_path / "told", gold=str(gold))
    untold = _run(spoilt, tmp_path / "untold", gold=str(gold), use_confusions=False)
    assert [s["name"] for s in told["sources"]] == [*(s.name for s in web.sources), "confusion"]
    states = {s["state"].partition(",")[0]: s for s in told["sources"][-1]["states"]}
    assert states["name inside another that is a candidate of the image"]["weight"] < -2
    assert states["name inside another that is a candidate of the image"]["count"] == int(beside.sum())
    assert [s["name"] for s in untold["sources"]] == [s.name for s in web.sources]
    assert told["kept"] > 1.2 * untold["kept"]


def test_without_gold_confusions_do_not_vote(web, tmp_path):
    assert "confusion" not in [s["name"] for s in _run(web, tmp_path)["sources"]]
