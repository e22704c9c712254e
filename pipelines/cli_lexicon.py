"""The commands `openjft taxonomy match` and `openjft taxonomy confusions`: words to categories.

In: a hierarchy's file, and texts from a file, standard input or the command line. Out: the categories of each text on
standard output, the counts on standard error. They need the extra `pipeline`.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json as json_module
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from openjft.taxonomy.readers import READERS

from .cli_reading import AsJson, Reading, one_of, reads_file
from .cli_tables import as_json, print_line, print_rows, printable, waiting
from .errors import PipelineError

if TYPE_CHECKING:
    from openjft.taxonomy import Taxonomy
    from openjft.taxonomy.lexicon import Explanation, Lexicon, Matches

err = Console(stderr=True)
out = Console()

_BATCH_TEXTS: Final = 8_192
_MAX_LINE_BYTES: Final = 1 << 20
_TELL_EVERY_S: Final = 2.0


def register(app: typer.Typer) -> None:
    """Adds the commands to `openjft taxonomy`."""
    app.command(
        "match", epilog="Example: `openjft taxonomy match wordnet.tsv.gz --text 'a dog with glasses' --explain`"
    )(reads_file(_match))
    app.command("confusions", epilog="Example: `openjft taxonomy confusions wordnet.tsv.gz --json`")(
        reads_file(_confusions)
    )


def _match(
    reading: Reading,
    texts: Annotated[
        str | None,
        typer.Argument(metavar="[TEXTS]", help="File of texts, one a line, gzipped or not; - reads standard input."),
    ] = None,
    *,
    text: Annotated[list[str] | None, typer.Option(help="A text; may be given often.")] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="TEXTS is a CSV or TSV; its column, or its number from 1.")
    ] = None,
    background: Annotated[
        str | None, typer.Option(metavar="FILE", help="Further categories, whose names and senses compete.")
    ] = None,
    background_format: Annotated[
        str, typer.Option(callback=one_of("auto", *READERS), metavar="NAME", help="As --format, of the background.")
    ] = "auto",
    language: Annotated[str, typer.Option(callback=one_of("en", "none"), help="none: no plurals, no grammar.")] = "en",
    exclude: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A name that shall match nothing.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the texts come from, for the priors.")] = None,
    priors: Annotated[Path | None, typer.Option(metavar="FILE", help="What sources speak of (--learn-priors).")] = None,
    learn_priors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Match nothing; count what --source speaks of, add it to FILE.")
    ] = None,
    min_probability: Annotated[float, typer.Option(min=0.01, max=1.0, help="Of a match.")] = 0.5,
    explain: Annotated[bool, typer.Option("--explain", help="Why each name was taken or dropped.")] = False,
    json: AsJson = False,
) -> None:
    """Find the categories that texts speak of; --json prints one object a line."""
    from openjft.taxonomy.lexicon import Lexicon

    if texts is not None and text:
        raise typer.BadParameter("expected TEXTS or --text, found both")
    if learn_priors is not None and source is None:
        raise typer.BadParameter("--learn-priors expects --source, whose texts these are")
    taxonomy = reading.taxonomy()
    behind = None if background is None else _read_background(background, background_format, quiet=reading.quiet)
    known = None if priors is None else _read_priors(priors)
    with waiting(err, "building the lexicon", quiet=reading.quiet):
        lexicon = Lexicon.build(
            taxonomy,
            background=behind,
            language="none" if language == "none" else "en",
            exclude=exclude or (),
            priors=known,
        )
    found = iter(text) if text else _read_texts(texts or "-", text_column)
    if learn_priors is not None and source is not None:
        _learn(lexicon, found, source, learn_priors, quiet=reading.quiet)
        return
    shown = _Shown(lexicon, taxonomy, source=source, min_probability=min_probability, explain=explain, json=json)
    with _counting(err, "matching", quiet=reading.quiet) as count:
        for batch in _batches(found):
            count(shown.batch(batch))
    if not reading.quiet:
        print_line(err, shown.summary())


class _Shown:
    """Prints the matches of batches and keeps the counts."""

    def __init__(
        self,
        lexicon: Lexicon,
        taxonomy: Taxonomy,
        *,
        source: str | None,
        min_probability: float,
        explain: bool,
        json: bool,
    ) -> None:
        self._lexicon, self._taxonomy, self._explain, self._json = lexicon, taxonomy, explain, json
        self._options: dict[str, Any] = {"source": source, "min_probability": min_probability}
        self._counts: Counter[str] = Counter()
        self._matches = self._capped = 0

    def batch(self, texts: list[str]) -> int:
        """Prints one batch; how many texts it had."""
        found = self._lexicon.match(texts, **self._options)
        self._counts.update(found.counts())
        self._matches += len(found.label)
        self._capped += int(found.capped.sum())
        show = self._objects if self._json else self._lines
        shown = (show(text, outcome, rows, found) for text, outcome, rows in _rows(texts, found))
        typer.echo("\n".join(itertools.chain.from_iterable(shown)))
        return len(texts)

    def _objects(self, text: str, outcome: str, rows: range, found: Matches) -> Iterator[str]:
        matches = [
            {
                "id": self._taxonomy.ids[found.label[i]],
                "name": self._taxonomy.names[found.label[i]],
                "probability": round(float(found.probability[i]), 4),
                "surface": text[found.start[i] : found.end[i]],
                "start": int(found.start[i]),
                "end": int(found.end[i]),
            }
            for i in rows
        ]
        value: dict[str, Any] = {"text": text, "outcome": outcome, "matches": matches}
        if self._explain:
            value["explained"] = [self._explained(item) for item in self._lexicon.explain(text, **self._options)]
        yield json_module.dumps(value)

    def _explained(self, item: Explanation) -> dict[str, Any]:
        return {
            "surface": item.surface,
            "start": item.start,
            "end": item.end,
            "status": item.status.name.lower(),
            "because": item.because,
            "senses": [
                {
                    "id": sense.id,
                    "name": sense.name,
                    "probability": round(sense.probability, 4),
                    "counts_as": None if sense.label < 0 else self._taxonomy.ids[sense.label],
                    "background": sense.background,
                }
                for sense in item.senses
            ],
        }

    def _lines(self, text: str, outcome: str, rows: range, found: Matches) -> Iterator[str]:
        yield printable(text) + ("" if len(rows) else f"\t({outcome.replace('_', ' ')})")
        for i in rows:
            name, category = self._taxonomy.names[found.label[i]], self._taxonomy.ids[found.label[i]]
            surface = text[found.start[i] : found.end[i]]
            yield "\t".join(
                ("", printable(category), printable(name), f"{found.probability[i]:.2f}", printable(surface))
            )
        if self._explain:
            for item in self._lexicon.explain(text, **self._options):
                yield f"\t# {printable(item.surface)}: {self._reason(item)}"

    def _reason(self, item: Explanation) -> str:
        from openjft.taxonomy.lexicon import Status

        because = repr(printable(item.because))
        reason = {
            Status.MATCHED: "taken",
            Status.FUNCTION_WORD: "dropped, a function word or fixed phrase",
            Status.NOT_A_NOUN: "dropped, a verb or adjective here",
            Status.MODIFIER: f"dropped, says what kind of {because} it is",
            Status.POSSESSOR: f"dropped, only owns {because}",
            Status.REPRESENTATION: f"dropped, {because} makes it an imitation or an idea",
            Status.PARTITIVE: "dropped, counts or frames what follows 'of'",
            Status.OTHER_SENSE: "dropped, most likely none of this taxonomy",
            Status.AMBIGUOUS: "dropped, no sense is likely enough",
            Status.UNLIKELY: f"dropped, less likely than asked for because of {because}",
        }[item.status]
        senses = [
            f"{printable(sense.id)} {printable(sense.name)}{' (background)' if sense.background else ''} "
            f"{sense.probability:.2f}"
            for sense in item.senses[:5]
        ]
        more = f", {len(item.senses) - 5} more" if len(item.senses) > 5 else ""
        return f"{reason}; {', '.join(senses)}{more}" if senses else reason

    def summary(self) -> str:
        """The counts in one line."""
        counts = self._counts
        capped = f", {self._capped:,} texts read only in part" if self._capped else ""
        return (
            f"{counts.total():,} texts: {counts['matched']:,} matched ({self._matches:,} matches), "
            f"{counts['no_match']:,} no match, {counts['ambiguous']:,} ambiguous, {counts['empty']:,} empty{capped}"
        )


def _rows(texts: list[str], found: Matches) -> Iterator[tuple[str, str, range]]:
    """(text, outcome, rows of its matches) of each text."""
    import numpy as np

    from openjft.taxonomy.lexicon import OUTCOMES

    places = np.searchsorted(found.text, np.arange(len(texts) + 1)).tolist()
    for text, outcome, (low, high) in zip(texts, found.outcome.tolist(), itertools.pairwise(places), strict=True):
        yield text, OUTCOMES[outcome], range(low, high)


def _read_background(path: str, format: str, *, quiet: bool) -> Taxonomy:
    from openjft.taxonomy import read_taxonomy

    with waiting(err, f"reading {path}", quiet=quiet):
        return read_taxonomy(path, format)


def _read_priors(path: Path) -> Any:
    from openjft.taxonomy import TaxonomyError
    from openjft.taxonomy.lexicon import SensePriors

    try:
        return SensePriors.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: expected sense priors, found {error}. Write them with --learn-priors") from None
    except TaxonomyError as error:
        raise PipelineError(f"{path}: {error}") from None


def _learn(lexicon: Lexicon, texts: Iterator[str], source: str, path: Path, *, quiet: bool) -> None:
    """Counts what the texts speak of and adds it to the priors in a file."""
    from openjft.taxonomy.lexicon import SenseCounts, SensePriors

    counts = _read_priors(path).counts if path.exists() else SenseCounts()
    texts_seen = 0
    with _counting(err, "counting", quiet=quiet) as count:
        for batch in _batches(texts):
            counts += lexicon.count_sources(batch, source)
            count(len(batch))
            texts_seen += len(batch)
    path.write_text(SensePriors.fit(counts).to_json() + "\n", encoding="utf-8")
    if not quiet:
        mentions = sum(counts.counts.get(source, {}).values())
        print_line(err, f"{texts_seen:,} texts; {source} now has {mentions:,} mentions in {path}")


def _read_texts(path: str, column: str | None) -> Iterator[str]:
    """Texts of a file, one a line, or of a column of a CSV or TSV."""
    try:
        with contextlib.ExitStack() as stack:
            if path == "-":
                raw: Any = sys.stdin.buffer
            elif path.endswith(".gz"):
                raw = stack.enter_context(gzip.open(path))
            else:
                raw = stack.enter_context(Path(path).open("rb"))
            lines = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline=None if column is None else "")
            try:
                if column is None:
                    yield from (line.rstrip("\n") for line in _bounded(lines))
                else:
                    yield from _column(path, lines, column)
            finally:
                lines.detach()
    except (OSError, EOFError, csv.Error) as error:
        raise PipelineError(f"{path}: expected a file of texts, found {error}") from None


def _bounded(lines: io.TextIOWrapper) -> Iterator[str]:
    """Lines; of one that is longer than `_MAX_LINE_BYTES` the beginning."""
    whole = True
    while line := lines.readline(_MAX_LINE_BYTES):
        if whole:
            yield line
        whole = line.endswith("\n")


def _column(path: str, lines: io.TextIOWrapper, column: str) -> Iterator[str]:
    csv.field_size_limit(_MAX_LINE_BYTES)
    tabs = ".tsv" in path.lower()
    rows = csv.reader(lines, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL)
    if column.isdecimal():
        place = int(column) - 1
    else:
        header = next(rows, [])
        if column not in header:
            raise PipelineError(
                f"{path}: expected a column {column!r} in the header, found {', '.join(header[:20]) or 'no line'}. "
                "Give its number from 1 where there is no header"
            )
        place = header.index(column)
    if place < 0:
        raise PipelineError(f"expected --text-column counted from 1, found {column}")
    for row in rows:
        yield row[place] if place < len(row) else ""


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(itertools.islice(texts, _BATCH_TEXTS)):
        yield batch


@contextlib.contextmanager
def _counting(console: Console, what: str, *, quiet: bool) -> Iterator[Any]:
    """A function that is told how many texts more are done, and shows it on a terminal."""
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    begun, done, told = time.monotonic(), 0, 0.0
    with console.status(what) as status:

        def count(number: int) -> None:
            nonlocal done, told
            done += number
            now = time.monotonic()
            if now - told >= _TELL_EVERY_S:
                told = now
                status.update(f"{what}: {done:,} texts, {done / max(now - begun, 1e-9):,.0f} a second")

        yield count


def _confusions(
    reading: Reading,
    *,
    limit: Annotated[int, typer.Option(min=0, help="Rows that are shown; 0 shows all.")] = 50,
    json: AsJson = False,
) -> None:
    """List names that stand inside longer names of other things: the tortoise in the tortoise shell."""
    from openjft.taxonomy.confusions import find_confusions

    taxonomy = reading.taxonomy()
    with waiting(err, "comparing names", quiet=reading.quiet):
        table = find_confusions(taxonomy)
    shown = table.slice(0, limit or table.num_rows).to_pylist()
    rows = [
        (taxonomy.ids[row["label"]], row["name"], taxonomy.ids[row["inside_label"]], row["inside_name"])
        for row in shown
    ]
    columns = ("id", "name", "inside_id", "inside_name")
    if json:
        names = len(set(table["name"].to_pylist()))
        pairs = [dict(zip(columns, row, strict=True)) for row in rows]
        as_json({"confusions": table.num_rows, "names": names, "shown": pairs})
        return
    print_rows(out, columns, rows, title=f"{table.num_rows:,} confusions")
    if len(shown) < table.num_rows and not reading.quiet:
        print_line(err, f"{len(shown):,} of {table.num_rows:,} shown; --limit 0 shows all")
