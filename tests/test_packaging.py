"""The wheel holds every package of the tree, under the long names."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP = ("dedup", "loaders", "pipelines", "taxonomy")


def packages_in_tree() -> set[str]:
    folders = [p.parent.relative_to(ROOT) for top in TOP for p in (ROOT / top).rglob("*.py")]
    return {"openjft." + ".".join(f.parts) for f in folders}


def test_every_folder_with_code_is_listed_for_the_wheel():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_in_tree()


@pytest.mark.parametrize("name", sorted(packages_in_tree()))
def test_every_listed_package_is_installed(name):
    assert importlib.import_module(name).__doc__


def test_every_module_of_the_tree_is_importable():
    modules = [
        "openjft." + ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for top in TOP
        for p in sorted((ROOT / top).rglob("*.py"))
        if p.name != "__init__.py"
    ]
    code = f"import importlib\nfor m in {modules!r}: importlib.import_module(m)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def test_the_base_install_has_no_beam_and_no_faiss():
    names = " ".join(PROJECT["project"]["dependencies"])
    assert "beam" not in names
    assert "faiss" not in names


def test_the_top_level_is_what_the_design_says():
    expected = {
        "pyproject.toml", "README.md", "LICENSE", "Makefile", "pipelines", "taxonomy", "dedup", "loaders",
        "tests", "examples", "benchmarks", "docs",
    }  # fmt: skip
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert {f.split("/")[0] for f in tracked.stdout.split()} - {".gitignore", ".ci", ".typing"} == expected
