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
from openjft.pipelines.precision.crowd import Answers, fuse_answers
from openjft.pipelines.precision.files import GOLD_FILE, read_histogram
from openjft.pipelines.precision.threshold import STEPS
from openjft.pipelines.schema import KEY, LABEL, URI
from openjft.pipelines.storage import Store, resolve

from .agreement import Judged, agreement, judge
from .answers import AnswerFile, read_answers
from .breakdown import Candidates, class_rows, group_rows
from .certificate import Certificate, certify
from .sample import files_of
from .sampling import Purpose
from .stored import CERTIFICATE_FILE

FORMAT: Final = "openjft-certificate"
JUDGED_FILE: Final = "audit/judged.parquet"
MIN_WEIGHED: Final = 3  # judges; two who differ tell nothing of who is right
SURE: Final = 0.9


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
    context = Candidates(config, store, account, taxonomy, closure)
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
        "groups": group_rows(context, labels, steps, correct, grid, found),
        "classes": class_rows(context, labels, steps, correct, found),
        "agreement": agreement([each.answers for each in answers.files]),
    }
    store.write_json(CERTIFICATE_FILE, value)
    return value


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


def _overall(found: Certificate, account: Mapping[str, Any], context: Candidates) -> dict[str, Any]:
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


def _weighed(answers: AnswersOfAll) -> dict[str, float]:
    """The probability of "yes" for each label that somebody answered, each judge weighed by how he errs."""
    said = [(id_, each.annotator, answer) for each in answers.files for id_, answer in each.answers.items()]
    items, judges, given = ([row[i] for row in said] for i in range(3))
    found, ids, _ = Answers.of(items, judges, given, ["no", "yes", "unsure"])
    return dict(zip(ids, fuse_answers(found, num_classes=2).posterior[:, 1].tolist(), strict=True))


def gold_of_answers(config: Config, files: Sequence[str], to: str) -> dict[str, int]:
    """Writes `precision.gold` from the answers to a sample for it.

    A label is right or wrong where the judges who are sure agree. Where they do not, three judges or more are weighed
    by how they err (`precision.crowd`), and it counts where one answer is then surer than `SURE`; else it is left out.

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
    counts = {"labels": len(ids), "written": 0, "decided_by_weight": 0, "unanswered": 0, "unsure": 0, "disputed": 0}
    weighed = _weighed(answers) if len(answers.files) >= MIN_WEIGHED else {}
    use_names = config.taxonomy.labels == "name"
    taxonomy, _ = load_closure(store)
    for id_, uri, label in zip(ids, sample[URI].to_pylist(), sample[LABEL].to_pylist(), strict=True):
        given = [each.answers[id_] for each in answers.files if id_ in each.answers]
        sure = {answer for answer in given if answer != "unsure"}
        if len(sure) > 1 and id_ in weighed and max(weighed[id_], 1 - weighed[id_]) >= SURE:
            sure = {"yes" if weighed[id_] > 0.5 else "no"}
            counts["decided_by_weight"] += 1
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
