"""`openjft audit` (labels for a person to judge, the certificate that follows) and `openjft explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .cli_build import AsJson, ConfigPath, Output, Quiet, load
from .cli_tables import print_fields, print_line, print_rows

err = Console(stderr=True)
out = Console()

app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Judge a sample of labels on a page, and certify a precision with the answers.",
    epilog="Example: `openjft audit sample openjft.toml`, judge on the page that it writes, export, then "
    "`openjft audit certify openjft.toml answers-ann.json`",
)


@app.command(epilog="Example: `openjft audit sample openjft.toml --size 400`")
def sample(
    config: ConfigPath,
    *,
    size: Annotated[int | None, typer.Option(min=1, help="Labels to judge; else audit.size.")] = None,
    gold: Annotated[
        bool, typer.Option("--gold", help="For precision.gold, the fit, and not for the certificate.")
    ] = False,
    output: Output = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw labels to judge and write the page: one file, for a browser, that works without a network.

    The same labels come whoever draws them; a larger size adds to a smaller one. Decide on the size before you look at
    answers: to judge on until a certificate comes out right is what it guards against.
    """
    from .audit.sample import draw_sample
    from .console import BuildProgress, steps

    loaded = load(config, None, output)
    with BuildProgress(err, quiet=quiet) as listener, steps(err, "pictures", 1, quiet=quiet) as (bar, task):

        def show(had: int, wanted: int) -> None:
            bar.update(task, completed=had, total=wanted, note="pictures")

        drawn = draw_sample(loaded, purpose="gold" if gold else "audit", size=size, listener=listener, progress=show)
    account = drawn.account
    if as_json:
        typer.echo(json.dumps({**account, "page": drawn.page}, indent=1))
        return
    if not quiet:
        if account["size"] < account["asked"]:
            print_line(err, f"only {account['size']:,} of {account['asked']:,} labels could be drawn", style="yellow")
        print_fields(
            out,
            [
                ("labels to judge", account["size"]),
                ("drawn from", account["eligible"]),
                ("left out, in the gold", account["in_gold"]),
                *((f"left out, {reason}", number) for reason, number in account["unavailable"].items()),
            ],
        )
    out.print(f"Open {drawn.page} in a browser, judge, export.", highlight=False, soft_wrap=True)


@app.command(epilog="Example: `openjft audit certify openjft.toml answers-ann.json answers-bob.json`")
def certify(
    config: ConfigPath,
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="Exported answers, a file a judge.")],
    *,
    output: Output = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Certify a precision with the answers; prints the certificate, and stores it in the build's folder.

    Ends with status 3 where nothing is certified.
    """
    from .audit.certify import certify_build

    value = certify_build(load(config, None, output), [str(path) for path in answers])
    if as_json:
        typer.echo(json.dumps(value, indent=1))
    elif not quiet:
        _print_certificate(value)
    if value["steps"] is None:
        raise typer.Exit(3)


def _print_certificate(value: dict[str, Any]) -> None:
    from .report.certificate import certificate_words

    for line in certificate_words({**value, "current": True}):
        out.print(line, highlight=False, soft_wrap=True, markup=False)
    if value["groups"]:
        rows = [
            (
                g["name"],
                g["n"],
                g["k"],
                g["interval"]["low"],
                g["interval"]["high"],
                "yes" if g["certified"] else g["why"],
            )
            for g in value["groups"]
        ]
        print_rows(out, ("group", "judged", "right", "from", "to", "certified"), rows, title="Groups")
    if value["agreement"]:
        a = value["agreement"]
        print_fields(out, [("judged by both", a["both"]), ("same answer", a["raw"]), ("Cohen's kappa", a["kappa"])])


@app.command("gold", epilog="Example: `openjft audit gold openjft.toml answers.json --to gold.csv`")
def gold_(
    config: ConfigPath,
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="Exported answers, a file a judge.")],
    *,
    to: Annotated[Path, typer.Option(help="CSV to write, for precision.gold.")],
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Make `precision.gold` of the answers to `audit sample --gold`; 'unsure' is left out, judges are weighed."""
    from .audit.certify import gold_of_answers

    account = gold_of_answers(load(config, None, output), [str(path) for path in answers], str(to))
    if as_json:
        typer.echo(json.dumps(account, indent=1))
    else:
        print_fields(out, list(account.items()))


def explain(
    config: ConfigPath,
    image: Annotated[
        str, typer.Argument(metavar="KEY", help="Hex digits of the image's key (8 or more), or its address.")
    ],
    *,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Show one image's way: signals, states, probabilities, threshold, ancestors, nearest evaluation image, shard."""
    from .cli_explain import print_explained
    from .explain import explain as run
    from .storage import Store

    loaded = load(config, None, output)
    value = run(loaded, Store(loaded.build.output), image)
    if as_json:
        typer.echo(json.dumps(value, indent=1))
    else:
        print_explained(out, value)


def register(main: typer.Typer) -> None:
    """Adds the commands to the command line."""
    main.add_typer(app, rich_help_panel="Labels, and how sure they are")
    main.command(
        epilog="Example: `openjft explain openjft.toml 3f2a90c1`", rich_help_panel="Labels, and how sure they are"
    )(explain)
