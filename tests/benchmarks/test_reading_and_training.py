"""The benchmarks of reading and training: every sample counts, ratios and parts are what they say, all of it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = ("bench_loader", "peer_readers", "bench_loader_peers", "train_profile", "train_report", "real_sets")
IMAGES = 40

# webdataset leaves the closing of its tars to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def root(scripts, tmp_path_factory):
    """The same drawn images as a data set and as files."""
    root = tmp_path_factory.mktemp("peers")
    jpegs = [scripts["bench_loader"].draw_jpeg(seed) for seed in range(2)]
    scripts["bench_loader"].draw_dataset(root / "openjft", IMAGES, jpegs)
    (root / "files").mkdir()
    for number in range(IMAGES):
        (root / "files" / f"{number}.jpg").write_bytes(jpegs[number % 2])
    return root


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("name", ["limit", "openjft", "webdataset", "files"])
def test_a_pass_of_a_reader_gives_every_sample_once(scripts, root, name, decode):
    passes = scripts["peer_readers"].READERS[name](root, 0, decode)
    assert sum(passes()) == sum(passes()) == IMAGES


def test_a_reader_without_its_library_is_told_from_one_that_fails(scripts, root, monkeypatch):
    readers, script = scripts["peer_readers"], scripts["bench_loader_peers"]
    monkeypatch.setitem(readers.MODULES, "litdata", "no_such_library")
    assert not readers.there("litdata")
    options = script.argparse.Namespace(peer_python=sys.executable, seconds=0.01)
    assert "failed" in script.run_reader("openjft", root / "nowhere", "read", 0, options)


def runs(*rates):
    return [{"per_s": rate, "versions": {}} for rate in rates]


def test_ratios_are_the_median_of_the_turns_with_the_better_number_of_workers(scripts):
    readers = {
        "limit": {"1": runs(100.0, 200.0, 400.0)},
        "openjft": {"1": runs(1.0, 1.0, 1.0), "2": runs(50.0, 50.0, 300.0)},
        "webdataset": {"1": runs(10.0, 25.0, 100.0), "2": [*runs(1000.0), {"failed": "once"}, *runs(1000.0)]},
        "litdata": {"1": [{"missing": "not in the peers' environment"}]},
    }
    rows = {row["reader"]: row for row in scripts["bench_loader_peers"].summary({"read": readers})}
    ours = rows["openjft"]
    assert (ours["workers"], ours["per_s"]) == ("2", 50.0)
    assert (ours["to_limit"], ours["to_webdataset"]) == (0.5, 3.0)  # of 0.5, 0.25, 0.75 and 5, 2, 3
    assert rows["webdataset"]["workers"] == "1"  # a turn with two of them failed
    assert rows["litdata"]["per_s"] is None
    text = scripts["bench_loader_peers"].table(list(rows.values()))
    assert "| read | litdata | not in the peers' environment |" in text


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("aten::cudnn_convolution", "aten::conv2d"), "convolution"),
        (("aten::copy_", "aten::to", "aten::conv2d"), "casts and copies"),
        (("aten::mul_", "aten::_foreach_mul_", "Optimizer.step#RMSProp.step"), "optimizer"),
        (("aten::cudnn_batch_norm_backward", "autograd::engine::evaluate_function"), "batch norm"),
        (("aten::mm", "AddmmBackward0"), "head"),
        (("aten::sum", "ConvolutionBackward0"), "convolution"),
        (("aten::something",), "other"),
    ],
)
def test_the_time_of_an_operator_counts_for_the_part_that_called_it(scripts, names, part):
    assert scripts["train_profile"].part_of(names) == part


def test_time_of_kernels_that_no_operator_explains_is_told_as_other(scripts):
    event = scripts["train_profile"].Event
    events = [event(("aten::mm",), 20.0), event(("aten::conv2d",), 50.0)]
    assert scripts["train_profile"].shares(events, 100.0) == {"convolution": 0.5, "other": 0.3, "head": 0.2}
    assert scripts["train_profile"].shares([]) == {}


def test_flops_of_resnet50_are_three_times_those_of_its_forward_pass_but_for_the_first_layer(scripts):
    found = scripts["train_profile"].flops_an_image("resnet50", 224, 1_000)
    first = 2 * 112**2 * 64 * 3 * 7**2  # needs no gradient of the image
    assert found["convolution"] + found["head"] == 3 * 2 * 4_089_184_256 - first  # torchvision says 4.09 GMACs
    assert found["head"] == 3 * 2 * 2_048 * 1_000


@pytest.mark.parametrize(
    ("waiting", "busy", "limit"),
    [(0.3, 0.5, "the loader"), (0.0, 0.5, "launching kernels"), (0.0, 0.95, "batch norm"), (0.05, None, "batch norm")],
)
def test_what_limits_is_the_first_thing_that_a_faster_run_needs(scripts, waiting, busy, limit):
    row = {"loader": {"waiting": waiting}, "drawn": {"busy": busy, "parts": {"batch norm": 0.6, "head": 0.4}}}
    assert scripts["train_report"].limiting(row).startswith(limit)


def test_settings_are_tried_on_pictures_that_are_neither_trained_on_nor_tested(scripts):
    sets = scripts["real_sets"]

    def pictures(name, count):
        pixels = [np.full((2, 2, 3), i, np.uint8) for i in range(count)]
        return sets.Pictures([f"{name}{i}" for i in range(count)], pixels, np.arange(count) % 3, 32)

    job = sets.Job(pictures("train", 11), [{"file": f"train{i}"} for i in range(11)], pictures("test", 4), 3, 8)
    tried = sets.held_out(job)
    assert [row["file"] for row in tried.rows] == tried.train.names
    assert sorted(tried.train.names + tried.test.names) == sorted(job.train.names)
    assert len(tried.test.names) == 2
    assert [pixels[0, 0, 0] for pixels in tried.test.pixels] == [int(name[5:]) for name in tried.test.names]


def test_the_trainers_benchmark_runs_and_tells_all_of_it(tmp_path):
    path = tmp_path / "train.json"
    command = [sys.executable, str(BENCHMARKS / "bench_train.py"), "--quick", "--device", "cpu", "--json", str(path)]
    done = subprocess.run([*command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = json.loads(path.read_text())["rows"]
    assert row["drawn"]["images_per_s"] > 0
    assert row["loader"]["stages"]["samples"] >= 16  # two steps of 8; what is read ahead counts, too
    assert set(row["drawn"]["parts"]) >= {"convolution", "batch norm", "head", "optimizer"}
    assert sum(row["drawn"]["parts"].values()) == pytest.approx(1, abs=0.01)
    assert "| resnet18 | 64 | 8 | 4 | off |" in done.stdout
