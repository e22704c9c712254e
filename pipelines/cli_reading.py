"""How the commands of `openjft taxonomy` read their FILE: the options that all of them share.

In: what stands on the command line. Out: a `Reading`, from which a command takes the draft or the hierarchy. What was
mended or passed over on the way goes to standard error.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from openjft.taxonomy.readers import READERS

from .cli_tables import print_line, waiting
from .cli_taxonomy_text import SHOWN_MENDED, mended_lines

if TYPE_CHECKING:
    from openjft.taxonomy import Draft, Taxonomy
    from openjft.taxonomy.build import Built

err = Console(stderr=True)


def one_of(*names: str) -> Callable[[str], str]:
    """Checks an option's value; a mistyped one ends with 2, as mistyped options do."""

    def check(value: str) -> str:
        if value not in names:
            close = difflib.get_close_matches(value, names, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise typer.BadParameter(f"expected one of {', '.join(names)}, found {value!r}.{hint}")
        return value

    return check


File = Annotated[str, typer.Argument(metavar="FILE", help="File, folder or data set; local, or a URI.")]
Format = Annotated[
    str,
    typer.Option(
        callback=one_of("auto", *READERS),
        metavar="NAME",
        help=f"auto, {', '.join(READERS)}; `openjft taxonomy --help` says what they are.",
    ),
]
Names = Annotated[str | None, typer.Option(metavar="FILE", help="Names of the ids, where they lie in another file.")]
Parts = Annotated[bool, typer.Option("--parts", help="'Is a part of' makes an edge too (Open Images).")]
Reverse = Annotated[bool, typer.Option("--reverse", help="Edges of a JSON or GraphML go from child to parent.")]
Collapse = Annotated[bool, typer.Option("--collapse-cycles", help="Make each cycle one category, and tell.")]
Only = Annotated[str | None, typer.Option(metavar="FILE", help="Cut down to these ids and their ancestors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks; results and errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How a command's file is to be read; the fields are the options that all commands share."""

    file: str
    format: str
    names: str | None
    parts: bool
    reverse: bool
    collapse_cycles: bool
    only: str | None = None
    quiet: bool = False

    def draft(self) -> Draft:
        """The file as it stands."""
        from openjft.taxonomy import ReadOptions, read_draft

        options = ReadOptions(names=self.names, parts=self.parts, reverse=self.reverse)
        with waiting(err, f"reading {self.file}", quiet=self.quiet):
            return read_draft(self.file, self.format, options=options)

    def taxonomy(self) -> Taxonomy:
        """The hierarchy; what was mended goes to standard error."""
        from openjft.taxonomy import ReadOptions
        from openjft.taxonomy.readers import read_mended

        options = ReadOptions(names=self.names, parts=self.parts, reverse=self.reverse)
        with waiting(err, f"reading {self.file}", quiet=self.quiet):
            built = read_mended(self.file, self.format, options=options, collapse=self.collapse_cycles, only=self.only)
        if not self.quiet:
            _tell_mended(built, self.only)
        return built.taxonomy


def _shared(
    file: File,
    *,
    format: Format = "auto",
    names: Names = None,
    parts: Parts = False,
    reverse: Reverse = False,
    collapse_cycles: Collapse = False,
    only: Only = None,
    quiet: Quiet = False,
) -> None:
    """The options that all commands share."""


def reads_file(function: Callable[..., None], *, without: Sequence[str] = ()) -> Callable[..., None]:
    """The command with FILE and the shared options in its signature; it gets them as a `Reading`, first."""
    shared = [p for p in inspect.signature(_shared, eval_str=True).parameters.values() if p.name not in without]
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        function(Reading(**{p.name: values.pop(p.name) for p in shared}), **values)

    positional = [p for p in (*shared, *own) if p.kind is p.POSITIONAL_OR_KEYWORD]
    signature = inspect.Signature([*positional, *(p for p in (*own, *shared) if p not in positional)])
    command.__signature__ = signature  # type: ignore[attr-defined]  # what typer looks at
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _tell_mended(built: Built, only: str | None) -> None:
    for line in mended_lines(built.collapsed):
        print_line(err, line, style="yellow")
    if built.unknown:
        first = ", ".join(built.unknown[:SHOWN_MENDED]) + (", ..." if len(built.unknown) > SHOWN_MENDED else "")
        text = f"{only}: {len(built.unknown):,} of its ids not in the hierarchy, passed over: {first}"
        print_line(err, text, style="yellow")
