"""The commands `openjft taxonomy ...`: check, measure, look around in, compare, convert and draw a hierarchy's file.

They need the base install only. Every command takes FILE in any format that the readers know, and the same options
for how to read it; `reads_file` adds these to a command's own. Results go to standard output, what was mended or
passed over to standard error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from openjft.taxonomy.readers import READERS
from openjft.taxonomy.writers import WRITERS

from .cli_lexicon import register
from .cli_reading import AsJson, Reading, one_of, reads_file
from .cli_tables import Cell, as_json, print_fields, print_line, print_rows, waiting
from .cli_taxonomy_text import collapsed_json, difference_json, mended_lines, print_difference, print_findings

if TYPE_CHECKING:
    from openjft.taxonomy import Taxonomy, TaxonomyStatistics
    from openjft.taxonomy.cycles import Collapsed

err = Console(stderr=True)
out = Console()

_FORMATS: Final = "\n".join(f"- **{reader.name}**: {reader.what}" for reader in READERS.values())
app = typer.Typer(
    name="taxonomy",
    no_args_is_help=True,
    epilog="Example: `openjft taxonomy check hierarchy.csv`",
    rich_markup_mode="markdown",
    help="Check, measure, look around in, compare, convert and draw a hierarchy of categories.\n\n"
    f"Formats that are recognised, or chosen with `--format`:\n\n{_FORMATS}",
)

CategoryName = Annotated[str, typer.Argument(metavar="ID", help="Id, alias, or a name that one category bears.")]

SHOWN_CHILDREN: Final = 20
SHOWN_PATHS: Final = 5
JSON_PATHS: Final = 100


def _check(
    reading: Reading,
    *,
    limit: Annotated[int, typer.Option(min=0, help="Findings of a kind that are shown; 0 shows all.")] = 10,
    json: AsJson = False,
) -> None:
    """Name everything that is wrong with FILE, each with its line. Ends with 1 if it is no hierarchy."""
    from openjft.taxonomy.build import MENDED_BY_COLLAPSING
    from openjft.taxonomy.checks import find_errors, find_notes
    from openjft.taxonomy.cycles import collapse_cycles

    draft = reading.draft()
    collapsed: list[Collapsed] = []
    with waiting(err, f"checking {reading.file}", quiet=reading.quiet):
        findings = find_errors(draft)
        if reading.collapse_cycles:
            # Of the file as it stands: after collapsing, an edge would bear other ids than its line does.
            findings = [finding for finding in findings if finding.kind not in MENDED_BY_COLLAPSING]
            draft, collapsed = collapse_cycles(draft)
        findings += find_notes(draft)
    errors = sum(finding.severity == "error" for finding in findings)
    if json:
        as_json(
            {
                "file": draft.origin,
                "categories": len(draft.categories),
                "edges": len(draft.edges),
                "errors": errors,
                "notes": len(findings) - errors,
                "collapsed": [collapsed_json(item) for item in collapsed],
                "findings": [dataclasses.asdict(finding) for finding in findings],
            }
        )
    else:
        for line in mended_lines(collapsed):
            print_line(out, line)
        print_findings(draft, findings, limit)
    if errors:
        raise typer.Exit(1)


def _stats(
    reading: Reading,
    *,
    branch: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Measure this branch (id or name); may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show the figures by which the paper describes its own hierarchy, and some more."""
    from openjft.taxonomy import statistics

    taxonomy = reading.taxonomy()
    figures = statistics(taxonomy, branches=branch or ())
    if json:
        as_json(dataclasses.asdict(figures))
        return
    print_fields(out, _figures(taxonomy, figures))
    if figures.branches:
        typer.echo()
        rows = [(b.id, b.name, b.below, b.leaves, b.depth) for b in figures.branches]
        print_rows(out, ("id", "branch", "below it", "leaves", "depth"), rows, title=f"Branches of {reading.file}")


def _figures(taxonomy: Taxonomy, figures: TaxonomyStatistics) -> list[tuple[str, Cell]]:
    def whose(value: int, category_id: str | None) -> Cell:
        return value if category_id is None else f"{value:,}, {_text(taxonomy, taxonomy.index_of(category_id))}"

    return [
        ("categories", figures.categories),
        ("edges", figures.edges),
        ("roots", figures.roots),
        ("leaves", figures.leaves),
        ("orphans", figures.orphans),
        ("depth", figures.depth),
        ("mean depth of a leaf", figures.mean_leaf_depth),
        ("largest fan-out", whose(figures.largest_fan_out, figures.largest_fan_out_of)),
        ("several parents", figures.several_parents),
        ("most parents", whose(figures.most_parents, figures.most_parents_of)),
        ("ancestors, mean", figures.mean_ancestors),
        ("ancestors, most", figures.max_ancestors),
        ("closure pairs", figures.closure_pairs),
        ("shared names", figures.shared_names),
        ("categories by level", " ".join(f"{count:,}" for count in figures.levels)),
    ]


