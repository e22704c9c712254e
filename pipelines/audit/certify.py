"""`openjft audit certify`: the answers of one or more judges, and the certificate that follows.

In: a drawn sample, files of answers. Out: `audit/certificate.json`, and `audit/judged.parquet`, every label of the
sample with what was made of its answers. Every answer is used or counted. `openjft audit gold` makes the CSV of
`precision.gold` from the answers to a sample of the other kind.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.pipelines.build import make_plan
from openjft.pipelines.config import Config
from openjft.pipelines.errors import InputError, StaleError
from openjft.pipelines.hierarchy import load_closure
from openjft.pipelines.precision.files import CLASS_SCORES_FILE, GOLD_FILE, read_histogram
from openjft.pipelines.precision.keeping import SIZE_BANDS
from openjft.pipelines.precision.scoring import BY_CLASS, CLASS_BINS
from openjft.pipelines.precision.threshold import STEPS
from openjft.pipelines.schema import KEY, LABEL, URI
from openjft.pipelines.storage import Store, bucket_file, resolve
from openjft.taxonomy import Closure, Taxonomy

from .agreement import Judged, agreement, judge
from .answers import AnswerFile, read_answers
from .certificate import Certificate, Int64s, certify, class_intervals
from .groups import certify_groups, first_thresholds
from .sample import files_of
from .sampling import Purpose
from .stored import CERTIFICATE_FILE

FORMAT: Final = "openjft-certificate"
MIN_BRANCHES: Final = 4  # where the hierarchy is first as wide as that, its branches are the groups
JUDGED_FILE: Final = "audit/judged.parquet"


def certify_build(config: Config, files: Sequence[str]) -> dict[str, Any]:
    """Makes and stores the certificate.

    Args:
        config: of the build.
        files: of answers, one or more for each judge.

    Returns:
        What certificate.json holds.

    Raises:
        StaleError: the sample was drawn from other scores, or not at all.
        InputError: a file is no file of answers, or answers another sample.
    """
    store = Store(config.build.output)
    scores = make_plan(config, store).require(store, "scores", by="audit certify")
    account, sample = _read_sample(store, "audit")
    if account["scores"] != scores:
        raise StaleError(
            "audit certify: expected a sample of the labels as they are scored now, found one drawn before the "
            "evidence or "
            "the settings changed. Run `openjft audit sample CONFIG` again; answers to labels drawn again are kept"
        )
    ids = sample["id"].to_pylist()
    answers = read_all(files, account, set(ids))
    in_gold = _in_gold(store, sample)
    judged = judge(ids, [each.answers for each in answers.files])
    used = ~in_gold
    steps, correct = sample["steps"].to_numpy()[used], judged.correct[used]
    grid = np.array(account["grid"], np.int64)
    found = certify(steps, correct, grid, target=account["target"], delta=account["delta"])
    _write_judged(store, sample, judged, used)
    taxonomy, closure = load_closure(store)
    context = _Context(config, store, account, taxonomy, closure)
    labels = sample[LABEL].to_numpy()[used]
    value = {
        **_overall(found, account, context),
        "format": FORMAT,
        "version": 1,
        "scores": scores,
        "sample": account["sample"],
        "judged": int(used.sum()),
        "annotators": sorted({each.annotator for each in answers.files}),
        "answers": {
            "unanswered_counted_as_wrong": int((~judged.answered & used).sum()),
            "unsure_counted_as_wrong": int((judged.unsure & used).sum()),
            "left_out_because_in_the_gold": int(in_gold.sum()),
            "to_labels_not_in_the_sample": answers.unknown,
        },
        "groups": _groups(context, labels, steps, correct, grid, found),
        "classes": _classes(context, labels, steps, correct, found),
        "agreement": agreement([each.answers for each in answers.files]),
    }
    store.write_json(CERTIFICATE_FILE, value)
    return value


class _Context:
    """What groups and classes are made from."""

    def __init__(
        self, config: Config, store: Store, account: Mapping[str, Any], taxonomy: Taxonomy, closure: Closure
    ) -> None:
        self.config, self.store, self.account = config, store, account
        self.taxonomy, self.closure = taxonomy, closure
        self.candidates = store.read_table(CLASS_SCORES_FILE, ["candidates"])["candidates"].to_numpy()
        n, width = config.build.buckets, CLASS_BINS + 1
        self.counts, self.sums = (np.zeros((len(self.candidates), width), np.int64) for _ in range(2))
        for bucket in range(n):
            table = store.read_table(bucket_file(BY_CLASS, bucket, n))
            at = (table[LABEL].to_numpy(), table["bin"].to_numpy())
            self.counts[at] += table["count"].to_numpy()
            self.sums[at] += table["steps"].to_numpy()

    def above(self, steps: int) -> tuple[Int64s, Int64s]:
        """((c,) candidates of each class at or above a threshold, to half a hundredth, (c,) their millionths)."""
        first = steps * CLASS_BINS // STEPS
        return self.counts[:, first:].sum(axis=1), self.sums[:, first:].sum(axis=1)


class AnswersOfAll:
    """Files of answers to a sample, those of one judge joined; `unknown` answers are to no label of it."""

    def __init__(self, files: Sequence[AnswerFile], unknown: int) -> None:
        self.files, self.unknown = files, unknown


def read_all(files: Sequence[str], account: Mapping[str, Any], ids: set[str]) -> AnswersOfAll:
    """Reads files of answers.

    Raises:
        InputError: a file is not of this purpose, none of its answers is to the sample, or a judge contradicts himself.
    """
    by_judge: dict[str, dict[str, Any]] = {}
    unknown = 0
    for path in files:
        one = read_answers(path)
        if one.purpose is not None and one.purpose != account["purpose"]:
            raise InputError(
                f"{path}: expected answers for the purpose {account['purpose']!r}, found {one.purpose!r}. Labels "
                f"for the "
                "fit (gold) must not certify what was fitted on them"
            )
        known = {id_: answer for id_, answer in one.answers.items() if id_ in ids}
        if one.answers and not known:
            raise InputError(
                f"{path}: expected answers to the sample drawn for this build ({len(ids):,} labels, sample "
                f"{account['sample'][:12]}), found {len(one.answers):,} answers to other labels. Is it of another "
                f"build, or "
                "of a sample that was drawn with another salt?"
            )
        unknown += len(one.answers) - len(known)
        mine = by_judge.setdefault(one.annotator, {})
        twice = sorted(id_ for id_ in known.keys() & mine.keys() if known[id_] != mine[id_])
        if twice:
            raise InputError(
                f"{path}: expected one answer to each label from {one.annotator!r}, found {len(twice):,} that "
                f"differ from an "
                f"earlier file's (the first: {twice[0]}). Give two judges two names, or the last export alone"
            )
        mine |= known
    joined = [AnswerFile(name, None, None, answers) for name, answers in sorted(by_judge.items())]
    return AnswersOfAll(joined, unknown)


def _read_sample(store: Store, purpose: Purpose) -> tuple[dict[str, Any], pa.Table]:
    rows, told, _ = files_of(purpose)
    if not store.exists(told):
        flag = " --gold" if purpose == "gold" else ""
        raise StaleError(
            f"audit: expected a drawn sample in {store.path(told)}, found none. Run `openjft audit sample CONFIG{flag}`"
        )
    account: dict[str, Any] = store.read_json(told)
    return account, store.read_table(rows)


def _in_gold(store: Store, sample: pa.Table) -> npt.NDArray[np.bool_]:
    """(n,) labels of images that the filter was fitted on: gold given after the drawing may hold some."""
    if not store.exists(GOLD_FILE):
        return np.zeros(sample.num_rows, bool)
    gold = set(store.read_table(GOLD_FILE, [KEY])[KEY].to_pylist())
    return np.array([key in gold for key in sample[KEY].to_pylist()], bool)


def _write_judged(store: Store, sample: pa.Table, judged: Judged, used: npt.NDArray[np.bool_]) -> None:
    columns = {"correct": judged.correct, "answered": judged.answered, "unsure": judged.unsure, "used": used}
    table = sample
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    store.write_table(JUDGED_FILE, table)


def _overall(found: Certificate, account: Mapping[str, Any], context: _Context) -> dict[str, Any]:
    low, high = found.interval
    kept = 0 if found.steps is None else read_histogram(context.store).kept(found.steps)[0]
    return {
        "target": account["target"],
        "delta": account["delta"],
        "steps": found.steps,
        "threshold": None if found.steps is None else found.steps / STEPS,
        "reason": found.reason,
        "n": found.n,
        "k": found.k,
        "p_value": found.p_value,
        "interval": {"precision": found.k / found.n if found.n else None, "low": low, "high": high},
        "kept": kept,
        "candidates": int(context.candidates.sum()),
        "eligible": account["eligible"],
        "walk": [{"steps": s.steps, "n": s.n, "k": s.k, "p_value": s.p_value} for s in found.walk],
    }


def branches(closure: Closure, depth: int | None) -> Int64s:
    """(c,) the branch of each class: its ancestor (or itself) at a depth, the least label of several; -1 for none.

    Args:
        closure: of the hierarchy.
        depth: of the branches; None: the least at which there are `MIN_BRANCHES` categories, else the roots.
    """
    if depth is None:
        at = np.bincount(closure.depth)
        wide = np.flatnonzero(at >= MIN_BRANCHES)
        depth = int(wide[0]) if len(wide) else 0
    whole = closure.with_self
    owner = np.repeat(np.arange(whole.num_lists), whole.lengths)
    there = closure.depth[whole.values] == depth
    found = np.full(whole.num_lists, np.iinfo(np.int64).max)
    np.minimum.at(found, owner[there], whole.values[there])
    return np.where(found == np.iinfo(np.int64).max, -1, found)


def size_bands(candidates: Int64s) -> Int64s:
    """(c,) index in SIZE_BANDS of each class."""
    return np.searchsorted([low for low, _ in SIZE_BANDS[1:]], candidates, side="right").astype(np.int64)


def _groups(
    context: _Context,
    labels: npt.NDArray[np.int32],
    steps: Int64s,
    correct: npt.NDArray[np.bool_],
    grid: Int64s,
    found: Certificate,
) -> list[dict[str, Any]]:
    """Branches by size of class, at the certified threshold; none where nothing is certified."""
    if found.steps is None:
        return []
    branch, size = branches(context.closure, context.config.audit.group_depth), size_bands(context.candidates)
    of_class = (branch + 1) * len(SIZE_BANDS) + size
    names, group = np.unique(of_class[np.unique(labels)], return_inverse=False), of_class[labels]
    index = {int(name): i for i, name in enumerate(names.tolist())}
    group = np.array([index[int(g)] for g in group.tolist()], np.int64)
    expected = np.zeros((len(names), len(grid)))
    total = max(int(context.above(int(grid[-1]))[0].sum()), 1)
    for j, threshold in enumerate(grid.tolist()):
        above = context.above(int(threshold))[0]
        expected[:, j] = [above[of_class == name].sum() * len(labels) / total for name in names.tolist()]
    plug_in = int(np.searchsorted(-grid, -context.account["plug_in"]))
    at = int(np.flatnonzero(grid == found.steps)[0])
    end = max(min(plug_in, len(grid) - 1), 0)
    results = certify_groups(
        group,
        steps,
        correct,
        grid,
        first_thresholds(expected, context.config.audit.min_judged / 2),
        end=end,
        target=context.account["target"],
        delta=context.account["delta"],
    )
    rows = []
    for name, result in zip(names.tolist(), results, strict=True):
        branch_of, band = divmod(int(name), len(SIZE_BANDS))
        n, k = int(result.n[at]), int(result.k[at])
        low, high = result.interval(at)
        certified = result.certified(at)
        rows.append(
            {
                "name": _group_name(context.taxonomy, branch_of - 1, band),
                "n": n,
                "k": k,
                "interval": {"precision": k / n if n else None, "low": low, "high": high},
                "certified": certified,
                "why": "" if certified else "not shown" if result.tested else "too few could be judged",
            }
        )
    return sorted(rows, key=lambda row: (-row["n"], row["name"]))


def _group_name(taxonomy: Taxonomy, branch: int, band: int) -> str:
    low, high = SIZE_BANDS[band]
    size = f"{low:,} and more" if high is None else f"under {high:,}" if not low else f"{low:,} to {high - 1:,}"
    return f"{'(no branch)' if branch < 0 else taxonomy.names[branch]}, classes of {size}"


def _classes(
    context: _Context,
    labels: npt.NDArray[np.int32],
    steps: Int64s,
    correct: npt.NDArray[np.bool_],
    found: Certificate,
) -> list[dict[str, Any]]:
    """What is to be believed of every class with kept labels, the least precise first."""
    threshold = found.steps if found.steps is not None else context.account["plug_in"]
    kept, sums = context.above(threshold)
    inside = steps >= threshold
    n = len(kept)
    judged = np.bincount(labels[inside], minlength=n)
    right = np.bincount(labels[inside & correct], minlength=n)
    used = np.flatnonzero(kept)
    model = sums[used] / kept[used] / STEPS
    mean, low, high = class_intervals(model, judged[used], right[used])
    order = np.lexsort((used, mean))
    return [
        {
            LABEL: int(used[i]),
            "id": context.taxonomy.ids[used[i]],
            "name": context.taxonomy.names[used[i]],
            "kept": int(kept[used[i]]),
            "judged": int(judged[used[i]]),
            "correct": int(right[used[i]]),
            "model_mean": float(model[i]),
            "mean": float(mean[i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i in order.tolist()
    ]


def gold_of_answers(config: Config, files: Sequence[str], to: str) -> dict[str, int]:
    """Writes `precision.gold` from the answers to a sample for it.

    A label is right or wrong where the judges who are sure agree; where they do not, or nobody is sure, it is left out.

    Returns:
        The account: labels of the sample, rows written, and why the others were not.

    Raises:
        StaleError: no sample for the gold was drawn.
        InputError: a file is no file of answers, or answers another sample.
    """
    store = Store(config.build.output)
    account, sample = _read_sample(store, "gold")
    ids = sample["id"].to_pylist()
    answers = read_all(files, account, set(ids))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("uri", "label", "correct"))
    counts = {"labels": len(ids), "written": 0, "unanswered": 0, "unsure": 0, "disputed": 0}
    use_names = config.taxonomy.labels == "name"
    taxonomy, _ = load_closure(store)
    for id_, uri, label in zip(ids, sample[URI].to_pylist(), sample[LABEL].to_pylist(), strict=True):
        given = [each.answers[id_] for each in answers.files if id_ in each.answers]
        sure = {answer for answer in given if answer != "unsure"}
        if len(sure) == 1:
            name = taxonomy.names[label] if use_names else taxonomy.ids[label]
            writer.writerow((uri, name, int(sure == {"yes"})))
            counts["written"] += 1
        else:
            counts["unanswered" if not given else "unsure" if not sure else "disputed"] += 1
    filesystem, path = resolve(to)
    with filesystem.open_output_stream(path) as sink:
        sink.write(text.getvalue().encode())
    return counts | {"to_labels_not_in_the_sample": answers.unknown}
