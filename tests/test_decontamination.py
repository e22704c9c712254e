"""Decontamination from the command line, on a small build over real HTTP: reviews, gates, a library of eval sets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tomlkit

from openjft.dedup.decisions import read_decisions
from openjft.pipelines.build import build
from openjft.pipelines.config import load_config
from openjft.pipelines.demo import draw_web, free_port, serve

OPENJFT = [sys.executable, "-m", "openjft.pipelines"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(configuration file, output folder) of a build up to its embeddings and verdicts."""
    folder = tmp_path_factory.mktemp("web")
    web = draw_web(folder, seed=6, images=160, port=free_port())
    document = tomlkit.parse(web.config_path.read_text(encoding="utf-8"))
    document.setdefault("decontaminate", tomlkit.table())["planted_per_transform"] = 3  # to save time
    web.config_path.write_text(tomlkit.dumps(document), encoding="utf-8")
    with serve(folder, web.port):
        build(load_config(web.config_path), report=False)
    return web.config_path, load_config(web.config_path).build.output


@pytest.fixture
def copy(made, tmp_path):
    """A configuration and a build of its own for a test that changes them."""
    config, output = made
    target = tmp_path / "out"
    shutil.copytree(output, target)
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    document["build"]["output"] = str(target)
    path = config.parent / f"{tmp_path.name}.toml"  # paths in it are relative to where it lies
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    yield path, target
    path.unlink()


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([*OPENJFT, *map(str, arguments)], capture_output=True, text=True, check=False)


