"""A study's results as `study.json`, `table.csv` (one line a score) and `table.md` (one line a level, and the fits).

All are functions of the options and the scores: no times, no dates, no paths of this machine's output folder, so that
the same study has the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from .fit import Comparison, Interval, Law, ranged
from .sources import fingerprint
from .summary import Results, plain_level

FORMAT: Final = 1
COLUMNS: Final = (
    "study", "run", "level", "x", "seed", "images", "step", "images_seen", "map_at_k", "unweighted_map_at_k", "k",
    "scored_images", "class_weights_sha256",
)  # fmt: skip
_VERSIONS: Final = ("openjft", "numpy", "scipy", "torch", "torchvision")


def table_csv(results: Results) -> str:
    """One line for each score, every digit."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in results.rows:
        s = row.score
        place = (results.study.kind, row.run, row.level, f"{row.x:g}", row.seed, row.images, row.step, row.images_seen)
        scores = (repr(s.map_at_k), repr(s.unweighted_map_at_k), s.k, s.num_images, s.class_weights_sha256)
        writer.writerow((*place, *scores))
    return sink.getvalue()


def study_json(results: Results) -> dict[str, Any]:
    """Everything, as plain values."""
    study, options = results.study, results.study.options
    return {
        "format": FORMAT,
        "kind": study.kind,
        "title": study.title,
        "data": {"path": options.data, "fingerprint": fingerprint(options.data)},
        "eval": None if options.eval is None else {"path": options.eval, "fingerprint": fingerprint(options.eval)},
        "metric": options.metric,
        "scoring": options.scoring(),
        "notes": list(study.notes),
        "runs": [_run(item, results) for item in results.runs],
        "levels": [plain_level(level) for level in results.levels],
        "fit": None if results.comparison is None else results.comparison.to_json(),
        "no_fit": results.no_fit,
        "versions": {name: _version(name) for name in _VERSIONS},
    }


def _run(item: Any, results: Results) -> dict[str, Any]:
    return {
        "name": item.run.name,
        "folder": f"runs/{item.folder.name}",
        "seed": item.run.seed,
        "images": item.run.images,
        "recipe": item.recipe,
        "train_key": item.train_key,
        "score_key": item.score_key,
        "scores": [
            {
                "level": row.level,
                "x": row.x,
                "step": row.step,
                "images_seen": row.images_seen,
                **{name: getattr(row.score, name) for name in row.score.__dataclass_fields__},
            }
            for row in results.rows
            if row.run == item.run.name
        ],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def dumps(value: Any) -> str:
    """JSON text with one trailing newline."""
    return json.dumps(value, indent=1) + "\n"


HEADER: Final = ("mean", "95 % interval", "difference to the first", "its 95 % interval")


def level_cells(results: Results) -> list[tuple[str, ...]]:
    """Rows for people, under `header`."""
    return [
        (
            level.level,
            f"{level.images:,}",
            str(len(level.values)),
            f"{level.mean.value:.4f}",
            _ends(level.mean),
            "" if level.difference is None else f"{level.difference.value:+.4f}",
            "" if level.difference is None else _ends(level.difference, "+"),
        )
        for level in results.levels
    ]


def header(results: Results) -> tuple[str, ...]:
    """Of the table for people."""
    return (results.study.kind, "training images", "seeds", f"mean {metric_name(results)}", *HEADER[1:])


def metric_name(results: Results) -> str:
    """'mAP@100' or 'unweighted mAP@100'."""
    options = results.study.options
    return f"mAP@{options.k}" if options.metric == "map_at_k" else f"unweighted mAP@{options.k}"


def _ends(interval: Interval, sign: str = "") -> str:
    if interval.low is None or interval.high is None:
        return "-"
    return f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"


def notes(results: Results) -> list[str]:
    """What the numbers depend on."""
    first = results.rows[0].score
    options = results.study.options
    on = "the held-out images" if options.eval is None else options.eval
    weights = sorted({row.score.class_weights_sha256[:12] for row in results.rows})
    intervals = (
        f"intervals: Student's t over {len(options.seeds)} seeds; differences are paired by seed"
        if len(options.seeds) > 1
        else "one seed: no interval"
    )
    scored = (
        f"{metric_name(results)} on {on} ({first.num_images:,} images; class weights {', '.join(weights)}, "
        f"(frequency + {options.class_weight_alpha:g})^{options.class_weight_gamma:g})"
    )
    predictions = [p for law in _laws(results.comparison) for p in law.predictions]
    beyond = (
        ["no score exceeds 1: a law that foretells more ends before"] if any(p.value > 1 for p in predictions) else []
    )
    return [
        scored,
        f"{intervals}; the held-out images are the same for all runs, so that other images could differ by more",
        *results.study.notes,
        *beyond,
    ]


def _laws(comparison: Comparison | None) -> tuple[Law, ...]:
    return () if comparison is None else (comparison.log_linear, comparison.saturating)


def fit_cells(c: Comparison) -> list[tuple[str, ...]]:
    """A row for each law, under `FIT_HEADER`."""
    return [_law_cells(law) for law in (c.log_linear, c.saturating)]


FIT_HEADER: Final = ("law", "parameters [95 %]", "p", "AICc", "at 10 x the data", "at 100 x the data")


def _law_cells(law: Law) -> tuple[str, ...]:
    return (
        f"{law.name}: {law.formula}",
        ", ".join(f"{name} = {ranged(value)}" for name, value in law.parameters.items()),
        "-" if law.p_value is None else f"{law.p_value:.2g}",
        "-" if law.aicc is None else f"{law.aicc:.1f}",
        *(ranged(prediction) for prediction in law.predictions),
    )


def fit_notes(c: Comparison) -> list[str]:
    """What the fit's numbers mean."""
    noise = {
        "given": "as given",
        "seeds": f"of the seeds, pooled, sd {c.sd:.2g} with {c.df} degrees of freedom" if c.sd is not None else "",
        "residuals": "unknown: what the best curve of any exponent leaves over"
        + (f", sd {c.sd:.2g} with {c.df} degree{'' if c.df == 1 else 's'} of freedom" if c.sd is not None else ""),
    }[c.noise]
    return [
        f"noise of a value: {noise}",
        "p: how often chance leaves so much more over than the best curve of any exponent, if the law holds",
        f"best exponent of any: {ranged(c.exponent)} (0 is the log-linear law)",
    ]


def markdown(header_: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table: the first column to the left, the others to the right."""
    lines = [header_, ["---", *["---:"] * (len(header_) - 1)], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def table_md(results: Results) -> str:
    """The table for people, with notes, and the fits."""
    lines = [f"# {results.study.title}", "", *markdown(header(results), level_cells(results)), ""]
    lines += [f"- {note}" for note in notes(results)]
    if results.comparison is not None:
        lines += ["", *fit_md(results.comparison)]
    if results.no_fit is not None:
        lines += ["", f"No curve was fitted. {results.no_fit}"]
    return "\n".join(lines) + "\n"


def fit_md(c: Comparison) -> list[str]:
    """Lines: the verdict, the laws, what the numbers mean."""
    return [c.verdict, "", *markdown(FIT_HEADER, fit_cells(c)), "", *(f"- {note}" for note in fit_notes(c))]
