"""The command `openjft order`: which samples a step of a training sees, told without reading an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from .cli_dataset import PANEL, AsJson, ClassesBelow, LabelCache, Quiet, TableTaxonomy, Unlabelled
from .console import steps as progress

if TYPE_CHECKING:
    from openjft.loaders import Loader, LoaderState, Source

err = Console(stderr=True)
out = Console()

SEED: Final = 17
_MAX_CONTENT_BYTES: Final = 64 << 20


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft order out/dataset --run run --step 1200`, or without a run "
        "`openjft order out/dataset --batch-size 32 --seed 17 --epoch 3 --step 1200`",
        rich_help_panel=PANEL,
    )(order)


def order(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI of the images, as for train.")],
    *,
    step: Annotated[int, typer.Option(help="Step in the epoch; of the whole training, if no epoch is given.")],
    epoch: Annotated[int | None, typer.Option(help="The epoch that the step is counted in.")] = None,
    steps: Annotated[int, typer.Option(help="How many steps to tell.")] = 1,
    run: Annotated[
        Path | None, typer.Option(help="A training's output folder: its checkpoint says batch size, seed and images.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images of a step, over all ranks.")] = None,
    seed: Annotated[int | None, typer.Option(help=f"The training's; {SEED} if none is given.")] = None,
    subset: Annotated[float | None, typer.Option(help="The training's share of the images; 1 if none.")] = None,
    holdout: Annotated[float | None, typer.Option(help="The training's held-out share; 0 if none.")] = None,
    unit: Annotated[
        int | None, typer.Option(help="Images that a rank takes together: the training's bn-images; 1 if none.")
    ] = None,
    keep_last: Annotated[
        bool, typer.Option("--keep-last", help="Count a last batch that is not full; a training drops it.")
    ] = False,
    labels: Annotated[str | None, typer.Option(help="The training's other labels, if it had any.")] = None,
    taxonomy: TableTaxonomy = None,
    unlabelled: Unlabelled = "drop",
    classes: Annotated[Path | None, typer.Option(help="The training's list of classes, if it had one.")] = None,
    classes_below: ClassesBelow = False,
    label_cache: LabelCache = None,
    world_size: Annotated[int, typer.Option(help="Ranks that share a batch.")] = 1,
    rank: Annotated[int | None, typer.Option(help="Only this rank's samples.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Print the samples of any step of a training: a function of seed, epoch and step alone."""
    from openjft.loaders import LoaderError

    given = {"batch-size": batch_size, "seed": seed, "subset": subset, "holdout": holdout, "unit": unit}
    told = [f"--{name}" for name, value in given.items() if value is not None] + ["--keep-last"] * keep_last
    if (run is None) == (batch_size is None) or (run is not None and told):
        found = ", ".join(told + ["--run"] * (run is not None)) or "neither"
        raise LoaderError(f"order: expected --run, or --batch-size and the training's other options, found {found}")
    if steps < 1 or not (rank is None or 0 <= rank < world_size):
        raise LoaderError(
            f"order: expected 1 or more steps and a rank in [0, world_size {world_size}), found {steps} steps and rank "
            f"{rank}"
        )
    joined = {"labels": labels, "taxonomy": taxonomy, "unlabelled": unlabelled, "classes": classes,
              "classes_below": classes_below, "label_cache": label_cache}  # fmt: skip
    source = _source(data, joined, quiet=quiet or as_json)
    if run is not None:
        state, group = _read_run(run)
    else:
        state = _given_state(source, batch_size, seed, subset, holdout, drop_last=not keep_last)
        group = 1 if unit is None else unit
    ranks = range(world_size) if rank is None else [rank]
    loaders = [_loader(source, state, unit=group, rank=r, world_size=world_size) for r in ranks]
    rows: list[dict[str, Any]] = []
    with progress(err, "order", steps, quiet=quiet or as_json) as (bar, task):
        for at in range(step, step + steps):
            rows += _rows(loaders, epoch, at)
            bar.update(task, advance=1)
    _print(rows, as_json=as_json)


