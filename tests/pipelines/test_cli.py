"""The command line: plain errors, fitting exit statuses, flags that match the options they stand for."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from openjft.pipelines import cli, cli_evaluate, cli_train, cli_transfer

OPENJFT = [sys.executable, "-m", "openjft.pipelines"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*OPENJFT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (cli_train.train, "training.TrainOptions"),
        (cli_evaluate.evaluate, "evaluation.EvaluateOptions"),
        (cli_transfer.transfer, "transfer.TransferOptions"),
    ],
)
def test_the_flags_are_the_options_with_their_defaults(command, options):
    module, _, name = options.partition(".")
    kind = getattr(importlib.import_module(f"openjft.loaders.{module}"), name)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    flags = {
        name.removesuffix("_"): parameter
        for name, parameter in inspect.signature(command).parameters.items()
        if name not in {"quiet", "as_json"}
    }
    assert set(flags) == set(fields)
    for name, parameter in flags.items():
        default = fields[name].default
        if default is dataclasses.MISSING:
            assert parameter.default is inspect.Parameter.empty
        else:
            assert parameter.default == default, name


def test_every_command_has_a_help_with_an_example():
    group = typer.main.get_command(cli.app)
    for name in group.commands:
        text = CliRunner().invoke(cli.app, [name, "--help"]).output
        assert f"openjft {name}" in text
        assert "Example" in text or name == "report", name


def test_a_configuration_with_three_mistakes_shows_all_three_without_a_traceback(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        '[build]\nbuckets = 0\n[fetch]\nsise = 3\n[[inputs]]\npath = "x"\nsource = "alt"\n[[sources]]\nname = "alt"\n'
    )
    done = run("build", str(path))
    assert done.returncode == 1
    assert "3 mistakes" in done.stderr
    for part in ("build.buckets", "fetch.sise: unknown key. Did you mean 'size'?", "taxonomy: required"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hierarchy_with_a_cycle_names_the_way_around(tmp_path):
    (tmp_path / "tree.csv").write_text("child,parent\nb,a\nc,b\na,c\n")
    (tmp_path / "pairs.csv").write_text("uri,label\nhttps://example.org/a.jpg,a\n")
    (tmp_path / "openjft.toml").write_text(
        '[[inputs]]\npath = "pairs.csv"\nsource = "alt"\n[[sources]]\nname = "alt"\n[taxonomy]\npath = "tree.csv"\n'
    )
    done = run("build", str(tmp_path / "openjft.toml"))
    assert done.returncode == 1
    assert "is its own ancestor via" in done.stderr
    assert "Traceback" not in done.stderr


def test_terminal_control_sequences_of_strangers_are_not_printed(tmp_path):
    done = run("build", str(tmp_path / "\x1b[31mred.toml"))
    assert done.returncode == 1
    assert "\x1b[31m" not in done.stderr
    assert "\\x1b" in done.stderr


def test_a_mistyped_command_ends_with_status_2():
    assert run("biuld").returncode == 2


def test_debug_shows_the_traceback(tmp_path):
    done = run("--debug", "build", str(tmp_path / "none.toml"))
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_verify_of_a_folder_without_a_manifest_says_so(tmp_path):
    done = run("verify", str(tmp_path))
    assert done.returncode == 1
    assert "manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_answered_with_the_line_to_type():
    error = ModuleNotFoundError("No module named 'apache_beam'", name="apache_beam.io")
    assert "pip install 'openjft[pipeline]'" in cli._missing_part(error)
    assert cli._missing_part(ModuleNotFoundError("x", name="something_else")) is None
