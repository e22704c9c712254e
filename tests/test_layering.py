"""Packages import only downwards: pipelines -> loaders, dedup, taxonomy; loaders -> taxonomy. No cycles."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "taxonomy": set(),
    "dedup": set(),
    "loaders": {"taxonomy"},
    "pipelines": {"loaders", "dedup", "taxonomy"},
}
FORBIDDEN = {
    "taxonomy": {"torch", "apache_beam", "faiss", "aiohttp"},
    "dedup": {"apache_beam", "aiohttp"},
    "loaders": {"apache_beam", "faiss", "aiohttp", "numba", "onnxruntime", "sklearn"},
    "pipelines": set(),
}
# Heavy libraries that a module must not import when it is imported itself: only inside a function.
LAZY = {"pipelines": {"torch", "torchvision"}, "dedup": {"torch", "torchvision"}}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("openjft", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(path: Path, *, top_level_only: bool = False) -> list[str]:
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if not top_level_only else _outside_functions(tree)
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*up, *([base] if base else [])])
            found += [base] if node.module else [f"{base}.{alias.name}" for alias in node.names]
    return found


def _outside_functions(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _outside_functions(node)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_downwards(package):
    for path in files(package):
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] not in MAY_IMPORT, f"{path}: say openjft.{parts[0]}, the bare name is a second copy"
            if parts[0] == "openjft":
                assert parts[1] == package or parts[1] in MAY_IMPORT[package], f"{path} imports {name}"
            assert parts[0] not in FORBIDDEN[package], f"{path} imports {name}"


@pytest.mark.parametrize("package", LAZY)
def test_heavy_libraries_are_imported_only_inside_functions(package):
    for path in files(package):
        for name in imports(path, top_level_only=True):
            assert name.split(".")[0] not in LAZY[package], f"{path} imports {name} when it is imported"


def test_modules_do_not_import_each_other_in_a_circle():
    graph = nx.DiGraph()
    modules = {module_of(p): p for package in MAY_IMPORT for p in files(package)}
    for name, path in modules.items():
        for target in imports(path, top_level_only=True):
            # A package's __init__ imports its modules; a module may import siblings, never its own package.
            if target in modules and target != name:
                graph.add_edge(name, target)
    cycles = list(nx.simple_cycles(graph))
    assert not cycles, cycles[:3]
