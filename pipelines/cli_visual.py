"""`openjft visual`: scores every candidate label of a build by what its image looks like beside the others."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from .cli_build import AsJson, ConfigPath, Output, Quiet, Workers, account_table, load
from .cli_tables import print_fields

err = Console(stderr=True)
out = Console()


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(epilog="Example: `openjft visual openjft.toml --workers 2`")(visual)


def visual(
    config: ConfigPath,
    *,
    workers: Workers = None,
    output: Output = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score labels by the images' embeddings, as sources of a further build.

    Needs a build that has come to `embed`. Prints the lines to add to the configuration of the build that is to use the
    scores; give that one a build.output of its own, since new inputs make the stages behind them start anew.
    """
    from .console import BuildProgress
    from .visual import score_visually

    loaded = load(config, workers, output)
    with BuildProgress(err, quiet=quiet) as listener:
        run = score_visually(loaded, listener=listener)
    if as_json:
        typer.echo(json.dumps(run.to_json(), indent=1))
        return
    if not quiet:
        out.print(account_table(run.stages))
        print_fields(out, [*run.told(), ("scores", run.path)])
        out.print("\nAdd to the configuration that is to use them:\n")
    out.print(run.toml, highlight=False, soft_wrap=True, markup=False, end="")
