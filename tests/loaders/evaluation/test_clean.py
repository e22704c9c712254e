from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from openjft.dedup import EvalSetSpec, read_eval_set, write_clean_list
from openjft.loaders import Dataset
from openjft.loaders.errors import LoaderError
from openjft.loaders.evaluation import before_after, evaluate
from openjft.loaders.evaluation.clean_list import count_unknown, read_clean_list
from openjft.loaders.training import train
from openjft.pipelines import cli

tiny = pytest.mark.usefixtures("tiny_network")


def top1(correct):
    return lambda times: float(np.average(correct, weights=times)) if times.sum() else float("nan")


# -- arithmetic ----------------------------------------------------------------------------------------------


def test_before_and_after_of_top_1_by_hand():
    correct = np.array([1, 1, 1, 0, 0, 1, 0, 0], float)
    clean = np.array([0, 1, 1, 1, 1, 0, 1, 1], bool)
    found = before_after(top1(correct), 8, clean, seed=1, resamples=200)
    assert (found.before, found.after) == (0.5, pytest.approx(2 / 6))
    assert found.change == pytest.approx(2 / 6 - 0.5)


def leaked(n, share, rng, *, soiled_accuracy):
    """A network that is right on half of the clean images."""
    clean = rng.random(n) >= share
    return (rng.random(n) < np.where(clean, 0.5, soiled_accuracy)).astype(float), clean


def test_images_that_were_learned_by_heart_are_told_from_chance():
    correct, clean = leaked(4_000, 0.1, np.random.default_rng(0), soiled_accuracy=1.0)
    found = before_after(top1(correct), 4_000, clean, seed=3, resamples=300)
    assert found.change < found.random_low < 0 < found.random_high
    assert found.change_low < found.change < found.change_high < 0
    assert found.p_value == pytest.approx(2 / 301)


def test_images_that_are_removed_for_no_reason_are_chance_at_the_rate_that_is_promised():
    rng = np.random.default_rng(0)
    outside = small = 0
    for seed in range(100):
        correct, clean = leaked(300, 0.2, rng, soiled_accuracy=0.5)
        found = before_after(top1(correct), 300, clean, seed=seed, resamples=200)
        outside += not found.change_low <= 0 <= found.change_high
        small += found.p_value <= 0.05
    # 5 of 100 are expected; 13 or more happen once in a thousand such tests.
    assert outside <= 12
    assert small <= 12


def test_the_ranges_are_those_of_a_slow_reference():
    rng = np.random.default_rng(2)
    correct, clean = leaked(60, 0.3, rng, soiled_accuracy=0.9)
    found = before_after(top1(correct), 60, clean, seed=5, resamples=4_000)
    changes, removals = [], []
    for _ in range(4_000):
        rows = rng.integers(0, 60, 60)
        changes.append(correct[rows][clean[rows]].mean() - correct[rows].mean())
        removals.append(correct[rng.permutation(60)[: clean.sum()]].mean() - correct.mean())
    expected = [*np.percentile(changes, [2.5, 97.5]), *np.percentile(removals, [2.5, 97.5])]
    ours = [found.change_low, found.change_high, found.random_low, found.random_high]
    np.testing.assert_allclose(ours, expected, atol=0.012)


def test_the_same_seed_gives_the_same_ranges_and_another_others():
    correct, clean = leaked(50, 0.3, np.random.default_rng(2), soiled_accuracy=0.9)
    first, again, other = (before_after(top1(correct), 50, clean, seed=s, resamples=100) for s in (1, 1, 2))
    assert first == again
    assert (first.change_low, first.random_low) != (other.change_low, other.random_low)


def test_where_all_images_are_clean_nothing_changes():
    found = before_after(top1(np.ones(4)), 4, np.ones(4, bool), seed=1, resamples=100)
    assert (found.change, found.change_low, found.change_high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(3, bool), "found none among 3"),
        (np.ones(2, bool), r"expected \(3,\) bool"),
        (np.ones(3), r"expected \(3,\) bool"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        before_after(top1(np.ones(3)), 3, mask, seed=1, resamples=100)


def test_a_value_that_is_not_defined_on_the_clean_images_is_refused():
    with pytest.raises(ValueError, match="found none that counts"):
        before_after(lambda times: 1.0 if times[0] else float("nan"), 3, np.array([0, 1, 1], bool), seed=1, resamples=9)


# -- lists ---------------------------------------------------------------------------------------------------

KEY = "00112233445566778899aabbccddeeff"


def test_a_list_holds_hex_keys_comments_and_blank_lines(tmp_path):
    path = tmp_path / "x.clean.txt"
    path.write_text(f"# clean\n\n{KEY}\n{KEY.upper()}  # again\r\n")
    assert read_clean_list(path) == {bytes.fromhex(KEY)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected image keys, one a line, found none"),
        (f"{KEY}\n000000000042.jpg\n", r"x\.txt:2: expected an image key, 32 hex digits .* found '000000000042.jpg'"),
        (KEY[:-1], "32 hex digits"),
        ("\xff\xfe", "expected a text file"),
    ],
)
def test_what_is_no_list_of_keys_is_a_clear_error(tmp_path, text, message):
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LoaderError, match=message):
        read_clean_list(path)


