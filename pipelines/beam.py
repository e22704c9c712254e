"""The one Beam transform of the project, and the runners it goes to.

`MapUnits` wires `engine.run_unit` over the units that are not done: `Create | Reshuffle | ParDo`. Units are few
and large, so `Reshuffle` costs nothing (single rows through it run at 51k/s; here it spreads whole buckets).

The local runner is Beam's FnApiRunner, named explicitly, since `DirectRunner` first tries to download another
engine. More than one worker means processes (`multi_processing`): `multi_threading` corrupts data in Beam 2.77
and is refused by the configuration.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from .config import Runner
from .engine import Stage, UnitResult, encode_error, run_unit
from .errors import mendable
from .storage import Store

T = TypeVar("T")


class RunUnit(beam.DoFn):
    """Runs units of one stage; loads the stage's models once for each worker."""

    def __init__(self, stage: Stage, store: Store, fingerprint: str) -> None:
        self.stage, self.store, self.fingerprint = stage, store, fingerprint

    def setup(self) -> None:
        """Loads what every unit needs."""
        _carry_error(self.stage.setup)

    def process(self, unit: int) -> Iterator[tuple[int, UnitResult]]:
        """One unit: its files, its record, its counts as Beam metrics."""
        result = _carry_error(lambda: run_unit(self.stage, unit, self.store, self.fingerprint))
        namespace = self.stage.name
        Metrics.counter(namespace, "rows_in").inc(result.rows_in)
        Metrics.counter(namespace, "rows_out").inc(result.rows_out)
        for reason, count in result.rejects.items():
            Metrics.counter(namespace, f"rejected.{reason}").inc(count)
        for name, count in result.counters.items():
            Metrics.counter(namespace, name).inc(count)
        yield unit, result


@dataclasses.dataclass
class MapUnits(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[tuple[int, UnitResult]]]):
    """Units of a stage that are not done yet -> (unit, account) of each, its files on storage."""

    stage: Stage
    store: Store
    fingerprint: str
    units: Sequence[int]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[tuple[int, UnitResult]]:
        """Create, spread, run."""
        results: beam.PCollection[tuple[int, UnitResult]] = (
            begin
            | "UnitsNotDone" >> beam.Create(list(self.units), reshuffle=False)
            | "SpreadUnits" >> beam.Reshuffle()
            | "RunUnit" >> beam.ParDo(RunUnit(self.stage, self.store, self.fingerprint))
        )
        return results


def local_runner(workers: int) -> tuple[PipelineRunner, PipelineOptions]:
    """Beam's FnApiRunner, in this process for one worker, else with that many processes of `openjft.pipelines.worker`.

    Beam's own `multi_processing` mode starts its workers by a fixed command, which logs every start and end to the
    terminal and outlives a killed driver; ours is that command in a wrapper.
    """
    if workers == 1:
        return FnApiRunner(), PipelineOptions([])
    # FAISS, onnxruntime and BLAS take every core in every process unless told otherwise: 10 times slower.
    threads = max(1, (os.cpu_count() or 1) // workers)
    python = shlex.quote(sys.executable)
    command = f"OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}} exec {python} -W ignore -m openjft.pipelines.worker"
    environment = SubprocessSDKEnvironment.from_command_string(command)
    return FnApiRunner(default_environment=environment), PipelineOptions([], direct_num_workers=workers)


def run_units(stage: Stage, store: Store, fingerprint: str, units: Sequence[int], config: Runner) -> None:
    """Runs the units of a stage on the configured runner and waits for the end.

    Raises:
        RuntimeError: of the runner; `engine.decode_error` finds an error of ours in it.
    """
    if config.runner == "local":
        runner, options = local_runner(max(1, min(config.workers, len(units))))
    else:
        runner, options = create_runner(config.runner), PipelineOptions(list(config.options))
    pipeline = beam.Pipeline(runner=runner, options=options)
    _ = pipeline | stage.name >> MapUnits(stage, store, fingerprint, units)
    # Beam logs what workers start and end with; errors reach the user as exceptions.
    loggers = [logging.getLogger(name) for name in ("apache_beam", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        pipeline.run().wait_until_finish()
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _carry_error(call: Callable[[], T]) -> T:
    """Our own errors leave a worker as text that `engine.decode_error` turns back, whatever the runner."""
    try:
        return call()
    except mendable() as error:
        raise RuntimeError(encode_error(error)) from error
