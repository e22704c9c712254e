"""The five studies of Sun et al. 2017 as lists of runs: what differs between them, and how long each is.

In: `StudyOptions` and what is compared. Out: `Study`, with every run's options checked before any of them starts. A run
is one training with one seed; its pieces are the steps at which its network is scored (all but `epochs` have one).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from openjft.loaders.errors import LoaderError

from .options import Budget, StudyOptions

if TYPE_CHECKING:
    from openjft.loaders.training import TrainOptions

Kind = Literal["size", "epochs", "classes", "depth", "init"]
SHARES: Final = (Fraction(1, 30), Fraction(1, 10), Fraction(1, 3), Fraction(1))  # 10M, 30M, 100M of 300M
ARCHS: Final = ("resnet50", "resnet101", "resnet152")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A place at which a run is scored: what it stands for in the comparison, its place on the axis, its step."""

    level: str
    x: float
    step: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training. `images`: that it trains on; `changes`: to the options that all share."""

    name: str
    seed: int
    images: int
    changes: Mapping[str, Any]
    pieces: tuple[Piece, ...]

    @property
    def steps(self) -> int:
        """Its length."""
        return self.pieces[-1].step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All runs, and how they are told: title and axis. `fits`: the levels are sizes that curves are fitted to."""

    kind: Kind
    title: str
    axis: str
    options: StudyOptions
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()
    fits: bool = False
    classes: Path | None = None  # scores are restricted to these

    @property
    def levels(self) -> list[str]:
        """What is compared, in order."""
        return list(dict.fromkeys(piece.level for run in self.runs for piece in run.pieces))

    @property
    def images_seen(self) -> int:
        """Of all runs together."""
        return sum(run.steps for run in self.runs) * self.options.batch_size

    def train_options(self, run: Run, output: Path, step: int | None = None) -> TrainOptions:
        """A run's options, up to a step.

        Raises:
            LoaderError: they are wrong.
        """
        from .sources import train_options

        steps = run.steps if step is None else step
        return train_options(self.options, run.changes, output=output, seed=run.seed, steps=steps)


def size_study(options: StudyOptions, *, shares: Sequence[Fraction] = SHARES, budget: Budget = "updates") -> Study:
    """Nested subsets of the training images (the paper's figure 4: 10M, 30M, 100M and 300M).

    Args:
        options: of all runs.
        shares: of the training images, each in (0, 1].
        budget: updates: each run sees as many images as `epochs` passes over the largest subset; epochs: each makes
            `epochs` passes over its own, as in the paper, so that smaller subsets also get fewer updates.
    """
    shares = sorted(set(shares))
    if not shares or not all(0 < share <= 1 for share in shares):
        raise LoaderError(f"shares: expected at least one, all in (0, 1], found {[str(s) for s in shares]}")
    counts = {share: _training_images(options, subset=float(share)) for share in shares}
    steps = {share: _steps(options, counts[share]) for share in shares}
    longest = steps[shares[-1]]
    runs = [
        Run(
            name=f"size-{str(share).replace('/', 'of')}-seed-{seed}",
            seed=seed,
            images=counts[share],
            changes={"subset": float(share)},
            pieces=(Piece(str(share), counts[share], longest if budget == "updates" else steps[share]),),
        )
        for share in shares
        for seed in options.seeds
    ]
    told = {
        "updates": f"every run makes {longest:,} steps, {options.epochs} passes over the largest subset; the paper "
        "made 4 passes over each subset, so that there a smaller one also meant fewer updates. Where the curve "
        "flattens, look whether more passes (epochs) lift its end: it may lack updates and not images",
        "epochs": f"every run makes {options.epochs} passes over its own subset, as in the paper: a smaller one also "
        "means fewer updates",
    }[budget]
    return _checked(
        Study(
            kind="size",
            title="Size of the training set",
            axis="number of training images",
            options=options,
            runs=tuple(runs),
            notes=(told, "the subsets are nested, by the hash of the near-duplicate group"),
            fits=True,
        )
    )


def epoch_study(options: StudyOptions) -> Study:
    """One run for each seed, scored after every epoch."""
    images = _training_images(options)
    each = _steps(options, images) // options.epochs
    pieces = tuple(Piece(str(n), n, n * each) for n in range(1, options.epochs + 1))
    runs = [
        Run(name=f"epochs-seed-{seed}", seed=seed, images=images, changes={}, pieces=pieces) for seed in options.seeds
    ]
    note = "each epoch's network is the same run's, scored on its way; the learning rate does not depend on its length"
    return _checked(
        Study(
            kind="epochs", title="Length of the training", axis="epochs", options=options, runs=tuple(runs),
            notes=(note,),
        )
    )  # fmt: skip