def verdicts(output):
    import pyarrow.parquet as pq

    return [row for path in sorted((output / "verdicts").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def decisions(path, rows, decision, reviewer="ann"):
    entries = [
        {"image_key": r["image_key"].hex(), "eval_set": r["eval_set"], "eval_id": r["eval_id"], "decision": decision}
        for r in rows
    ]
    head = {"format": "openjft-overlap-decisions", "version": 1, "build": "0" * 12, "reviewer": reviewer}
    path.write_text(json.dumps({**head, "decisions": entries}))
    return path


def test_a_review_changes_what_is_removed_stays_with_the_build_and_searches_nothing_again(copy, tmp_path):
    config, output = copy
    before = [r for r in verdicts(output) if r["removed"]]
    assert before
    file = decisions(tmp_path / "ann.json", before[:1], "different")
    done = run("decontaminate", config, "--decisions", file, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {s["stage"]: s["units_run"] > 0 for s in told["stages"]} == {"overlaps": False, "verdicts": True}
    after = [r for r in verdicts(output) if r["removed"]]
    assert {r["image_key"] for r in after} <= {r["image_key"] for r in before}
    assert len(after) == len(before) - 1
    assert [p.name for p in (output / "decisions").iterdir()] == ["ann.json"]
    # Without naming it again, the review is in force; a newer one of the same person replaces it.
    assert all(s["units_run"] == 0 for s in json.loads(run("decontaminate", config, "--json").stdout)["stages"])
    run("decontaminate", config, "--decisions", decisions(tmp_path / "ann.json", before[:1], "copy"))
    assert len([r for r in verdicts(output) if r["removed"]]) == len(before)
    assert len(read_decisions([output / "decisions/ann.json"])) == 1


def test_two_reviewers_who_disagree_are_named_and_nothing_changes(copy, tmp_path):
    config, output = copy
    row = verdicts(output)[:1]
    first, second = (
        decisions(tmp_path / f"{name}.json", row, said, name) for name, said in (("ann", "copy"), ("bob", "different"))
    )
    done = run("decontaminate", config, "--decisions", first, "--decisions", second)
    assert done.returncode == 1
    assert "'ann'" in done.stderr
    assert "'bob'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "something else"}'])
def test_a_file_that_is_no_review_is_refused_before_anything_runs(copy, tmp_path, content):
    config, output = copy
    (tmp_path / "bad.json").write_text(content)
    done = run("decontaminate", config, "--decisions", tmp_path / "bad.json")
    assert done.returncode == 1
    assert "bad.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (output / "decisions").exists()


def test_the_gate_ends_with_three_above_the_number_allowed(copy):
    config, output = copy
    copies = len({(r["eval_set"], r["eval_id"]) for r in verdicts(output) if r["overlap"]})
    assert copies > 0
    assert run("decontaminate", config, "--max-overlap", copies, "--quiet").returncode == 0
    done = run("decontaminate", config, "--max-overlap", copies - 1, "--quiet")
    assert done.returncode == 3
    assert f"expected at most {copies - 1} evaluation images" in done.stderr.replace("\n", " ")
    assert f"found {copies}" in done.stderr


def test_images_stay_where_the_eval_side_is_to_be_left_out(copy):
    config, output = copy
    done = run("decontaminate", config, "--remove-from", "eval", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["overlap"]
    assert not any(r["removed"] for r in verdicts(output))
    assert told["remove_from"] == "eval"
    for each in told["sets"]:
        lists = {name.rpartition("/")[2]: (output / name).read_text() for name in each["clean_lists"]}
        name = each["name"]
        removed, clean = lists[f"{name}.removed.txt"].split("\n"), lists[f"{name}.clean.txt"].split("\n")
        assert len(removed) - 1 == each["hit"]
        assert len(clean) - 1 == each["images"] - each["hit"] - each["undecodable"]


def test_a_set_from_the_library_is_searched_in_the_stored_vectors_without_the_images(copy, tmp_path):
    config, output = copy
    folder = tmp_path / "photos"
    folder.mkdir()
    stored = next(p for p in sorted((output / "images").glob("*.tar")) if p.stat().st_size > 20_000)
    import tarfile

    with tarfile.open(stored) as tar:
        members = [m for m in tar.getmembers() if m.name.endswith(".jpg")][:3]
        for member in members:
            (folder / member.name).write_bytes(tar.extractfile(member).read())
    (folder / "broken.jpg").write_bytes(b"no picture")
    library = tmp_path / "library"
    done = run("evalset", "add", "mine", "--format", "folder", "--root", folder, "--config", config,
               "--library", library, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["sets"]
    assert (told["name"], told["images"], told["undecodable"], told["model"]) == ("mine", 4, 1, "dct")
    shutil.rmtree(output / "images")
    shutil.rmtree(folder)
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    table = tomlkit.table()
    table.update({"name": "mine", "format": "stored", "root": str(library / "mine")})
    document["eval_sets"].append(table)
    config.write_text(tomlkit.dumps(document), encoding="utf-8")
    done = run("decontaminate", config, "--json")
    assert done.returncode == 0, done.stderr
    found = {r["image_key"].hex() for r in verdicts(output) if r["eval_set"] == "mine" and r["removed"]}
    assert {m.name.removesuffix(".jpg") for m in members} <= found
    summary = {s["name"]: s for s in json.loads(done.stdout)["overlap"]["sets"]}
    assert summary["mine"]["hit"] >= 3
    lists = output / "evalsets/clean/mine"
    assert (lists / "mine.unknown.txt").read_text() == "broken.jpg\n"


def test_a_library_keeps_what_is_there_and_says_so(tmp_path, made):
    import PIL.Image

    folder, library = tmp_path / "photos", tmp_path / "library"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(3):
        PIL.Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    add = ["evalset", "add", "mine", "--format", "folder", "--root", folder, "--library", library]
    assert run(*add).returncode == 0
    stamp = (library / "mine/set.json").stat().st_mtime_ns
    assert run(*add).returncode == 0
    assert (library / "mine/set.json").stat().st_mtime_ns == stamp
    (folder / "0.png").unlink()
    done = run(*add)
    assert done.returncode == 1
    assert "--replace" in done.stderr
    assert run(*add, "--replace").returncode == 0
    (listed,) = json.loads(run("evalset", "list", "--library", library, "--json").stdout)["sets"]
    assert listed["images"] == 2
    assert run("evalset", "remove", "yours", "--library", library).returncode == 1
    assert run("evalset", "remove", "mine", "--library", library).returncode == 0
    assert json.loads(run("evalset", "list", "--library", library, "--json").stdout)["sets"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a NAME, or --config"),
        (["x", "--format", "folder", "--root", "absent"], "expected a folder, found none"),
        (["x", "--format", "cocoa", "--root", "."], "format"),
        (["x", "--format", "folder"], "root: required"),
        (["bad name", "--format", "folder", "--root", "."], "expected 1 to 64 letters"),
    ],
)
def test_bad_input_to_the_library_is_named_without_a_traceback(tmp_path, arguments, message):
    done = run("evalset", "add", *arguments, "--library", tmp_path / "library")
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_stored_set_of_another_model_is_refused_with_the_cure(copy, tmp_path):
    config, _ = copy
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    other = tomlkit.parse(config.read_text(encoding="utf-8"))
    other["embed"] = {"model": "pdq"}
    other_path = config.parent / f"{tmp_path.name}-other.toml"
    other_path.write_text(tomlkit.dumps(other), encoding="utf-8")
    library = tmp_path / "library"
    done = run("evalset", "add", "--config", other_path, "--library", library, "--quiet")
    other_path.unlink()
    assert done.returncode == 0, done.stderr
    name = str(document["eval_sets"][0]["name"])
    document["eval_sets"][0] = {"name": name, "format": "stored", "root": str(library / name)}
    config.write_text(tomlkit.dumps(document), encoding="utf-8")
    done = run("decontaminate", config)
    assert done.returncode == 1
    assert "vectors of two models cannot be compared" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_two_sets_of_one_name_are_refused(copy):
    config, _ = copy
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    document["eval_sets"].append(document["eval_sets"][0].copy())
    config.write_text(tomlkit.dumps(document), encoding="utf-8")
    done = run("decontaminate", config)
    assert done.returncode == 1
    assert "stands twice; expected each once" in done.stderr.replace("\n", " ")
