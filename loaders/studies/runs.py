"""Makes the runs of a study, one after another; what is finished is not made again.

In: a `Study`. Out: a score for each piece of each run, as `OUTPUT/runs/NAME-HASH/results/step-...-HASH.json`, written
last and by rename. The first hash names all that decides the weights (recipe, dataset, files that options name), the
second all that decides a score. So a killed study goes on where it was, a changed option makes new runs beside the old
ones, and a changed scoring scores the old networks anew.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from openjft.loaders.errors import LoaderError

from . import stored
from .plan import Piece, Run, Study
from .scoring import Score, score
from .sources import category_ids, digest, fingerprint, source_fingerprint, subset_source

State = Literal["finished", "begun", "new"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planned:
    """A run, its folder, its recipe, and the scores that are there; `train_key` and `score_key` are the two hashes."""

    run: Run
    folder: Path
    recipe: dict[str, Any]
    train_key: str
    score_key: str
    scores: dict[int, Score]

    @property
    def missing(self) -> list[Piece]:
        """What is still to be trained or scored."""
        return [piece for piece in self.run.pieces if piece.step not in self.scores]

    @property
    def state(self) -> State:
        """How far it is."""
        if not self.missing:
            return "finished"
        return "begun" if self.folder.exists() else "new"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """Where a study stands: run `number` of `runs`, `done` of `total` of what `phase` counts, steps of all runs."""

    run: str
    number: int
    runs: int
    phase: Literal["train", "score"]
    done: int
    total: int
    steps: int
    all_steps: int
    note: str


class StudyStopped(LoaderError):
    """A signal ended the study; what is finished is kept."""


OnProgress = Callable[[StudyProgress], None]


def plan_runs(study: Study) -> list[Planned]:
    """Every run with what there is of it.

    Raises:
        LoaderError: a result is damaged, or the output folder holds another kind of study.
    """
    options = study.options
    root = options.output / "runs"
    _check_kind(root, study.kind)
    scored_on = "holdout" if options.eval is None else fingerprint(options.eval)
    score_key = digest({**options.scoring(), "images": scored_on, "classes": study.classes})
    sources: dict[str, str] = {}
    planned = []
    for run in study.runs:
        recipe = study.train_options(run, root).recipe()
        changes = json.dumps(dict(run.changes), default=str)  # the same for all seeds: a subset of classes takes time
        source = sources[changes] = sources.get(changes) or source_fingerprint(options, run.changes)
        train_key = digest({"source": source, "recipe": recipe})
        folder = root / f"{run.name}-{train_key[:10]}"
        scores = {
            piece.step: score
            for piece in run.pieces
            if (score := stored.read(folder, piece.step, train_key, score_key)) is not None
        }
        planned.append(
            Planned(run=run, folder=folder, recipe=recipe, train_key=train_key, score_key=score_key, scores=scores)
        )
    return planned


def others(study: Study, planned: list[Planned]) -> list[Path]:
    """Runs in the output folder that belong to other options: kept, and not in the table."""
    root = study.options.output / "runs"
    ours = {item.folder for item in planned}
    return sorted(p for p in root.iterdir() if p.is_dir() and p not in ours) if root.is_dir() else []


def _check_kind(root: Path, kind: str) -> None:
    kinds = {p.name.partition("-")[0] for p in root.iterdir() if p.is_dir()} - {kind} if root.is_dir() else set()
    if kinds:
        raise LoaderError(
            f"{root}: expected runs of a study of {kind}, found those of {', '.join(sorted(kinds))}; "
            "give another output folder"
        )


def run_study(study: Study, on_progress: OnProgress) -> list[Planned]:
    """Trains and scores what is missing.

    Raises:
        StudyStopped: SIGTERM or SIGINT came while a network was trained.
        LoaderError: see `train` and `evaluate`; the run is named.
    """
    planned = plan_runs(study)
    tell = _Teller(planned, on_progress)
    finished = []
    for item in planned:
        scores = dict(item.scores)
        tell.begin(item)
        for piece, found in _pieces(study, item, tell):
            scores[piece.step] = found
        tell.end(item)
        finished.append(dataclasses.replace(item, scores=scores))
    return finished


class _Teller:
    """Adds to a run's progress that of the whole study."""

    def __init__(self, planned: list[Planned], on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._runs, self._all = len(planned), sum(item.run.steps for item in planned)
        self._number = self._before = 0
        self._name = ""

    def begin(self, item: Planned) -> None:
        self._number += 1
        self._name = item.run.name

    def end(self, item: Planned) -> None:
        self._before += item.run.steps

    def __call__(self, phase: Literal["train", "score"], done: int, total: int, *, step: int, note: str = "") -> None:
        self._on_progress(
            StudyProgress(
                run=self._name,
                number=self._number,
                runs=self._runs,
                phase=phase,
                done=done,
                total=total,
                steps=self._before + step,
                all_steps=self._all,
                note=note,
            )
        )


def _pieces(study: Study, item: Planned, tell: _Teller) -> Iterator[tuple[Piece, Score]]:
    """Trains to each piece that is missing, scores it, and writes its result."""
    for piece in item.missing:
        try:
            checkpoint = _kept(item.folder, piece.step) or _train(study, item, piece, tell)
            found = _score(study, item.run, checkpoint, functools.partial(tell, "score", step=piece.step))
        except LoaderError as error:
            if isinstance(error, StudyStopped):
                raise
            raise type(error)(f"run {item.run.name}: {error}") from error
        stored.write(item.folder, piece.step, item.train_key, item.score_key, item.run.name, found)
        yield piece, found


def _train(study: Study, item: Planned, piece: Piece, tell: _Teller) -> Path:
    from openjft.loaders.training import ProgressEvent, train

    def show(event: ProgressEvent) -> None:
        note = f"loss {event.loss:.4f}, {event.images_per_s:,.0f} images/s"
        tell("train", event.step, item.run.steps, step=event.step, note=note)

    summary = train(study.train_options(item.run, item.folder, piece.step), show)
    if not summary.completed:
        raise StudyStopped(
            f"stopped in run {item.run.name}, after step {summary.step:,} of {item.run.steps:,}; what is finished is "
            "kept, the same command goes on from there"
        )
    if summary.step != piece.step:
        raise LoaderError(
            f"expected a checkpoint at step {piece.step:,} to score, found only that of step {summary.step:,} in "
            f"{item.folder}: it was trained for longer before. Give another output folder, or remove that one"
        )
    return summary.checkpoint if len(item.run.pieces) == 1 else _keep(item.folder, summary.checkpoint)


def _score(study: Study, run: Run, checkpoint: Path, show: Callable[[int, int], None]) -> Score:
    if study.classes is None:
        return score(study.options, checkpoint, show)
    from .class_scores import score_classes

    known = category_ids(study.options, run.changes)
    return score_classes(study.options, checkpoint, known, subset_source(study.options, study.classes), show)


def _kept(folder: Path, step: int) -> Path | None:
    """The checkpoint of a step that was kept, if it was."""
    found = sorted((folder / "kept").glob(f"step-{step:012d}*"))
    return found[0] if found else None


def _keep(folder: Path, checkpoint: Path) -> Path:
    """A second name for a checkpoint, which training would remove: hard links cost nothing while both are there."""
    kept = folder / "kept" / checkpoint.name
    temporary = kept.with_name(f".tmp-{kept.name}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(checkpoint, temporary, copy_function=_link)
        else:
            temporary.unlink(missing_ok=True)
            _link(checkpoint, temporary)
        temporary.replace(kept)
    except OSError as error:
        raise LoaderError(f"{kept}: could not be written: {error}; free some space and run the same command") from error
    return kept


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
