"""`openjft demo`: draws the web, serves it, builds from it, audits it, trains for a moment, compares with the truth.

In: a folder. Out: `DemoOutcome`, everything that the command prints at its end. Under 3 minutes on 2 cores; a second
run in the same folder draws, builds and trains only what is missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, RenderableType
from rich.table import Table

from ..config import Config, load_config
from ..console import BuildProgress, steps
from .server import free_port, serve
from .truth import DemoTruth, compare_with_truth, render
from .web import DemoWeb, draw_web

if TYPE_CHECKING:
    from openjft.loaders.evaluation import EvaluateSummary
    from openjft.loaders.training import TrainSummary

    from ..build import BuildSummary
    from .audit import AuditTruth

PROBE_STEPS: Final = 8  # of 32 images: they tell how fast this machine is
MOST_STEPS: Final = 96
TRAIN_S: Final = 45.0  # about, whatever the machine
CROP_PX: Final = 72  # of the 96 stored
LEARNING_RATE: Final = 2e-3  # twice the recipe's: the training is short
HOLDOUT: Final = 0.15


@dataclasses.dataclass(frozen=True)
class DemoOutcome:
    """What the demo ends with."""

    web: DemoWeb
    summary: BuildSummary
    truth: DemoTruth
    audit: AuditTruth
    training: TrainSummary
    score: EvaluateSummary
    report: str

    def tables(self) -> list[RenderableType]:
        """For a terminal: the truth, the audit, then what the network learned."""
        return [*render(self.truth), self.audit.table(), _training_table(self.training, self.score)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "folder": str(self.web.folder),
            "report": self.report,
            "truth": self.truth.to_json(),
            "audit": self.audit.to_json(),
            "training": self.training.to_json(),
            "score": self.score.to_json(),
        }


def run_demo(
    folder: str | Path, *, images: int, seed: int, workers: int, console: Console, quiet: bool = False
) -> DemoOutcome:
    """The whole demo.

    Args:
        folder: where everything is put; `out/` below it is the build's.
        images: of the drawn web.
        seed: of everything that is drawn.
        workers: processes of the build.
        console: for progress.
        quiet: no progress.

    Raises:
        PipelineError: the folder cannot be used, or a stage failed.
    """
    from ..build import build  # every stage: seconds to import, and the server's process needs none
    from ..report import write_report

    folder = Path(folder)
    web = _draw(folder, images=images, seed=seed, console=console, quiet=quiet)
    config = load_config(web.config_path)
    config = config.model_copy(update={"runner": config.runner.model_copy(update={"workers": workers})})
    with serve(folder, web.port):
        with BuildProgress(console, quiet=quiet) as listener:
            summary = build(config, listener=listener, report=False)
        audit = _audit(web, config, console=console, quiet=quiet)
    report = write_report(config, summary.store)
    training, score = _train(config, folder / "run", console=console, quiet=quiet)
    return DemoOutcome(web, summary, compare_with_truth(web, summary.store), audit, training, score, report)


def _draw(folder: Path, *, images: int, seed: int, console: Console, quiet: bool) -> DemoWeb:
    with steps(console, "draw", images, quiet=quiet) as (bar, task):

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note="pictures")

        return draw_web(folder, seed=seed, images=images, port=free_port(), on_progress=show)


def _audit(web: DemoWeb, config: Config, *, console: Console, quiet: bool) -> AuditTruth:
    from .audit import JUDGED, audit_by_truth

    with steps(console, "audit", JUDGED, quiet=quiet) as (bar, task):
        return audit_by_truth(web, config, lambda had, _: bar.update(task, completed=had, note="pictures"))


def _train(config: Config, output: Path, *, console: Console, quiet: bool) -> tuple[TrainSummary, EvaluateSummary]:
    """A small network for a moment, and its score on images that it has not seen."""
    # Torch takes two seconds to import, and nothing before needs it.
    from openjft.loaders.evaluation import EvaluateOptions, EvaluateProgress, evaluate
    from openjft.loaders.training import ProgressEvent, TrainOptions, train

    data = f"{config.build.output}/dataset"
    options = TrainOptions(
        data=data,
        output=_training_folder(output, Path(data)),
        arch="resnet18",
        steps=PROBE_STEPS,
        crop_size=CROP_PX,
        lr=LEARNING_RATE,
        holdout=HOLDOUT,
        seed=config.build.seed,
        log_every=4,
    )
    with steps(console, "train", MOST_STEPS, quiet=quiet) as (bar, task):

        def show(event: ProgressEvent) -> None:
            note = f"loss {event.loss:.2f} {event.images_per_s:,.0f} images/s"
            bar.update(task, completed=event.step, total=max(event.steps, length), note=note)

        length = MOST_STEPS
        trained = train(options, show)
        length = _length(trained, options.batch_size)
        if trained.completed and length > trained.step:
            trained = train(dataclasses.replace(options, steps=length), show)
    with steps(console, "evaluate", 1, quiet=quiet) as (bar, task):

        def tell(event: EvaluateProgress) -> None:
            bar.update(task, completed=event.images, total=event.num_images, note="images")

        score = evaluate(EvaluateOptions(data=data, checkpoint=options.output), tell)
    return trained, score


def _length(probe: TrainSummary, batch_size: int) -> int:
    """Steps that take about `TRAIN_S`; a training of an earlier demo in the folder is not gone on with."""
    if probe.step > PROBE_STEPS or probe.images_per_s is None:
        return probe.step
    return min(MOST_STEPS, max(3 * PROBE_STEPS, round(TRAIN_S * probe.images_per_s / batch_size)))


def _training_folder(output: Path, data: Path) -> Path:
    """A folder for each data set, since a checkpoint of another one is not gone on with."""
    manifest = hashlib.sha256((data / "manifest.json").read_bytes()).hexdigest()
    return output / manifest[:12]


def _training_table(training: TrainSummary, score: EvaluateSummary) -> Table:
    table = Table(title="A ResNet-18 after a moment", title_justify="left", header_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows: Mapping[str, str] = {
        "images seen": f"{training.images:,}",
        "loss": f"{training.loss:.2f}" if training.loss is not None else "-",
        "held-out images": f"{score.num_images:,}",
        "mAP@100, classes weighed by frequency": _share(score.map_at_k),
        "mAP@100, all classes alike": _share(score.unweighted_map_at_k),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
