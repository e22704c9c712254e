"""The two stages on files written by hand: what comes out, what is refused, what it does not depend on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.engine import UnitResult, run_unit
from openjft.pipelines.errors import PipelineError, StaleError
from openjft.pipelines.keys import buckets_of
from openjft.pipelines.storage import Store, bucket_file
from openjft.pipelines.visual import VisualStage, VisualSumsStage, fit_model, stages
from openjft.pipelines.visual.distances import relatives
from openjft.pipelines.visual.files import MEANS_FILE, MODES_FILE, VISUAL, read_moments, read_samples
from openjft.pipelines.visual.modes import ModeSample
from openjft.pipelines.visual.moments import MIN_WEIGHT, Moments

BUCKETS = 4


def total(stage, store) -> UnitResult:
    account = UnitResult(rows_in=0, rows_out=0)
    for unit in range(stage.num_units()):
        account += run_unit(stage, unit, store, "fp")
    stage.finish(store, account)
    return account


def run(store, buckets=BUCKETS, seed=5) -> tuple[UnitResult, UnitResult]:
    return total(VisualSumsStage(buckets, seed), store), total(VisualStage(buckets), store)


def scored(store, buckets=BUCKETS) -> pa.Table:
    tables = [store.read_table(bucket_file("visual", i, buckets)) for i in range(buckets)]
    assert all(table.schema.equals(VISUAL) for table in tables)
    return pa.concat_tables(tables)


def test_every_candidate_has_both_scores_in_the_order_of_the_evidence(world, store):
    world.write(store, BUCKETS)
    sums, account = run(store)
    n = len(world.row)
    assert (sums.rows_in, sums.rows_out, dict(sums.rejects)) == (n, n, {})
    assert (account.rows_in, account.rows_out, dict(account.rejects)) == (n, n, {})
    assert account.counters == {"scores": 2 * n, "without_competitor": 0}
    table = scored(store)
    expected = [(world.uris[i], world.taxonomy.ids[c]) for i, c in zip(world.row, world.label, strict=True)]
    assert list(zip(table["uri"].to_pylist(), table["label"].to_pylist(), strict=True))[::2] == expected
    assert table["source"].to_pylist() == ["visual_margin", "visual_mode"] * n
    weight = np.maximum(world.probability, MIN_WEIGHT)
    order = np.argsort(world.label, kind="stable")
    sample = ModeSample(world.label[order], weight[order], world.vectors[world.row[order]])
    none = np.zeros(0, np.int64)
    model = fit_model(
        Moments.of(world.vectors, world.row, world.label, weight),
        sample,
        world.closure,
        relatives(world.closure, none, none),
        seed=5,
    )
    direct = model.score(world.vectors, world.row, world.label, weight)
    np.testing.assert_allclose(table["score"].to_numpy()[::2], direct.margin, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(table["score"].to_numpy()[1::2], direct.mode, rtol=1e-3, atol=1e-3)


def files(store: Store) -> dict[str, bytes]:
    paths = store.list_files("visual") + store.list_files("visual_sums", recursive=True)
    return {path: store.read_bytes(path) for path in paths if path.endswith(".parquet")}


def test_the_bytes_do_not_depend_on_the_order_in_which_units_ran(world, tmp_path):
    written = []
    for name, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0, 2])):
        store = Store(str(tmp_path / name))
        world.write(store, BUCKETS)
        for stage in (VisualSumsStage(BUCKETS, 5), VisualStage(BUCKETS)):
            account = UnitResult(rows_in=0, rows_out=0)
            for unit in order:
                account += run_unit(stage, unit, store, "fp")
            stage.finish(store, account)
        written.append(files(store))
    assert written[0] == written[1]
    assert MEANS_FILE in written[0]


def test_groups_of_buckets_add_up_to_the_same_sums(world, store, monkeypatch):
    world.write(store, 7)
    monkeypatch.setattr(stages, "MAX_GROUPS", 3)
    stage = VisualSumsStage(7, 5)
    assert stage.num_units() == 3
    account = total(stage, store)
    assert account.rows_out == len(world.row)
    weight = np.maximum(world.probability, MIN_WEIGHT)
    whole = Moments.of(world.vectors, world.row, world.label, weight)
    parts = [read_moments(store, unit, 3) for unit in range(3)]
    assert sum(part.images.sum() for part in parts) == whole.images.sum()
    np.testing.assert_allclose(sum(part.second for part in parts), whole.second, atol=1e-6)  # float32 probabilities
    assert total(VisualStage(7), store).rows_out == len(world.row)


def test_images_without_a_vector_and_broken_vectors_are_counted_and_never_scored(world, store):
    vectors = world.vectors.copy()
    vectors[3, 2], vectors[5], vectors[8, 0] = np.nan, 0, np.inf
    world.write(store, BUCKETS, vectors=vectors, lost=[0, 11, 12])
    gone = {"no_embedding": np.isin(world.row, [0, 11, 12]).sum(), "bad_vector": np.isin(world.row, [3, 5, 8]).sum()}
    for account in run(store):
        assert dict(account.rejects) == gone
        assert account.rows_out == len(world.row) - sum(gone.values())
    table = scored(store)
    assert np.isfinite(table["score"].to_numpy()).all()
    assert not {world.uris[i] for i in (0, 3, 5, 8, 11, 12)} & set(table["uri"].to_pylist())


def test_a_class_of_a_single_image_is_scored_by_what_its_parents_look_like(world, store):
    car = world.label_of("car")
    cars = np.flatnonzero(world.label == car)
    few = np.setdiff1d(np.arange(len(world.row)), cars[1:])
    world = dataclasses.replace(world, row=world.row[few], label=world.label[few], probability=world.probability[few])
    world.write(store, BUCKETS)
    run(store)
    assert store.read_json("visual_sums/fit/fit.json")["classes_of_one_image"] == 1
    scores = scored(store)
    assert np.isfinite(scores["score"].to_numpy()).all()
    [mode] = [row for row in store.read_table(MODES_FILE).to_pylist() if row["label"] == car]
    assert mode["images"] == 1


def test_confusions_of_the_hierarchy_are_no_competitors(world, store):
    world.write(store, BUCKETS)
    run(store)
    before = scored(store)
    world.write_hierarchy(store, [(world.label_of("car"), world.label_of("bus"))])
    run(store)
    after = scored(store)
    changed = after["score"].to_numpy() > before["score"].to_numpy() + 0.01
    assert set(np.array(after["label"].to_pylist())[changed]) == {"car", "bus"}


def test_the_modes_come_from_the_first_images_in_key_order_of_every_group(world, store, monkeypatch):
    monkeypatch.setattr(stages, "SAMPLE_IMAGES", (8, 8))
    world.write(store, BUCKETS)
    total(VisualSumsStage(BUCKETS, 5), store)
    sample = read_samples(store, BUCKETS)
    assert np.bincount(sample.label).max() == 8  # two of each group
    buckets = buckets_of(world.keys, BUCKETS)
    car = world.label_of("car")
    rows = [world.row[(world.label == car) & (buckets[world.row] == b)][:2] for b in range(BUCKETS)]
    np.testing.assert_array_equal(sample.vectors[sample.label == car], world.vectors[np.concatenate(rows)])


def test_candidates_of_probability_zero_still_have_a_mean(world, store):
    dataclasses.replace(world, probability=np.zeros(len(world.row))).write(store, BUCKETS)
    run(store)
    assert np.isfinite(scored(store)["score"].to_numpy()).all()


def test_an_empty_bucket_gives_an_empty_file(tiny_world, store):
    tiny_world.write(store, 16)
    _, account = run(store, 16)
    assert account.rows_out == len(tiny_world.row)
    assert min(store.read_table(bucket_file("visual", i, 16)).num_rows for i in range(16)) == 0


def test_embeddings_of_another_number_of_buckets_name_the_command(world, store):
    world.write(store, BUCKETS)
    store.delete("embeddings")
    store.write_table(bucket_file("embeddings", 0, 2), world.vector_table(world.keys, world.vectors))
    with pytest.raises(StaleError, match=r"expected embeddings/00000-of-00004\.parquet.*openjft embed CONFIG"):
        run(store)


def test_scores_of_other_candidates_are_refused(world, store):
    world.write(store, BUCKETS)
    other = store.read_table(bucket_file("scores", 1, BUCKETS)).slice(1)
    store.write_table(bucket_file("scores", 1, BUCKETS), other)
    with pytest.raises(StaleError, match="of two builds"):
        run(store)


def test_vectors_of_two_models_are_refused(world, store):
    world.write(store, BUCKETS)
    path = bucket_file("embeddings", 2, BUCKETS)
    keys = store.read_table(path)["image_key"].combine_chunks()
    store.write_table(path, world.vector_table(keys, np.ones((len(keys), 13), np.float16)))
    with pytest.raises(PipelineError, match="of two models"):
        run(store)


def test_a_build_without_any_vector_says_so(world, store):
    world.write(store, BUCKETS, lost=range(len(world.uris)))
    with pytest.raises(PipelineError, match="expected candidates whose images have vectors, found none"):
        run(store)