def depth_study(options: StudyOptions, *, archs: Sequence[str] = ARCHS) -> Study:
    """Deeper networks (the paper's figure 5: ResNet-50, 101 and 152)."""
    levels = [(arch, {"arch": arch}) for arch in dict.fromkeys(archs)]
    return _categories(options, "depth", "Depth of the network", "network", levels)


def init_study(options: StudyOptions, *, init: Path) -> Study:
    """Random initial weights against given ones.

    Args:
        options: of all runs.
        init: an export or a checkpoint that the second run starts from.
    """
    if not init.exists():
        raise LoaderError(f"{init}: expected an export or a checkpoint with initial weights, found nothing")
    levels: list[tuple[str, dict[str, Any]]] = [("random", {}), (init.name, {"init": init})]
    return _categories(options, "init", "Initial weights", "initial weights", levels)


def class_study(options: StudyOptions, *, classes: Path, matched: bool = True) -> Study:
    """A subset of the classes against all (the paper: 941 of 18,291), scored on the subset's classes alone.

    Args:
        options: of all runs.
        classes: file with the subset's category ids, one a line.
        matched: the run with all classes trains on as many images (a nested uniform sample) as have one of the
            subset's classes; else on all. Both make as many updates either way.
    """
    everything = _training_images(options)
    images = _training_images(options, classes=classes)
    share = min(images / everything, 1.0) if matched else 1.0
    steps = _steps(options, images)
    sizes = {"subset": images, "all": _training_images(options, subset=share)}
    changes: dict[str, dict[str, Any]] = {"subset": {"classes": classes}, "all": {"subset": share}}
    runs = [
        Run(
            name=f"classes-{level}-seed-{seed}",
            seed=seed,
            images=sizes[level],
            changes=changes[level],
            pieces=(Piece(level, place, steps),),
        )
        for place, level in enumerate(sizes)
        for seed in options.seeds
    ]
    same = "about as many images as have one of the subset's classes, drawn by their hash" if matched else "all images"
    return _checked(
        Study(
            kind="classes",
            title="Number of classes",
            axis="classes trained on",
            options=options,
            runs=tuple(runs),
            notes=(
                f"all: trained on {same}; every run makes {steps:,} steps",
                "scored on images that have one of the subset's classes, by the scores of these classes alone",
            ),
            classes=classes,
        )
    )


def _categories(
    options: StudyOptions, kind: Kind, title: str, axis: str, levels: Sequence[tuple[str, dict[str, Any]]]
) -> Study:
    """Runs that differ in one option and have nothing to be put on a scale by."""
    if len(levels) < 2:
        raise LoaderError(f"study {kind}: expected at least two {axis}s to compare, found {[n for n, _ in levels]}")
    images = _training_images(options)
    steps = _steps(options, images)
    runs = [
        Run(
            name=f"{kind}-{place}-seed-{seed}" if kind == "init" else f"{kind}-{level}-seed-{seed}",
            seed=seed,
            images=images,
            changes=changes,
            pieces=(Piece(level, place, steps),),
        )
        for place, (level, changes) in enumerate(levels)
        for seed in options.seeds
    ]
    return _checked(Study(kind=kind, title=title, axis=axis, options=options, runs=tuple(runs)))


def _checked(study: Study) -> Study:
    """Every run's options are built once: mistakes come before the first training.

    Raises:
        LoaderError: options are wrong, or a run cannot be trained in pieces.
    """
    root = study.options.output / "runs"
    for run in study.runs:
        recipes = [study.train_options(run, root, piece.step).recipe() for piece in run.pieces]
        if any(recipe != recipes[0] for recipe in recipes):
            raise LoaderError(
                f"study {study.kind}: expected a learning rate that does not depend on the run's length, since the run "
                "is scored on its way, found schedule 'cosine'; say --set schedule=steps or constant"
            )
    return study


def _training_images(options: StudyOptions, **changes: Any) -> int:
    """How many images a training with these changes is made on."""
    from .sources import training_images

    return training_images(options, changes)


def _steps(options: StudyOptions, images: int) -> int:
    """Steps of `epochs` passes over so many images; a loader of less than one batch was refused before."""
    return images // options.batch_size * options.epochs
