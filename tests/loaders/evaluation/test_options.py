from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from openjft.loaders.errors import LoaderError
from openjft.loaders.evaluation import EvaluateOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "test"),
        ("subset", 2.0),
        ("batch_size", 0),
        ("k", 0),
        ("class_weight_alpha", -1.0),
        ("class_weight_gamma", float("inf")),
        ("cache_gb", 0.0),
        ("device", "tpu"),
        ("precision", "fp16"),
        ("num_threads", 0),
        ("per_class", "classes.txt"),
        ("resamples", 99),
        ("seed", -1),
        ("table", "scores.csv"),
    ],
)
def test_each_wrong_evaluation_option_is_named(name, value):
    with pytest.raises(LoaderError, match=rf"1 mistake\n  {name}: expected"):
        EvaluateOptions(data=Path("d"), checkpoint=Path("c"), **{name: value})


@pytest.mark.parametrize(("table", "fits"), [("t.md", True), ("t.csv", True), ("t.parquet", False)])
def test_a_table_is_markdown_or_csv_and_needs_a_clean_list(table, fits):
    def make():
        return EvaluateOptions(data=Path("d"), checkpoint=Path("c"), clean=("a.txt",), table=table)

    if fits:
        assert make().clean == (Path("a.txt"),)
    else:
        with pytest.raises(LoaderError, match="table: expected a path that ends in"):
            make()


def test_every_field_has_a_line_of_help():
    for field in dataclasses.fields(EvaluateOptions):
        assert len(field.metadata["help"]) > 10, field.name