def _show(reading: Reading, category: CategoryName, *, json: AsJson = False) -> None:
    """Show one category: its names, what lies directly above and below it, and the ways up to a root."""
    from openjft.taxonomy import find_category

    taxonomy = reading.taxonomy()
    label = find_category(taxonomy, category)
    if json:
        as_json(_described(taxonomy, label))
    else:
        print_fields(out, _described_fields(taxonomy, label))


def _described(taxonomy: Taxonomy, label: int) -> dict[str, Any]:
    """One category as JSON; the ways up are counted, and the first of them listed."""
    from openjft.taxonomy.find import count_paths_to_roots, paths_to_roots, reach

    paths = paths_to_roots(taxonomy, label, most=JSON_PATHS)
    return {
        "id": taxonomy.ids[label],
        "label": label,
        "name": taxonomy.names[label],
        "synonyms": taxonomy.synonyms[label],
        "definition": taxonomy.definitions[label],
        "aliases": taxonomy.aliases[label],
        "depth": int(taxonomy.depth()[label]),
        "ancestors": len(reach(taxonomy.parents, label)[0]),
        "descendants": len(reach(taxonomy.children, label)[0]),
        "parents": [_named(taxonomy, parent) for parent in taxonomy.parents.of(label).tolist()],
        "children": [_named(taxonomy, child) for child in taxonomy.children.of(label).tolist()],
        "paths": count_paths_to_roots(taxonomy, label),
        "paths_to_roots": [[taxonomy.ids[node] for node in path] for path in paths],
    }


def _described_fields(taxonomy: Taxonomy, label: int) -> list[tuple[str, Cell]]:
    """One category as lines, with the first of its children and ways up."""
    value = _described(taxonomy, label)
    fields: list[tuple[str, Cell]] = [(name, value[name]) for name in ("id", "label", "name")]
    fields += [
        ("synonyms", ", ".join(value["synonyms"])),
        ("definition", value["definition"]),
        ("aliases", ", ".join(value["aliases"])),
    ]
    fields += [(name, value[name]) for name in ("depth", "ancestors", "descendants")]
    parents, children = taxonomy.parents.of(label).tolist(), taxonomy.children.of(label).tolist()
    fields += [(f"parent {i}", _text(taxonomy, parent)) for i, parent in enumerate(parents, 1)]
    fields += [(f"child {i}", _text(taxonomy, child)) for i, child in enumerate(children[:SHOWN_CHILDREN], 1)]
    if len(children) > SHOWN_CHILDREN:
        fields.append(("", f"and {len(children) - SHOWN_CHILDREN:,} more children"))
    for i, path in enumerate(value["paths_to_roots"][:SHOWN_PATHS], 1):
        fields.append((f"way up {i}", " -> ".join(taxonomy.names[taxonomy.index_of(node)] for node in path)))
    if value["paths"] > SHOWN_PATHS:
        fields.append(("", f"and {value['paths'] - SHOWN_PATHS:,} more ways up"))
    return fields


def _named(taxonomy: Taxonomy, label: int) -> dict[str, str]:
    return {"id": taxonomy.ids[label], "name": taxonomy.names[label]}


def _text(taxonomy: Taxonomy, label: int) -> str:
    category_id, name = taxonomy.ids[label], taxonomy.names[label]
    return name if name == category_id else f"{name} ({category_id})"


def _ancestors(reading: Reading, category: CategoryName, *, json: AsJson = False) -> None:
    """List all that lies above a category, the nearest first."""
    _list(reading.taxonomy(), category, "ancestors", None, json=json)


def _descendants(
    reading: Reading,
    category: CategoryName,
    *,
    depth: Annotated[int | None, typer.Option(min=1, help="Edges to go down; all the way without.")] = None,
    json: AsJson = False,
) -> None:
    """List all that lies below a category, the nearest first."""
    _list(reading.taxonomy(), category, "descendants", depth, json=json)


def _list(taxonomy: Taxonomy, category: str, what: str, most: int | None, *, json: bool) -> None:
    from openjft.taxonomy.find import find_category, reach

    label = find_category(taxonomy, category)
    labels, distances = reach(taxonomy.parents if what == "ancestors" else taxonomy.children, label, most=most)
    depth = taxonomy.depth()
    rows = [
        (taxonomy.ids[node], taxonomy.names[node], distance, int(depth[node]))
        for node, distance in zip(labels.tolist(), distances.tolist(), strict=True)
    ]
    columns = ("id", "name", "distance", "depth")
    if json:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_rows(out, columns, rows, title=f"{len(rows):,} {what} of {_text(taxonomy, label)}")