def _source(data: str, joined: dict[str, Any], *, quiet: bool) -> Source:
    """The images, with the labels and classes that a training had, since these decide which images there are."""
    from openjft.loaders.open import open_source

    with progress(err, "index", 1, quiet=quiet) as (bar, task):  # plain tars that are seen for the first time
        source = open_source(data, on_progress=lambda done, total: bar.update(task, completed=done, total=total))
        if joined["labels"] is None and joined["classes"] is None:
            return source
        # These import torch, which takes seconds.
        from openjft.loaders.training.data import LabelProgress, joined_source
        from openjft.loaders.training.label_options import JoinOptions

        def show(event: LabelProgress) -> None:
            bar.update(task, description=event.what, completed=event.done, total=event.total)

        return joined_source(source, JoinOptions(**joined), show)


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(*(Column(name, overflow="fold") for name in (rows[0] if rows else ())))
    for row in rows:
        table.add_row(*map(str, row.values()))
    out.print(table)


def _given_state(
    source: Source,
    batch_size: int | None,
    seed: int | None,
    subset: float | None,
    holdout: float | None,
    *,
    drop_last: bool,
) -> LoaderState:
    """The stream of a training with these options."""
    from openjft.loaders import Loader

    assert batch_size is not None
    return Loader(
        source,
        batch_size=batch_size,
        seed=SEED if seed is None else seed,
        subset=(0.0, (1.0 if subset is None else subset) * (1.0 - (holdout or 0.0))),  # as a training divides them
        drop_last=drop_last,
        decode=False,
    ).state(0, 0)


def _read_run(run: Path) -> tuple[LoaderState, int]:
    """The state of a run's last checkpoint, and the images that a rank takes together; no tensor is read."""
    from openjft.loaders import CheckpointError, LoaderState
    from openjft.loaders.training.checkpoint.layout import CONTENT
    from openjft.loaders.training.checkpoint.reader import find_checkpoint

    path = find_checkpoint(run) / CONTENT
    try:
        with path.open(encoding="utf-8") as file:
            content = json.loads(file.read(_MAX_CONTENT_BYTES))
        return LoaderState.from_json(content["loader"]), int(content["recipe"]["bn_images"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint of `openjft train`, found another file: {error}"
        ) from error


def _loader(source: Source, state: LoaderState, *, unit: int, rank: int, world_size: int) -> Loader:
    """A loader of the stream that a state is of.

    Raises:
        LoaderError: the source is not the state's, or the ranks do not fit the batch.
    """
    from openjft.loaders import Loader

    loader = Loader(
        source,
        batch_size=state.batch_size,
        seed=state.seed,
        subset=(state.low, state.high),
        shuffle=state.shuffle,
        drop_last=state.drop_last,
        decode=False,
        unit=unit,
        rank=rank,
        world_size=world_size,
    )
    loader.check_state(state)
    return loader


def _rows(loaders: list[Loader], epoch: int | None, step: int) -> list[dict[str, Any]]:
    """A row for each sample of a step, in the order of the global batch."""
    from openjft.loaders import LoaderError, step_of

    per_epoch = loaders[0].steps_per_epoch
    if per_epoch < 1 or step < 0 or (epoch is not None and (epoch < 0 or step >= per_epoch)):
        raise LoaderError(
            f"epoch {epoch}, step {step}: expected an epoch of 0 or more and a step in [0, {per_epoch}), the steps of "
            f"an epoch of {loaders[0].num_samples:,} images; leave --epoch out to count steps over all epochs"
        )
    place = step_of(step, per_epoch) if epoch is None else step_of(epoch * per_epoch + step, per_epoch)
    rows = []
    for loader in loaders:
        samples = loader.rank_samples(loader.order(place.epoch), place.step)
        shards, at = loader.dataset.locate(samples.numbers)
        for slot, number, shard, row in zip(
            *(part.tolist() for part in (samples.slots, samples.numbers, shards, at)), strict=True
        ):
            key = loader.dataset.index(shard).keys[row].tobytes().hex()
            name = loader.dataset.place(shard).rpartition("/")[2]
            sample = {"slot": slot, "rank": loader.rank, "key": key, "number": number, "shard": name, "row": row}
            rows.append({"epoch": place.epoch, "step": place.step, **sample})
    return rows
