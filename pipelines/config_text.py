"""The configuration as TOML: a template with every default and its meaning, or a given one filled in.

In: the models of `config`. Out: text that `config.load_config` reads back to an equal `Config`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import tomlkit
from tomlkit.items import AoT, Table

from .config import Config, EvalSet, Input, Section, Source

_WIDTH = 100
_EXAMPLE: Final[dict[str, Any]] = {
    "inputs": [
        {"path": "pairs/*.parquet", "source": "alt"},
    ],
    "sources": [{"name": "alt"}],
    "taxonomy": {"path": "categories.csv"},
    "eval_sets": [
        {
            "name": "coco-val2017",
            "format": "coco",
            "root": "eval/coco",
            "annotations": "annotations/instances_val2017.json",
        }
    ],
}
_HEADER = (
    "OpenJFT configuration. Every key is shown with its default; a line that begins with '# key =' shows a key that\n"
    "is not set. Paths are relative to this file or URIs (s3://, gs://, hdfs://). Secrets do not belong here."
)


def config_template() -> str:
    """A configuration to start from: one input, one source, one evaluation set, every default."""
    return config_text(Config.model_validate(_EXAMPLE))


def config_text(config: Config) -> str:
    """TOML of a configuration with every default filled in and every key explained."""
    document = tomlkit.document()
    for line in _HEADER.splitlines():
        document.add(tomlkit.comment(line))
    for name in type(config).model_fields:
        value = getattr(config, name)
        document.add(tomlkit.nl())
        if isinstance(value, Section):
            document.add(name, _table(value))
        elif value:
            document.add(name, _array_of_tables(value))
    return tomlkit.dumps(document)


def _array_of_tables(sections: Sequence[Input | Source | EvalSet]) -> AoT:
    array = tomlkit.aot()
    for i, section in enumerate(sections):
        array.append(_table(section, explain=i == 0))
    return array


def _table(section: Section, *, explain: bool = True) -> Table:
    table = tomlkit.table()
    if explain and (text := (type(section).__doc__ or "").strip()):
        table.add(tomlkit.comment(text.splitlines()[0]))
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if explain and field.description:
            for line in textwrap.wrap(field.description, _WIDTH):
                table.add(tomlkit.comment(line))
        if value is None:
            if explain:
                table.add(tomlkit.comment(f"{name} ="))
        elif isinstance(value, Section):
            table.add(name, _inline(value))
        else:
            table.add(name, list(value) if isinstance(value, tuple) else value)
    return table


def _inline(section: Section) -> Any:
    inline = tomlkit.inline_table()
    for name in type(section).model_fields:
        if (value := getattr(section, name)) is not None:
            inline.add(name, value)
    return inline
