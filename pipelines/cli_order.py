"""The command `openjft order`: which samples a step of a training sees, told without reading an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from .cli_dataset import PANEL, AsJson

if TYPE_CHECKING:
    from openjft.loaders import Loader

out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(
        epilog="Example: `openjft order out/dataset --batch-size 32 --seed 17 --epoch 3 --step 1200`",
        rich_help_panel=PANEL,
    )(order)


def order(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI of the images, as for train.")],
    *,
    batch_size: Annotated[int, typer.Option(help="Images of a step, over all ranks.")],
    step: Annotated[int, typer.Option(help="Step in the epoch; of the whole training, if no epoch is given.")],
    epoch: Annotated[int | None, typer.Option(help="The epoch that the step is counted in.")] = None,
    steps: Annotated[int, typer.Option(help="How many steps to tell.")] = 1,
    seed: Annotated[int, typer.Option(help="The training's.")] = 17,
    world_size: Annotated[int, typer.Option(help="Ranks that share a batch.")] = 1,
    unit: Annotated[int, typer.Option(help="Images that a rank takes together: the training's bn-images.")] = 1,
    subset: Annotated[float, typer.Option(help="The training's share of the images.")] = 1.0,
    holdout: Annotated[float, typer.Option(help="The training's held-out share.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Print the samples of any step of a training: a function of seed, epoch and step alone."""
    from openjft.loaders import Dataset, Loader

    loaders = [
        Loader(
            Dataset.open(data),
            batch_size=batch_size,
            seed=seed,
            decode=False,
            rank=rank,
            world_size=world_size,
            unit=unit,
            subset=(0.0, subset * (1.0 - holdout)),
        )
        for rank in range(world_size)
    ]
    rows = [row for at in range(step, step + steps) for row in _rows(loaders, epoch, at)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(*(Column(name, overflow="fold") for name in (rows[0] if rows else ())))
    for row in rows:
        table.add_row(*map(str, row.values()))
    out.print(table)


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
    for rank, loader in enumerate(loaders):
        samples = loader.rank_samples(loader.order(place.epoch), place.step)
        shards, at = loader.dataset.locate(samples.numbers)
        for slot, number, shard, row in zip(
            *(part.tolist() for part in (samples.slots, samples.numbers, shards, at)), strict=True
        ):
            key = loader.dataset.index(shard).keys[row].tobytes().hex()
            name = loader.dataset.place(shard).rpartition("/")[2]
            sample = {"slot": slot, "rank": rank, "key": key, "number": number, "shard": name, "row": row}
            rows.append({"epoch": place.epoch, "step": place.step, **sample})
    return rows