def _diff(
    reading: Reading,
    other: Annotated[str, typer.Argument(metavar="FILE_B", help="What FILE is compared with: the newer one.")],
    *,
    format_b: Annotated[
        str,
        typer.Option(callback=one_of("auto", *READERS), metavar="NAME", help="Format of FILE_B, as --format."),
    ] = "auto",
    limit: Annotated[int, typer.Option(min=0, help="Rows of a kind that are shown; 0 shows all.")] = 20,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 if they differ.")] = False,
    json: AsJson = False,
) -> None:
    """Show what changed from FILE to FILE_B: categories, names, parents. The options count for both files."""
    from openjft.taxonomy.diff import diff

    a, b = reading.taxonomy(), dataclasses.replace(reading, file=other, format=format_b).taxonomy()
    with waiting(err, "comparing", quiet=reading.quiet):
        difference = diff(a, b)
    if json:
        as_json(difference_json(difference))
    else:
        print_difference(a, b, difference, limit)
    if exit_code and not difference.equal:
        raise typer.Exit(1)


def _export(
    reading: Reading,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Local file or folder to write.")],
    to: Annotated[
        str,
        typer.Option(
            callback=one_of("auto", *WRITERS),
            metavar="NAME",
            help=f"auto goes by OUT's ending; {', '.join(WRITERS)}.",
        ),
    ] = "auto",
) -> None:
    """Write FILE, checked and mended as asked, in another format."""
    from openjft.taxonomy.writers import write_taxonomy

    taxonomy = reading.taxonomy()
    write_taxonomy(taxonomy, output, to)
    if not reading.quiet:
        print_line(out, f"{output}: {taxonomy.num_categories:,} categories, {len(taxonomy.parents.values):,} edges")


def _draw(
    reading: Reading,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="HTML file to write.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="DIR", help="A finished data set: its images size the categories.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page; FILE's name without.")] = None,
) -> None:
    """Draw FILE as one HTML page to look around in, sized by images where there is a data set."""
    from openjft.taxonomy.atomic import write_file
    from openjft.taxonomy.draw.page import draw_page

    taxonomy = reading.taxonomy()
    counts = _image_counts(taxonomy, reading, dataset)
    heading = title or Path(reading.file.rstrip("/")).name
    with waiting(err, "drawing", quiet=reading.quiet):
        page = draw_page(taxonomy, title=heading, **counts).encode()
    write_file(output, page)
    if not reading.quiet:
        print_line(out, f"{output}: {taxonomy.num_categories:,} categories, {len(page):,} bytes")


def _image_counts(taxonomy: Taxonomy, reading: Reading, dataset: str | None) -> dict[str, Any]:
    """`asserted` and `expanded` images of each category; {} without a data set."""
    from openjft.taxonomy import TaxonomyError
    from openjft.taxonomy.readers import Source

    if dataset is None:
        file = Source(reading.file)
        if not file.is_folder or "manifest.json" not in file.files():
            return {}
        dataset = reading.file
    import numpy as np
    import pyarrow as pa

    from openjft.loaders import Dataset

    data = Dataset.open(dataset)
    ids = data.category_ids
    labels = taxonomy.lookup_ids(pa.array(ids, pa.string()))
    known = labels.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        raise TaxonomyError(
            f"{dataset}: expected a data set with categories of {reading.file}, such as {taxonomy.ids[0]!r}; found "
            f"none, its own are such as {ids[0]!r}. Draw {dataset} itself: it brings its hierarchy"
        )
    if not known.all() and not reading.quiet:
        images = int(data.asserted_counts[~known].sum())
        text = (
            f"{dataset}: {int((~known).sum()):,} of {len(ids):,} categories are not in {reading.file}; "
            f"{images:,} asserted labels of theirs are not drawn"
        )
        print_line(err, text, style="yellow")
    counts = {}
    for name, values in (("asserted", data.asserted_counts), ("expanded", data.class_counts)):
        counts[name] = np.zeros(taxonomy.num_categories, np.int64)
        np.add.at(counts[name], labels.drop_null().to_numpy(), values[known])
    return counts


def _add(name: str, function: Callable[..., None], example: str, without: Sequence[str] = ()) -> None:
    app.command(name, epilog=f"Example: `openjft taxonomy {name} {example}`")(reads_file(function, without=without))


_add("check", _check, "wordnet.tsv.gz --json", without=("only",))
_add("stats", _stats, "wordnet.tsv.gz --branch animal --branch vehicle")
_add("show", _show, "wordnet.tsv.gz n02084071")
_add("ancestors", _ancestors, "wordnet.tsv.gz dalmatian --json")
_add("descendants", _descendants, "wordnet.tsv.gz n02084071 --depth 1")
_add("diff", _diff, "old.csv new.csv --exit-code")
_add("export", _export, "hierarchy.json -o hierarchy.csv --only ids.txt")
_add("draw", _draw, "wordnet.tsv.gz -o wordnet.html --dataset out/dataset")
register(app)
