"""The commands `openjft study ...`: the studies of Sun et al. 2017, and a fit to a table of one's own.

The flags that all studies share are the fields of `StudyOptions`, with their defaults and help lines; they are listed
here once more because that package imports torch, which takes seconds, and `openjft --help` should not. A test compares
the two.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from .cli_dataset import PANEL, AsJson, Device, Precision, Quiet
from .study_show import bars, plain_plan, print_files, print_fit, print_plan, print_results

if TYPE_CHECKING:
    from openjft.loaders.studies import Planned, Study

_T = TypeVar("_T")
err = Console(stderr=True)

app = typer.Typer(
    name="study",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The paper's studies: what more data, epochs, classes, depth and other initial weights add, with a table and "
    "a plot. Killed, the same command goes on; finished runs are not made again.",
    epilog="Example: `openjft study size out/dataset --output study --seeds 0,1,2 --dry-run`",
)


def register(root: typer.Typer) -> None:
    """Adds the group to the command line."""
    root.add_typer(app, rich_help_panel=PANEL)


def _shared(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Folder or URI of a finished data set (dataset/).")],
    *,
    output: Annotated[Path, typer.Option(help="Folder for the runs, the table and the plot.")],
    eval_: Annotated[str | None, typer.Option("--eval", help="Score on this data set; none: held-out images.")] = None,
    seeds: Annotated[str, typer.Option(help="Each run is made with each: 0,1,2. Two or more give intervals.")] = "17",
    epochs: Annotated[int, typer.Option(help="Passes over the training images (paper: 4).")] = 4,
    arch: Annotated[str, typer.Option(help="resnet18, resnet50, resnet101 or resnet152.")] = "resnet50",
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 32,
    image_size: Annotated[int | None, typer.Option(help="Resize to this side first; none: as stored.")] = None,
    crop_size: Annotated[int, typer.Option(help="Random crop, pixels (paper: 299 of 340).")] = 299,
    lr: Annotated[float, typer.Option(help="Initial learning rate.")] = 1e-3,
    lr_decay: Annotated[float, typer.Option(help="Factor every lr-decay-images.")] = 0.9,
    lr_decay_images: Annotated[int, typer.Option(help="Images between two decays.")] = 96_000_000,
    weight_decay: Annotated[float, typer.Option(help="L2 on filters and head weights.")] = 1e-4,
    precision: Annotated[Precision, typer.Option(help="fp32, or bf16 autocast.")] = "fp32",
    holdout: Annotated[float, typer.Option(help="Last share of the images: never trained on, scored.")] = 0.1,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device where there is one.")] = "auto",
    num_threads: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    checkpoint_every_steps: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 1_000,
    log_every: Annotated[int, typer.Option(help="Steps between two lines of a run's metrics.jsonl.")] = 20,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: any other option of `openjft train`; may repeat.")
    ] = None,
    metric: Annotated[
        Literal["map_at_k", "unweighted_map_at_k"], typer.Option(help="What is compared, fitted and drawn.")
    ] = "map_at_k",
    k: Annotated[int, typer.Option(help="Classes of an image that count in a score.")] = 100,
    class_weight_alpha: Annotated[float, typer.Option(help="Weights are (frequency + alpha)^gamma.")] = 0.0,
    class_weight_gamma: Annotated[float, typer.Option(help="0 weighs all classes alike.")] = 1.0,
    eval_batch_size: Annotated[int, typer.Option(help="Images of a step of scoring.")] = 64,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Estimate the time from a few steps, with the plan.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What all studies share; never called, only read."""


def _study_command(make: Callable[..., Study]) -> Callable[..., None]:
    """A command with the flags of `make` (all but its first argument, the options) and those that all share."""
    own = _parameters(make)[1:]
    first, *shared = _parameters(_shared)

    def command(**values: Any) -> None:
        told = {p.name: values.pop(p.name) for p in own}
        how = {name: values.pop(name) for name in ("dry_run", "probe", "quiet", "as_json")}
        values["seeds"] = _seeds(values["seeds"])
        values["eval"] = values.pop("eval_")
        from openjft.loaders.studies import StudyOptions

        _run(make(StudyOptions(**values), **told), **how)

    command.__name__, command.__doc__, command.__annotations__ = make.__name__, make.__doc__, {}
    command.__signature__ = inspect.Signature([first, *own, *shared])  # type: ignore[attr-defined]
    return command


def _parameters(of: Callable[..., Any]) -> list[inspect.Parameter]:
    """With their annotations evaluated, all but what is returned: that package is not imported here."""
    hints = {name: text for name, text in inspect.get_annotations(of).items() if name != "return"}
    known = {name: eval(text, globals()) for name, text in hints.items()}  # noqa: S307  # this file's own text
    return [p.replace(annotation=known[p.name]) for p in inspect.signature(of).parameters.values()]


