"""The driver: the stages of a build in order, what of them is missing or stale, and running that.

In: a `Config`. Out: the folder `build.output` with every stage's files, and the account of every row. A stage's
fingerprint covers its settings and the fingerprints of the stages that it reads, so a changed setting makes
just that stage and what follows from it run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .audit.stored import certified_steps
from .config import Config, Runner
from .decontaminate import OverlapStage, VerdictStage
from .duplicates import CellsStage, DuplicatesStage, EdgesStage, MembersStage
from .embed import EmbedStage
from .engine import (
    Listener,
    Stage,
    UnitResult,
    check_rejects,
    decode_error,
    fingerprint,
    is_current,
    noting,
    start_stage,
)
from .errors import PipelineError, StaleError
from .expand import ExpandStage, check_roles
from .fetch import FetchStage
from .hierarchy import write_hierarchy
from .ingest import EvidenceStage, SpillStage, plan_splits
from .precision import CountStage, LabelsStage, PriorsStage, ScoresStage
from .shard import ShardStage
from .storage import Store

_log = logging.getLogger(__name__)

# The commands, in the order of the build, and the stages that each runs.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ingest": ("spill", "evidence"),
    "precision": ("precision", "priors", "scores", "labels"),
    "expand": ("expanded",),
    "fetch": ("images",),
    "embed": ("embeddings",),
    "duplicates": ("cells", "edges", "members", "duplicates"),
    "decontaminate": ("overlaps", "verdicts"),
    "shard": ("shards",),
}

# What each stage reads.
UPSTREAM: Final[Mapping[str, tuple[str, ...]]] = {
    "spill": ("taxonomy", "background"),
    "evidence": ("spill",),
    "precision": ("evidence", "taxonomy"),
    "priors": ("precision", "taxonomy"),
    "scores": ("priors",),
    "labels": ("scores",),
    "expanded": ("labels", "taxonomy"),
    "images": ("labels",),
    "embeddings": ("images",),
    "cells": ("embeddings",),
    "edges": ("cells",),
    "members": ("edges", "embeddings"),
    "duplicates": ("members", "expanded"),
    "overlaps": ("embeddings",),
    "verdicts": ("overlaps",),
    "shards": ("expanded", "duplicates", "verdicts"),
}

POLL_LOCAL_S = 0.25
POLL_REMOTE_S = 5.0  # a listing of an object store costs money


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """How a stage ended: its account, whether anything ran, and how long that took."""

    name: str
    noun: str
    account: UnitResult
    units: int
    units_run: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "stage": self.name,
            "rows": self.noun,
            "rows_in": self.account.rows_in,
            "rows_out": self.account.rows_out,
            "rejects": dict(self.account.rejects),
            "counters": dict(self.account.counters),
            "units": self.units,
            "units_run": self.units_run,
            "seconds": round(self.seconds, 3),
        }


@dataclasses.dataclass(frozen=True)
class BuildSummary:
    """The stages that were asked for, in order."""

    stages: tuple[StageSummary, ...]
    store: Store
    report: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        stages = [stage.to_json() for stage in self.stages]
        return {"stages": stages, "output": self.store.root, "report": self.report}


def make_stages(config: Config) -> list[Stage]:
    """All stages of a build, in order."""
    n = config.build.buckets
    return [
        SpillStage.from_config(config, plan_splits(config)),
        EvidenceStage.from_config(config),
        CountStage.from_config(config),
        PriorsStage.from_config(config),
        ScoresStage.from_config(config),
        LabelsStage.from_config(config),
        ExpandStage.from_config(config),
        FetchStage.from_config(config),
        EmbedStage(config.embed, n),
        CellsStage.from_config(config),
        EdgesStage.from_config(config),
        MembersStage.from_config(config),
        DuplicatesStage.from_config(config),
        OverlapStage.from_config(config),
        VerdictStage.from_config(config),
        ShardStage.from_config(config),
    ]


def fingerprints(stages: Sequence[Stage], hierarchies: Mapping[str, str]) -> dict[str, str]:
    """Fingerprint of every stage by name, given those of the hierarchies."""
    prints = dict(hierarchies)
    for stage in stages:
        prints[stage.name] = fingerprint(stage, [prints[up] for up in UPSTREAM[stage.name]])
    return prints


@dataclasses.dataclass(frozen=True)
class Plan:
    """A build as it would run now.

    Attributes:
        stages: by name, in order.
        prints: fingerprint of each stage.
        no_certificate: why labels cannot be kept, where a certificate is required and none fits.
    """

    stages: Mapping[str, Stage]
    prints: Mapping[str, str]
    no_certificate: PipelineError | None = None

    def require(self, store: Store, name: str, *, by: str) -> str:
        """The fingerprint of a stage that something else reads.

        Raises:
            StaleError: the stage is not finished for this configuration; `by` is the command that asks.
        """
        if not is_current(self.stages[name], store, self.prints[name]):
            raise StaleError(
                f"{by}: expected finished {name}/ of this configuration in {store.root}, found none or one of other "
                f"settings. Run `openjft {_command_of(name)} CONFIG` first, or `openjft build CONFIG` for all"
            )
        return self.prints[name]


def make_plan(config: Config, store: Store) -> Plan:
    """The stages of a build and their fingerprints; writes the hierarchy where it is not there yet."""
    stages = {stage.name: stage for stage in make_stages(config)}
    hierarchies = write_hierarchy(config, store)
    prints = fingerprints(list(stages.values()), hierarchies)
    if not config.audit.require:
        return Plan(stages, prints)
    try:
        steps = certified_steps(store, prints["scores"], target=config.precision.target, delta=config.audit.delta)
    except PipelineError as error:
        return Plan(stages, prints, error)
    stages["labels"] = dataclasses.replace(LabelsStage.from_config(config), certified_steps=steps)
    return Plan(stages, fingerprints(list(stages.values()), hierarchies))


def run_stage(
    stage: Stage, store: Store, print_: str, config: Config, *, listener: Listener | None = None
) -> StageSummary:
    """Runs what is missing of one stage.

    Raises:
        PipelineError: the stage failed in a way that the user can mend; what was done stays done.
    """
    begin = time.monotonic()
    records = start_stage(stage, store, print_)
    missing = records.missing()
    tell = listener or (lambda _: None)
    if missing or not store.exists(_finished(stage)):
        tell(records.progress(preparing=bool(missing)))
        with noting(lambda text: tell(records.progress(preparing=bool(missing), note=text))):
            stage.prepare(store)
    if missing:
        tell(records.progress())
        from .beam import run_units

        def refresh() -> None:
            records.refresh()
            tell(records.progress())

        with _polling(refresh, POLL_LOCAL_S if store.is_local else POLL_REMOTE_S), _our_errors():
            run_units(stage, store, print_, missing, _runner(stage, store, config))
        refresh()
        still = records.missing()
        if still:
            raise PipelineError(
                f"{stage.name}: the runner ended without an error, but {len(still)} of {stage.num_units()} "
                f"{stage.unit_noun} have no record (the first: {still[0]}). Run the same command again"
            )
    account = records.total()
    check_rejects(stage, account)
    if missing or not store.exists(_finished(stage)):
        stage.finish(store, account)
        store.write_json(_finished(stage), {"fingerprint": print_})
    return StageSummary(stage.name, stage.noun, account, stage.num_units(), len(missing), time.monotonic() - begin)


def _runner(stage: Stage, store: Store, config: Config) -> Runner:
    """The configured runner; one process of the local one for a little metadata."""
    runner = config.runner
    if runner.runner != "local" or runner.workers == 1 or stage.heavy:
        return runner
    made = sum(store.size(path) for up in UPSTREAM.get(stage.name, stage.reads) for path in store.list_files(up))
    size = stage.input_bytes() + made
    return runner.model_copy(update={"workers": 1}) if size < runner.small_bytes else runner


def _finished(stage: Stage) -> str:
    return f"{stage.name}/_finished.json"


def build(
    config: Config, *, commands: Sequence[str] | None = None, listener: Listener | None = None, report: bool = True
) -> BuildSummary:
    """Runs what is missing or stale of the whole build, or of the commands named.

    Args:
        config: what to build.
        commands: keys of `COMMANDS`; None runs all of them, and then the report.
        listener: told of progress, from another thread.
        report: whether a whole build ends with the report.

    Raises:
        StaleError: a command's inputs have not been made, or were made with other settings.
        PipelineError: a stage failed in a way that the user can mend.
    """
    from .overlap_report import gather_report, write_overlap_report
    from .overlap_report.write import PAGE_FILE
    from .report import write_report

    store = Store(config.build.output)
    wanted = {name for command in (commands or COMMANDS) for name in COMMANDS[command]}
    with locked(store):
        plan = make_plan(config, store)
        by_name, prints = plan.stages, plan.prints
        check_roles(by_name["expanded"], store)
        done: list[StageSummary] = []
        for stage in by_name.values():
            if stage.name not in wanted:
                continue
            for up in UPSTREAM[stage.name]:
                if up in by_name and up not in wanted:
                    plan.require(store, up, by=_command_of(stage.name))
            if plan.no_certificate and stage.name == "labels":
                raise plan.no_certificate
            done.append(run_stage(stage, store, prints[stage.name], config, listener=listener))
        if any(stage.name == "verdicts" and (stage.units_run or not store.exists(PAGE_FILE)) for stage in done):
            pairs = gather_report(config, store)
            if pairs is not None:
                write_overlap_report(pairs, store)
        path = write_report(config, store) if commands is None and report else None
    return BuildSummary(tuple(done), store, path)


def _command_of(stage: str) -> str:
    return next(command for command, names in COMMANDS.items() if stage in names)


@contextlib.contextmanager
def _polling(call: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls now and then from a thread while the block runs: the runner blocks until the end."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(seconds):
            try:
                call()
            except PipelineError as error:  # progress is told again the next time
                _log.debug("progress: %s", error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _our_errors() -> Iterator[None]:
    """A runner wraps a worker's exception in its own; ours comes out again as itself."""
    try:
        yield
    except Exception as error:
        ours = decode_error(error)
        if ours is None:
            raise
        raise ours from error


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """One build at a time in a local folder; the lock goes with the process, however that ends."""
    if not store.is_local:
        yield
        return
    folder = Path(store.base)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise PipelineError(f"{folder}: the output folder cannot be written: {error}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PipelineError(
                f"{folder}: another build is running in this folder. Wait for it, or give build.output another"
            ) from None
        yield