def test_a_missing_list_is_a_clear_error(tmp_path):
    with pytest.raises(LoaderError, match="expected a text file"):
        read_clean_list(tmp_path / "absent.txt")


def test_ids_that_the_dataset_lacks_are_counted_and_the_first_are_named(dataset_folder, tmp_path):
    dataset = Dataset.open(dataset_folder)
    held = dataset.index(1).keys[0].tobytes()
    strangers = [bytes([i]) * 16 for i in range(7)]
    listed = frozenset([held, *strangers])
    with pytest.raises(LoaderError, match=r"found 7 of 8 .*: 0{32}, 01010.* and 2 more"):
        count_unknown(listed, dataset, path=tmp_path, allow=False)
    assert count_unknown(listed, dataset, path=tmp_path, allow=True) == 7
    assert count_unknown(frozenset([held]), dataset, path=tmp_path, allow=False) == 0


# -- a whole evaluation --------------------------------------------------------------------------------------


@pytest.fixture
def clean_list(dataset_folder, tmp_path):
    """Two of three images of the toy dataset."""
    dataset = Dataset.open(dataset_folder)
    keys = [key.tobytes().hex() for shard in range(2) for key in dataset.index(shard).keys]
    path = tmp_path / "toy.clean.txt"
    path.write_text("".join(f"{key}\n" for i, key in enumerate(keys) if i % 3))
    return path


@tiny
def test_an_evaluation_gives_the_values_on_all_and_on_the_clean_images(
    train_options, evaluate_options, clean_list, tmp_path
):
    train(train_options(steps=2))
    plain = evaluate(evaluate_options())
    events = []
    summary = evaluate(
        evaluate_options(clean=[clean_list], resamples=100, table=tmp_path / "t" / "scores.csv"), events.append
    )
    assert (summary.map_at_k, summary.num_images) == (plain.map_at_k, 96)
    (found,) = summary.comparisons
    assert (found.num_images, found.num_clean, found.num_removed, found.unknown_ids) == (96, 64, 32, 0)
    assert found.map_at_k.before == pytest.approx(plain.map_at_k)
    assert found.unweighted_map_at_k.before == pytest.approx(plain.unweighted_map_at_k)
    assert found.map_at_k.after != found.map_at_k.before
    assert found.map_at_k.resamples == 100
    assert [(e.images, e.num_images) for e in events if e.unit == "resamples"][-1] == (100, 100)
    value = json.loads(json.dumps(summary.to_json()))["comparisons"][0]
    assert value["clean_list"] == str(clean_list)
    with (tmp_path / "t/scores.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    assert [row["value"] for row in rows] == ["mAP@100", "mAP@100, unweighted"]
    assert float(rows[0]["after"]) == found.map_at_k.after
    assert float(rows[1]["p_value"]) == found.unweighted_map_at_k.p_value


@tiny
def test_a_list_may_name_images_outside_the_split_but_must_name_some_in_it(train_options, evaluate_options, tmp_path):
    options = train_options(steps=1, holdout=0.25)
    train(options)
    dataset = Dataset.open(options.data)
    keys = [key.tobytes().hex() for shard in range(2) for key in dataset.index(shard).keys]
    path = tmp_path / "toy.clean.txt"
    path.write_text("\n".join(keys))
    summary = evaluate(evaluate_options(split="holdout", clean=[path], resamples=100))
    assert summary.comparisons[0].num_clean == summary.num_images < 96
    path.write_text(keys[0])
    with pytest.raises(LoaderError, match=r"found none in the list"):
        evaluate(evaluate_options(split="holdout", clean=[path], resamples=100))


@tiny
def test_a_list_that_decontamination_writes_of_a_datasets_shards_is_read(
    dataset_folder, train_options, evaluate_options, tmp_path
):
    train(train_options(steps=1))
    spec = EvalSetSpec(name="toy", format="webdataset", root=str(dataset_folder / "shards"))
    ids = read_eval_set(spec).ids
    write_clean_list(spec, ids[:20], tmp_path, unknown_ids=ids[20:25])
    (found,) = evaluate(evaluate_options(clean=[tmp_path / "toy.clean.txt"], resamples=100)).comparisons
    assert (found.num_images, found.num_clean) == (96, 71)


@tiny
def test_the_command_prints_a_table_and_writes_markdown(train_options, clean_list, tmp_path):
    options = train_options(steps=1)
    train(options)
    other = tmp_path / "strict|list.txt"
    other.write_text("\n".join(clean_list.read_text().split()[:40]))
    command = ["evaluate", options.data, str(options.output), "--split", "all", "--resamples", "100"]
    lists = ["--clean", str(clean_list), "--clean", str(other), "--table", str(tmp_path / "t.md")]
    done = CliRunner().invoke(cli.app, [*command, *lists], env={"COLUMNS": "250"})
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert len(lines) == 2 + 4 + 1 + 2
    assert re.match(
        r"\| toy.clean.txt \| mAP@100 \| [01]\.\d{4} \(96\) \| [01]\.\d{4} \(64\) \| [+-]0\.\d{4} \|", lines[2]
    )
    assert lines[4].startswith("| strict\\|list.txt")
    assert "32 of 96 images removed" in lines[7]
    assert "100 bootstrap resamples" in lines[7]
    assert "strict|list.txt: 56 of 96 images removed" in done.output
