"""Stage `verdicts`: each listed pair held against the thresholds and an auditor's decisions, and what follows from it.

In: `overlaps/`, `evalsets/thresholds.json`, decisions. Out: `verdicts/BUCKET.parquet`
(`openjft.dedup.schema.VERDICTS`); `evalsets/summary.json`, counts for each eval set; and under `evalsets/clean/NAME/`
the eval images without a copy, in the benchmark's own format. Cheap: another review or threshold of removal repeats
this and the shards, not the search.

- *reported*: verified, and at the reporting threshold. Counts in what is published, unless a person says that it is
  different.
- *removal*: alike or verified, or at the removal threshold. Removed unless a person says that it is different.
- *listed*: neither; removed and counted only if a person says that it is a copy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openjft.dedup.decisions import Decisions, read_decisions
from openjft.dedup.schema import LEVELS, VERDICTS
from openjft.pipelines.config import Config
from openjft.pipelines.config_images import RemoveFrom
from openjft.pipelines.engine import Stage, UnitResult
from openjft.pipelines.errors import ConfigError
from openjft.pipelines.evalsets.files import CLEAN_FOLDER, SUMMARY_FILE, THRESHOLDS_FILE
from openjft.pipelines.evalsets.sets import read_headers
from openjft.pipelines.storage import Store, bucket_file

from .clean import write_clean_lists

DECIDED_FILE: Final = "decided/pairs.parquet"  # of all reviews; its own folder, for `evalsets/` goes with the eval sets
DECISIONS: Final = "decisions"  # reviews that were handed to a build; they stay with it


@dataclasses.dataclass(frozen=True)
class VerdictStage(Stage):
    """overlaps/ -> verdicts/."""

    remove_from: RemoveFrom
    eval_sets: tuple[str, ...]
    decisions: tuple[str, ...]  # files
    decisions_digest: str | None
    num_buckets: int

    name: ClassVar[str] = "verdicts"
    noun: ClassVar[str] = "pairs"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build.

        Raises:
            ConfigError: a file of decisions is missing.
            DecisionsError: it cannot be used.
        """
        files = (*config.decontaminate.decisions, *kept_decisions(Store(config.build.output)))
        for path in files:
            if not Path(path).is_file():
                raise ConfigError(
                    f"decontaminate.decisions: expected a file that a review exported, found none at {path}"
                )
        digest = read_decisions(files).digest() if files else None
        names = tuple(section.name for section in config.eval_sets)
        return cls(config.decontaminate.remove_from, names, files, digest, config.build.buckets)

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """What is decided; where the decisions lie does not matter."""
        return {"remove_from": self.remove_from, "decisions": self.decisions_digest}

    def prepare(self, store: Store) -> None:
        """Brings the reviews together in the build's folder: workers do not see the files that were named."""
        store.write_table(DECIDED_FILE, read_decisions(self.decisions).as_table())

    def run(self, unit: int, store: Store) -> UnitResult:
        """Judges the pairs of one bucket."""
        table = store.read_table(bucket_file("overlaps", unit, self.num_buckets))
        marks = store.read_json(THRESHOLDS_FILE) if self.eval_sets else {"remove": 1.0, "report": 1.0}
        decisions = Decisions.from_table(store.read_table(DECIDED_FILE))
        judged = judge(table, marks["remove"], marks["report"], decisions, self.remove_from)
        store.write_table(bucket_file(self.name, unit, self.num_buckets), judged)
        levels = judged["level"].to_pylist()
        return UnitResult(
            rows_in=table.num_rows,
            rows_out=table.num_rows,
            counters={
                **{f"level.{level}": levels.count(level) for level in LEVELS},
                "decided": judged.num_rows - judged["decision"].null_count,
                "overlap": pc.sum(judged["overlap"]).as_py() or 0,
                "removed": pc.sum(judged["removed"]).as_py() or 0,
            },
        )

    def finish(self, store: Store, account: UnitResult) -> None:
        """Sums up each eval set, and writes the lists of its clean images."""
        store.delete(CLEAN_FOLDER)
        if not self.eval_sets:
            store.delete(SUMMARY_FILE)
            return
        columns = ["image_key", "eval_set", "eval_id", "view", "verified", "level", "decision", "overlap", "removed"]
        parts = [
            store.read_table(bucket_file(self.name, u, self.num_buckets), columns) for u in range(self.num_buckets)
        ]
        table = pa.concat_tables(parts)
        found = table.filter(pa.array(_is_found(table)))
        summary = summarize(table, found, store)
        lists = write_clean_lists(store, found)
        for each in summary["sets"]:
            each["clean_lists"] = lists[each["name"]]
        store.write_json(SUMMARY_FILE, {**summary, "remove_from": self.remove_from})


