"""A workshop for the tests of ingest: a folder, a small hierarchy, and a build's stages run without Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from openjft.pipelines.config import Config, parse_config
from openjft.pipelines.engine import UnitResult, run_unit
from openjft.pipelines.ingest import EvidenceStage, SpillStage, plan_splits
from openjft.pipelines.storage import Store
from openjft.taxonomy import Category, Edge, build_taxonomy


@dataclasses.dataclass
class Workshop:
    folder: Path

    def config(self, *inputs: dict[str, Any], **sections: Any) -> Config:
        data = {
            "build": {"output": "out", "buckets": 4},
            "inputs": [{"source": "alt", **item} if "columns" not in item else item for item in inputs],
            "sources": [{"name": "alt"}, {"name": "anchor"}, {"name": "model", "kind": "score"}],
            "taxonomy": {"path": "unused"},
            **sections,
        }
        return parse_config(data, base=self.folder)

    def store(self, config: Config, extra: Sequence[Category] = ()) -> Store:
        store = Store(config.build.output)
        names = [
            Category("n1", "cat"),
            Category("n2", "Dog"),
            Category("n3", "jaguar"),
            Category("n4", "jaguar"),
            *extra,
        ]
        taxonomy = build_taxonomy([*names, Category("n9", "animal")], [Edge(c.id, "n9") for c in names], origin="test")
        for name, table in zip(("vocabulary", "edges"), taxonomy.to_tables(), strict=True):
            store.write_table(f"taxonomy/{name}.parquet", table)
        return store

    def spill(self, config: Config, store: Store | None = None, **options: Any) -> UnitResult:
        store = store or self.store(config)
        stage = SpillStage.from_config(config, plan_splits(config, **options))
        total = UnitResult(rows_in=0, rows_out=0)
        for unit in range(stage.num_units()):
            total += run_unit(stage, unit, store, "fp")
        return total

    def evidence(self, config: Config) -> UnitResult:
        store, stage = Store(config.build.output), EvidenceStage.from_config(config)
        stage.prepare(store)
        total = UnitResult(rows_in=0, rows_out=0)
        for unit in range(stage.num_units()):
            total += run_unit(stage, unit, store, "fp")
        return total

    def ingest(self, config: Config, **options: Any) -> tuple[UnitResult, UnitResult, list[dict[str, Any]]]:
        spilled = self.spill(config, **options)
        return spilled, self.evidence(config), self.rows(config)

    def rows(self, config: Config) -> list[dict[str, Any]]:
        files = sorted((Path(config.build.output) / "evidence").glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def rejects(self, config: Config) -> list[dict[str, Any]]:
        files = sorted((Path(config.build.output) / "rejects").glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)
