"""`openjft study ...`: flags, plan, tables, errors."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import pytest
import typer
from typer.testing import CliRunner

from openjft.loaders.studies import StudyOptions, StudyStopped
from openjft.pipelines import cli, cli_study

STUDIES = ("size", "epochs", "classes", "depth", "init")


@pytest.fixture
def call(dataset_folder, tmp_path):
    """Runs a study command on the toy; returns click's result."""

    def invoke(command, *arguments):
        tiny = "--epochs 1 --arch resnet18 --batch-size 8 --crop-size 32 --holdout 0.25 --device cpu --num-threads 1"
        line = ["study", command, str(dataset_folder), "--output", str(tmp_path / "study"), *tiny.split(), *arguments]
        return CliRunner().invoke(cli.app, line)

    return invoke


@pytest.mark.parametrize("name", STUDIES)
def test_the_shared_flags_are_the_options_with_their_defaults(name):
    fields = {f.name: f for f in dataclasses.fields(StudyOptions)}
    command = typer.main.get_command(cli_study.app).commands[name]
    flags = {p.name.removesuffix("_"): p for p in command.params}
    assert set(fields) <= set(flags)
    shared = inspect.signature(cli_study._shared).parameters
    for field in fields.values():
        default = shared.get(field.name, shared.get(f"{field.name}_")).default
        if field.name in {"seeds", "settings"}:
            continue  # a text with commas, and a list that may be missing
        assert default == (inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default)
    assert cli_study._seeds(shared["seeds"].default) == fields["seeds"].default


@pytest.mark.parametrize("name", [*STUDIES, "fit"])
def test_every_study_has_a_help_with_an_example(name):
    text = CliRunner().invoke(cli.app, ["study", name, "--help"]).output
    assert f"Example: openjft study {name}" in text.replace("`", "")


@pytest.mark.usefixtures("tiny_networks")
def test_a_size_study_prints_its_plan_its_table_and_its_verdict(call, tmp_path):
    done = call("size", "--shares", "1/6,1/3,1", "--seeds", "0,1")
    assert done.exit_code == 0, done.output
    assert "6 of 6 runs to do." in done.stderr
    assert "run 6 of 6: size-1-seed-1" in done.stderr
    assert "mean" in done.stdout
    assert str(tmp_path / "study/study.svg") in done.stdout.replace("\n", "")
    again = call("size", "--shares", "1/6,1/3,1", "--seeds", "0,1")
    assert "0 of 6 runs to do." in again.stderr
    assert again.stdout == done.stdout
    other = call("size", "--shares", "1/6,1/3,1", "--seeds", "2", "--dry-run")
    assert "6 runs in" in other.stderr
    assert "are of other options (or seeds) and not in the table: size-1-seed-0-" in other.stderr


@pytest.mark.usefixtures("tiny_networks")
def test_json_is_the_study_and_quiet_says_nothing(call, tmp_path):
    done = call("depth", "--archs", "resnet18,resnet50", "--json", "--quiet")
    assert json.loads(done.stdout) == json.loads((tmp_path / "study/study.json").read_text())
    assert done.stderr == ""
    assert call("depth", "--archs", "resnet18,resnet50", "--quiet").output == ""


@pytest.mark.usefixtures("tiny_networks")
def test_a_dry_run_trains_nothing_and_a_probe_tells_the_time(call, tmp_path):
    done = call("epochs", "--dry-run", "--probe", "--json", "--set", "momentum=0.5")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert [(run["name"], run["state"], run["steps"]) for run in value["runs"]] == [("epochs-seed-17", "new", 9)]
    assert value["training_s"] > 0
    assert value["images_seen"] == 72
    assert not (tmp_path / "study").exists()


def test_mistakes_are_told_in_plain_words(call, capsys, dataset_folder, tmp_path):
    for arguments, said in (
        (["size", str(dataset_folder), "--output", str(tmp_path), "--holdout", "0", "--epochs", "0"], "2 mistakes"),
        (["depth", str(tmp_path), "--output", str(tmp_path)], "manifest.json"),
        (["init", str(dataset_folder), "--output", str(tmp_path), "--init", "no-such"], "no-such: expected an export"),
        (["fit", str(tmp_path / "none.csv")], "found no file"),
    ):
        with pytest.raises(SystemExit) as error:
            cli.main(["study", *arguments])
        assert error.value.code == 1
        text = capsys.readouterr().err
        assert said in text
        assert "Traceback" not in text
    assert call("size", "--shares", "1/0").exit_code == 2
    assert call("size", "--seeds", "one").exit_code == 2


def test_an_interrupted_study_ends_with_130(call, monkeypatch):
    def stopped(*_):
        raise StudyStopped("stopped in run x")

    monkeypatch.setattr("openjft.loaders.studies.study", stopped)
    done = call("epochs")
    assert done.exit_code == 130
    assert "stopped in run x" in done.stderr


TABLE = "images,map_at_k,width\n10,0.10,0.01\n30,0.20,0.01\n100,0.30,0.01\n300,0.41,0.01\n"


def test_a_table_of_ones_own_is_fitted(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeff" + TABLE)
    done = CliRunner().invoke(cli.app, ["study", "fit", str(tmp_path / "t.csv"), "--output", str(tmp_path / "fit")])
    assert done.exit_code == 0, done.output
    assert "neither the log-linear nor the saturating one is rejected" in done.stdout
    assert {p.name for p in (tmp_path / "fit").iterdir()} == {"fit.json", "fit.md", "fit.svg", "fit.png"}
    first = {p.name: p.read_bytes() for p in (tmp_path / "fit").iterdir()}
    given = CliRunner().invoke(cli.app, ["study", "fit", str(tmp_path / "t.csv"), "--sd", "width", "--json"])
    assert json.loads(given.stdout)["noise"] == "given"
    CliRunner().invoke(cli.app, ["study", "fit", str(tmp_path / "t.csv"), "--output", str(tmp_path / "fit")])
    assert {p.name: p.read_bytes() for p in (tmp_path / "fit").iterdir()} == first


@pytest.mark.usefixtures("tiny_networks")
def test_the_table_of_a_study_can_be_fitted_again(call, tmp_path):
    assert call("size", "--shares", "1/6,1/3,1", "--seeds", "0,1,2", "--lr", "0.0003").exit_code == 0
    done = CliRunner().invoke(cli.app, ["study", "fit", str(tmp_path / "study/table.csv"), "--json"])
    assert json.loads(done.stdout) == json.loads((tmp_path / "study/study.json").read_text())["fit"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n",
            "expected the columns images, map_at_k, found no images, map_at_k among a, b; name yours with --x",
        ),
        ("", "among none at all"),
        ("images,map_at_k\n1,x\n", r"t\.csv, line 2: expected a finite number in column map_at_k, found 'x'"),
        ("images,map_at_k\n1,0.5\n2\n", "line 3: expected a finite number in column map_at_k, found None"),
        ("images,map_at_k\n1,nan\n", "line 2: expected a finite number in column map_at_k, found 'nan'"),
        ("images,map_at_k\n\xff,1\n", "expected a CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, capsys, text, message):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SystemExit):
        cli.main(["study", "fit", str(tmp_path / "t.csv")])
    assert re.search(message, capsys.readouterr().err)
