from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openjft.dedup import EVAL_IMAGES, DedupError, EvalIndex, IndexMismatchError, make_embedder, make_views
from openjft.dedup.embedder import EmbedderSpec
from openjft.dedup.views import IDENTITY, MIRROR, View

DCT = make_embedder(EmbedderSpec())


def table(n):
    return pa.table([["set"] * n, [str(i) for i in range(n)], [f"/{i}.jpg" for i in range(n)]], schema=EVAL_IMAGES)


def from_vectors(vectors, rows, views=(IDENTITY, MIRROR)):
    rows = np.asarray(rows, np.int32)
    return EvalIndex(table(int(rows[:, 0].max()) + 1), views, np.asarray(vectors, np.float16), rows, "fp", {})


def built(photo, n=6, views=("identity", "mirror", "crop")):
    return EvalIndex.build(((i, photo(i)) for i in range(n)), table(n), DCT, make_views(views))


def test_a_mirrored_and_a_cropped_copy_are_found_by_their_views(photo):
    index = built(photo)
    image = photo(3)
    queries = DCT.embed([image[:, ::-1], image[:77, :102]])
    matches = index.search(queries, min_score=0.7, neighbours=4)
    assert matches.eval_index.tolist() == [3, 3]
    assert [index.views[v].name for v in matches.view] == ["mirror", "crop80-top-left"]


def test_the_best_view_stands_for_an_eval_image():
    index = from_vectors([[1, 0], [0.8, 0.6], [0, 1]], [[0, 0], [0, 1], [1, 0]])
    matches = index.search(np.array([[0.8, 0.6]], np.float32), min_score=0.5, neighbours=9)
    assert matches.eval_index.tolist() == [0, 1]
    assert matches.view.tolist() == [1, 0]
    assert matches.similarity.tolist() == pytest.approx([1.0, 0.6], abs=1e-3)


def test_equal_similarities_go_by_eval_order_and_then_by_view_order():
    index = from_vectors([[1, 0]] * 5, [[0, 0], [0, 1], [1, 1], [2, 0], [3, 0]])
    matches = index.search(np.array([[1, 0]], np.float32), min_score=0.9, neighbours=3)
    assert matches.eval_index.tolist() == [0, 1, 2]
    assert matches.view.tolist() == [0, 1, 0]


def test_neighbours_are_counted_for_each_query():
    index = from_vectors([[1, 0], [1, 0], [0, 1]], [[0, 0], [1, 0], [2, 0]])
    matches = index.search(np.array([[0, 1], [1, 0], [0, 1]], np.float32), min_score=0.9, neighbours=1)
    assert matches.query_index.tolist() == [0, 1, 2]
    assert matches.eval_index.tolist() == [2, 0, 2]


def test_an_index_reads_back_as_it_was_written(photo, tmp_path):
    index = built(photo)
    index.save(lambda name: (tmp_path / name).open("wb"))
    again = EvalIndex.load(lambda name: (tmp_path / name).open("rb"), embedder=DCT.fingerprint, origin="here")
    np.testing.assert_array_equal(again.vectors, index.vectors)
    np.testing.assert_array_equal(again.rows, index.rows)
    assert again.images.equals(index.images)
    assert again.views == index.views
    assert again.counts == index.counts


def test_an_index_of_another_model_is_refused(photo, tmp_path):
    built(photo, 1).save(lambda name: (tmp_path / name).open("wb"))
    with pytest.raises(IndexMismatchError, match="two models cannot be compared"):
        EvalIndex.load(lambda name: (tmp_path / name).open("rb"), embedder="0" * 64, origin="here")


def test_an_index_is_never_unpickled(photo, tmp_path):
    built(photo, 1).save(lambda name: (tmp_path / name).open("wb"))
    np.save(tmp_path / "vectors.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        EvalIndex.load(lambda name: (tmp_path / name).open("rb"), embedder=DCT.fingerprint, origin="here")


def test_queries_of_another_length_or_with_nan_are_refused(photo):
    index = built(photo, 1)
    with pytest.raises(IndexMismatchError, match="another model"):
        index.search(np.zeros((1, 3), np.float32), min_score=0.5, neighbours=1)
    with pytest.raises(DedupError, match="NaN"):
        index.search(np.full((1, DCT.dim), np.nan, np.float32), min_score=0.5, neighbours=1)


def test_a_part_that_shows_nothing_is_no_view_of_its_own(photo):
    image = photo(0)
    image[:, :80] = 255
    views = (IDENTITY, View("left", 0, 0, 0.5, 1), View("right", 0.5, 0, 1, 1))
    index = EvalIndex.build([(0, image)], table(1), DCT, views)
    assert index.rows.tolist() == [[0, 0], [0, 2]]
    assert index.counts == {"images": 1, "plain_views": 1}


def test_images_left_out_have_no_rows(photo):
    index = EvalIndex.build([(1, photo(1))], table(3), DCT, (IDENTITY,))
    assert index.rows.tolist() == [[1, 0]]
    assert index.images.num_rows == 3
