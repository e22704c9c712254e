"""The command `openjft`: verbs and one configuration file.

Errors that the user can mend are printed without a traceback (`--debug` shows it) and end with status 1; a
mistyped command ends with 2, an interrupted one with 130. Heavy libraries are imported by the command that
needs them, so `openjft --help` answers at once and a trainer needs no Beam.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import (
    cli_audit,
    cli_dataset,
    cli_decontaminate,
    cli_evalset,
    cli_evaluate,
    cli_export,
    cli_index,
    cli_order,
    cli_study,
    cli_taxonomy,
    cli_train,
    cli_transfer,
    cli_visual,
)
from .cli_build import AsJson, ConfigPath, Output, Quiet, Workers, load, run_build
from .config import load_config
from .errors import PipelineError, mendable

app = typer.Typer(
    name="openjft",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turns noisy (image, label) pairs from the web into WebDataset shards that can be trusted.\n\n"
    "Try `openjft demo` first; then `openjft config > openjft.toml`, edit it, `openjft build openjft.toml`.",
)
_PIPELINE_MODULES = {
    "aiohttp", "apache_beam", "cv2", "faiss", "jinja2", "matplotlib", "numba", "onnxruntime", "scipy", "sklearn",
    "threadpoolctl",
}  # fmt: skip
err = Console(stderr=True)
out = Console()

_DEMO_FOLDER = Path("demo")


class _State:
    debug = False


def _version(value: bool) -> None:
    if value:
        out.print(f"openjft {version('openjft')}", highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and logs.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del show_version
    _State.debug = debug
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    if not debug:
        # Libraries' deprecations are ours to mend, not the user's to read.
        warnings.simplefilter("ignore")
        logging.getLogger("apache_beam").setLevel(logging.ERROR)


@app.command(epilog="Example: `openjft build openjft.toml --workers 2`")
def build(
    config: ConfigPath,
    *,
    workers: Workers = None,
    output: Output = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run what is missing or stale of the whole build, then write the report."""
    run_build(load(config, workers, output), None, quiet=quiet, as_json=as_json)


def _stage_command(name: str, text: str) -> None:
    def command(
        config: ConfigPath,
        *,
        workers: Workers = None,
        output: Output = None,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        run_build(load(config, workers, output), (name,), quiet=quiet, as_json=as_json)

    command.__doc__ = text
    example = f"Example: `openjft {name} openjft.toml`"
    app.command(name, epilog=example, rich_help_panel="One stage of the build")(command)


for _name, _text in {
    "ingest": "Read raw pairs and fuse them into one row of evidence for each (image, label).",
    "precision": "Filter labels to the target precision.",
    "expand": "Add ancestors through the hierarchy.",
    "fetch": "Download, check and resize the images.",
    "embed": "Compute a descriptor of each image.",
    "duplicates": "Group images that show the same picture.",
    "shard": "Write the WebDataset tars, their index and the manifest.",
}.items():
    _stage_command(_name, _text)


@app.command(rich_help_panel="One stage of the build", epilog="Example: `openjft report openjft.toml`")
def report(config: ConfigPath, *, output: Output = None) -> None:
    """Write the report of what has been built so far."""
    from .report import write_report
    from .storage import Store

    loaded = load(config, None, output)
    out.print(f"Report: {write_report(loaded, Store(loaded.build.output))}", highlight=False, soft_wrap=True)


@app.command("config", epilog="Example: `openjft config > openjft.toml`")
def config_(
    path: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Check this one, print it whole.")] = None,
) -> None:
    """Print a configuration with every key, its default and its meaning; or check one."""
    from .config_text import config_template, config_text

    typer.echo(config_template() if path is None else config_text(load_config(path)), nl=False)


@app.command(epilog="Example: `openjft demo --folder /tmp/demo`")
def demo(
    *,
    folder: Annotated[Path, typer.Option(help="For the web and the build; a second run goes on in it.")] = _DEMO_FOLDER,
    images: Annotated[int, typer.Option(min=100, help="Pictures of the drawn web.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 17,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the local runner.")] = 2,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw a small web with known truth, build a data set from it, train on it, and compare with the truth."""
    from .demo import run_demo

    outcome = run_demo(folder, images=images, seed=seed, workers=workers, console=err, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(outcome.to_json(), indent=1))
    elif not quiet:
        for part in outcome.tables():
            out.print(part)
        out.print(f"Report: {outcome.report}", highlight=False, soft_wrap=True)


cli_dataset.register(app)
cli_index.register(app)
cli_order.register(app)
cli_train.register(app)
cli_evaluate.register(app)
cli_export.register(app)
cli_study.register(app)
cli_transfer.register(app)
cli_audit.register(app)
cli_decontaminate.register(app)
cli_visual.register(app)
app.add_typer(cli_evalset.app, rich_help_panel="Evaluation sets")
app.add_typer(cli_taxonomy.app, rich_help_panel="The hierarchy of categories")


def _missing_part(error: ModuleNotFoundError) -> str | None:
    """The line to type when a library of an extra is not installed."""
    top = (error.name or "").partition(".")[0]
    if top in _PIPELINE_MODULES | {"tenacity", "tldextract", "tomlkit"}:
        return f"this command builds data sets and needs {top}, which is not installed: pip install 'openjft[pipeline]'"
    return None


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors in plain words, a fitting exit status."""
    guarded(lambda: app(args=arguments, standalone_mode=True))


def guarded(call: Callable[[], object]) -> None:
    """Runs a command; what the user can mend is printed without a traceback."""
    try:
        call()
    except mendable() as error:
        _fail(str(error), error)
    except ModuleNotFoundError as error:
        line = _missing_part(error)
        if line is None:
            raise
        _fail(line, error)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("interrupted; what was finished stays, the same command goes on from there")
        sys.exit(130)


def _fail(message: str, error: BaseException) -> None:
    if _State.debug:
        raise error
    err.print(f"[bold red]error:[/] {_escaped(message)}", highlight=False, soft_wrap=True)
    sys.exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    # Messages quote what strangers sent: no terminal control sequences.
    return escape("".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text))


__all__ = ["app", "main", "PipelineError"]