def judge(table: pa.Table, remove: float, report: float, decisions: Decisions, remove_from: RemoveFrom) -> pa.Table:
    """VERDICTS of OVERLAPS rows.

    Args:
        table: OVERLAPS.
        remove: score.
        report: score.
        decisions: an auditor's.
        remove_from: "train" removes training images; otherwise none is.
    """
    score, verified = table["score"].to_numpy(), table["verified"].to_numpy(zero_copy_only=False)
    alike = table["alike"].to_numpy(zero_copy_only=False)
    reported = verified & (score >= np.float32(report))
    removal = verified | alike | (score >= np.float32(remove))
    level = np.where(reported, LEVELS[0], np.where(removal, LEVELS[1], LEVELS[2])).astype(object)
    decision = decisions.decide(table)
    said = np.array(decision.to_pylist(), object)
    copy, different = said == "copy", said == "different"
    removed = ((removal & ~different) | copy) & (remove_from == "train")
    columns = [pa.array(level, pa.string()), decision, pa.array((reported & ~different) | copy), pa.array(removed)]
    return pa.table([*table.columns, *columns], schema=VERDICTS)


def _is_found(table: pa.Table) -> npt.NDArray[np.bool_]:
    """(pairs,) whether a pair makes its eval image unclean: at the loose threshold, or by a person."""
    level, said = np.array(table["level"].to_pylist(), object), np.array(table["decision"].to_pylist(), object)
    out: npt.NDArray[np.bool_] = ((level != "listed") & (said != "different")) | (said == "copy")
    return out


def summarize(table: pa.Table, found: pa.Table, store: Store) -> dict[str, Any]:
    """Counts of each eval set: images, how many were found, how many of them are published."""

    def ids(rows: pa.Table, name: str) -> int:
        return len(pc.unique(rows.filter(pc.equal(rows["eval_set"], name))["eval_id"]))

    published = found.filter(found["overlap"])
    headers = read_headers(store)
    marks = store.read_json(THRESHOLDS_FILE)
    return {
        "embedder": headers[0].model if headers else None,
        "views": list(headers[0].made.views) if headers else [],
        "verify_ssim": marks["verify_ssim"],
        "remove_ssim": marks["remove_ssim"],
        "thresholds": {name: marks[name] for name in ("remove", "report", "listed", "how", "normalised")},
        "pairs_by_view": dict(sorted(_counts(found["view"]).items())),
        "training_images": len(pc.unique(found["image_key"])),
        "removed_images": len(pc.unique(table.filter(table["removed"])["image_key"])),
        "sets": [
            {
                "name": header.name,
                "format": header.spec["format"],
                "images": header.images,
                "undecodable": len(header.undecodable),
                "hit": ids(found, header.name),
                "overlap": ids(published, header.name),
                "pairs": found.filter(pc.equal(found["eval_set"], header.name)).num_rows,
            }
            for header in headers
        ],
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}


def kept_decisions(store: Store) -> tuple[str, ...]:
    """Paths of the reviews that were handed to a build in a local folder."""
    return tuple(store.path(path) for path in store.list_files(DECISIONS)) if store.is_local else ()


def keep_decisions(store: Store, files: Sequence[Path]) -> None:
    """Takes reviews into a build's folder; one of the same reviewer replaces his former one.

    Raises:
        DecisionsError: a file cannot be used.
        ConfigError: the build does not lie on this machine, where the reviews must be read each time.
    """
    if files and not store.is_local:
        raise ConfigError(
            f"--decisions: expected a build in a local folder, found {store.root}; name the files in the configuration "
            "under decontaminate.decisions"
        )
    for file in files:
        reviewers = sorted({record.reviewer for record in read_decisions([file]).records})
        safe = "".join(c if c.isalnum() else "-" for c in "-".join(reviewers))[:60] or "nobody"
        store.write_bytes(f"{DECISIONS}/{safe}.json", file.read_bytes())
