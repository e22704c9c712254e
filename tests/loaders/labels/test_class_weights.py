from __future__ import annotations

import pytest

from openjft.loaders import LoaderError
from openjft.loaders.labels import read_class_weights


def test_classes_that_the_table_leaves_out_weigh_one(toy, tmp_path):
    (tmp_path / "w.csv").write_text("id,weight\ndog,2.5\nrock,0\n")
    assert read_class_weights(tmp_path / "w.csv", toy.taxonomy).tolist() == [1, 1, 2.5, 0, 1]


def test_every_kind_of_mistake_in_weights_is_told(toy, tmp_path):
    (tmp_path / "w.csv").write_text("id,weight\ndgo,1\nrock,-1\nrock,inf\nanimal,\nspaniel,much\n")
    with pytest.raises(LoaderError) as caught:
        read_class_weights(tmp_path / "w.csv", toy.taxonomy)
    lines = str(caught.value).splitlines()[1:]
    found = "'-1' (row 2), 'inf' (row 3), None (row 4), 'much' (row 5)"
    assert lines == [
        "  id: expected ids of the 5 categories, found 1: 'dgo' Did you mean 'dog'?",
        "  id: expected each category once, found 1 more often: 'rock'",
        f"  weight: expected numbers of 0 or more, found 4 others: {found}",
    ]


@pytest.mark.parametrize("text", ["", "id,weight\n", "label,weight\ndog,1\n"])
def test_a_table_without_rows_or_columns_is_refused(toy, tmp_path, text):
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(LoaderError, match="id and weight"):
        read_class_weights(tmp_path / "w.csv", toy.taxonomy)