@app.command(
    epilog="Example: `openjft study size out/dataset --output study --seeds 0,1,2`",
)
@_study_command
def size(
    options: Any,
    *,
    shares: Annotated[str, typer.Option(help="Of the training images.")] = "1/30,1/10,1/3,1",
    budget: Annotated[
        Literal["updates", "epochs"],
        typer.Option(help="updates: all runs see as many images; epochs: as many passes each, as in the paper."),
    ] = "updates",
) -> Study:
    """Nested subsets of the images, the log-linear law and a saturating one fitted to them."""
    from openjft.loaders.studies import size_study

    return size_study(options, shares=_list(shares, Fraction, "shares"), budget=budget)


@app.command("epochs", epilog="Example: `openjft study epochs out/dataset --output study --epochs 10`")
@_study_command
def epochs_(options: Any) -> Study:
    """One run for each seed, scored after every epoch."""
    from openjft.loaders.studies import epoch_study

    return epoch_study(options)


@app.command(epilog="Example: `openjft study classes out/dataset --output study --classes 941.txt`")
@_study_command
def classes(
    options: Any,
    *,
    classes: Annotated[Path, typer.Option(help="File with the subset's category ids, one a line.")],
    matched: Annotated[
        bool, typer.Option(help="All classes on as many images as the subset has, or else on all images.")
    ] = True,
) -> Study:
    """A subset of the classes against all, scored on the subset's classes alone."""
    from openjft.loaders.studies import class_study

    return class_study(options, classes=classes, matched=matched)


@app.command(epilog="Example: `openjft study depth out/dataset --output study --archs resnet50,resnet101`")
@_study_command
def depth(
    options: Any,
    *,
    archs: Annotated[str, typer.Option(help="Networks to compare.")] = "resnet50,resnet101,resnet152",
) -> Study:
    """Deeper networks, all else alike."""
    from openjft.loaders.studies import depth_study

    return depth_study(options, archs=_list(archs, str, "archs"))


@app.command(epilog="Example: `openjft study init out/dataset --output study --init backbone.safetensors`")
@_study_command
def init(
    options: Any,
    *,
    init: Annotated[Path, typer.Option(help="Initial weights: an export or a checkpoint.")],
) -> Study:
    """Random initial weights against given ones."""
    from openjft.loaders.studies import init_study

    return init_study(options, init=init)


@app.command(epilog="Example: `openjft study fit study/table.csv --output fit`")
def fit(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE.csv", help="One value a line; `table.csv` of a study is one.")
    ],
    *,
    x: Annotated[str, typer.Option(help="Column of the sizes; equal ones are seeds of one size.")] = "images",
    y: Annotated[str, typer.Option(help="Column of the values.")] = "map_at_k",
    sd: Annotated[str | None, typer.Option(help="Column of the values' standard deviations, if known.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for fit.json, fit.md, fit.svg and fit.png.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fit y = a + b log10 N and y = a - b N^-c to a table, compare them, and say what each foretells."""
    from openjft.loaders.studies import fit_table, read_table

    comparison = fit_table(read_table(table, x=x, y=y, sd=sd), output, xlabel=x, ylabel=y)
    if as_json:
        typer.echo(json.dumps(comparison.to_json(), indent=1))
    elif not quiet:
        print_fit(comparison)
        print_files(output, "fit.md", "fit.svg")


def _list(text: str, kind: Callable[[str], _T], name: str) -> list[_T]:
    try:
        return [kind(part.strip()) for part in text.split(",") if part.strip()]
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"expected values with commas between them, found {text!r}", param_hint=name) from None


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(_list(text, int, "seeds"))


def _run(plan: Study, *, dry_run: bool, probe: bool, quiet: bool, as_json: bool) -> None:
    from openjft.loaders.studies import StudyStopped, others, plan_runs, study
    from openjft.loaders.studies.extras import require
    from openjft.loaders.studies.tables import study_json

    require()
    planned = plan_runs(plan)
    left = _probe(plan, planned) if probe else None
    if not quiet and not (dry_run and as_json):
        print_plan(plan, planned, left, others(plan, planned))
    if dry_run:
        if as_json:
            typer.echo(json.dumps(plain_plan(plan, planned, left), indent=1))
        return
    try:
        with bars(quiet=quiet) as show:
            results = study(plan, show)
    except StudyStopped as stopped:
        err.print(str(stopped), highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(study_json(results), indent=1))
    elif not quiet:
        print_results(results)


def _probe(plan: Study, planned: list[Planned]) -> float:
    from openjft.loaders.studies import seconds_left

    return seconds_left(plan, planned)
