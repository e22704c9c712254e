"""Answers that a person gave: what the labelling page exports, or a table made in a spreadsheet.

In: one file of one person, JSON or CSV, not trusted. Out: `AnswerFile`, each answer by its id. Anything that cannot be
meant is an error that says where: an answer that is left out quietly would move the certificate. Rows of a table
whose answer is empty have not been judged; they are passed over.

The JSON is `{"format": "openjft-answers", "version": 1, "sample": DIGEST, "purpose": "audit" or "gold", "annotator":
NAME, "exported_at": TIME, "answers": [{"id": "KEY/LABEL", "answer": "yes", "no" or "unsure"}, ...]}`. The CSV has the
columns `id,answer` or `image_key,label,answer`, with `annotator` if wanted; others are ignored.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, Literal, cast

from openjft.pipelines.errors import InputError, StorageError
from openjft.pipelines.storage import resolve

Answer = Literal["yes", "no", "unsure"]
Purpose = Literal["audit", "gold"]

FORMAT: Final = "openjft-answers"
VERSION: Final = 1
MAX_BYTES: Final = 64 << 20  # 5,000 answers take 0.4 MB
MAX_NAME_CHARS: Final = 80
# Control characters (C0, C1, the line ends of Unicode) and lone surrogates are in no id that we make.
ANSWER_ID: Final = re.compile(r"[0-9a-f]{32}/[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,512}")
SAMPLE_DIGEST: Final = re.compile(r"[0-9a-f]{12,128}")

_SPELLINGS: Final[Mapping[str, Answer]] = {
    "yes": "yes", "y": "yes", "1": "yes", "no": "no", "n": "no", "0": "no", "unsure": "unsure", "u": "unsure",
}  # fmt: skip
_WHERE_FROM: Final = "Give the JSON that the labelling page exports, or a CSV with the columns id,answer"


@dataclasses.dataclass(frozen=True)
class AnswerFile:
    """One person's answers.

    Attributes:
        annotator: who answered; for a table without that column the file's name, since two tables are of two people.
        sample: digest of the sample that was answered; None for a table.
        purpose: what the sample was drawn for; None for a table.
        answers: by id, in the order of the file.
    """

    annotator: str
    sample: str | None
    purpose: Purpose | None
    answers: Mapping[str, Answer]


def read_answers(path: str) -> AnswerFile:
    """Reads and checks a file of answers.

    Args:
        path: local path or URI; .gz and .zst are read through.

    Raises:
        InputError: it cannot be read, is too large, is neither such a JSON nor such a CSV, an id or answer is
            malformed, one id has two answers, or nothing is answered.
    """
    text = _text(path)
    is_json = text.lstrip()[:1] in {"{", "["}
    found = _from_json(text, path) if is_json else _from_csv(text, path)
    if not found.answers:
        raise InputError(f"{path}: expected at least one answer, found none. Is it the file of a finished sitting?")
    return found


def _text(path: str) -> str:
    try:
        filesystem, inner = resolve(path)
        with filesystem.open_input_stream(inner) as source:
            data: bytes = source.read(MAX_BYTES + 1)
    except (OSError, StorageError) as error:
        raise InputError(f"{path}: expected a file of answers, could not read it: {error}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: expected a file of answers of at most {MAX_BYTES >> 20} MiB, found a larger one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected text in UTF-8, found other bytes at {error.start:,}. In a spreadsheet, save "
            "as 'CSV UTF-8'"
        ) from error


class _Collector:
    """Answers as they are read; the same again is merged, another is an error."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        self._where: dict[str, str] = {}

    def add(self, where: str, id_: str, answer: Answer) -> None:
        if not ANSWER_ID.fullmatch(id_):
            raise InputError(
                f"{self.path}: {where}: expected an id of 32 hex digits in lower case, '/' and the label's id, found "
                f"{id_[:80]!r}. A spreadsheet may have changed it: keep the column as text"
            )
        before = self.answers.setdefault(id_, answer)
        first = self._where.setdefault(id_, where)
        if before != answer:
            raise InputError(
                f"{self.path}: {where}: expected one answer to {id_}, found {answer!r} here and {before!r} in {first}. "
                "Remove the one that is not meant"
            )


# -- JSON ----------------------------------------------------------------------------------------------------


def _from_json(text: str, path: str) -> AnswerFile:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno}, column {error.colno}: expected JSON, found {error.msg}. Is the file whole? "
            "Export it again"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a hundred thousand brackets
        raise InputError(
            f"{path}: expected exported answers, found JSON that is none: {error}. {_WHERE_FROM}"
        ) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f'{path}: expected JSON with "format": "{FORMAT}", found other JSON. {_WHERE_FROM}')
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise InputError(
            f"{path}: expected answers of version {VERSION}, found {_shown(value.get('version'))}. Read it with the "
            "OpenJFT that made the page"
        )
    sample = _string(value, "sample", path)
    if not SAMPLE_DIGEST.fullmatch(sample):
        raise InputError(f"{path}: sample: expected 12 to 128 hex digits, found {sample[:80]!r}. Export it again")
    purpose = _string(value, "purpose", path)
    if purpose not in {"audit", "gold"}:
        raise InputError(f"{path}: purpose: expected 'audit' or 'gold', found {purpose[:80]!r}. Export it again")
    annotator = _name(_string(value, "annotator", path), path, "annotator")
    return AnswerFile(annotator, sample, cast("Purpose", purpose), _entries(value.get("answers"), path))


def _entries(entries: Any, path: str) -> dict[str, Answer]:
    if not isinstance(entries, list):
        raise InputError(f"{path}: answers: expected a list, found {_shown(entries)}. Export it again")
    found = _Collector(path)
    for i, entry in enumerate(entries):
        where = f"answers[{i}]"
        if not isinstance(entry, dict):
            raise InputError(
                f'{path}: {where}: expected {{"id": ..., "answer": ...}}, found {_shown(entry)}. Export it again'
            )
        answer = entry.get("answer")
        if answer not in ("yes", "no", "unsure"):
            raise InputError(
                f"{path}: {where}: expected the answer 'yes', 'no' or 'unsure', found {_shown(answer)}. Correct it or "
                "export again"
            )
        found.add(where, _string(entry, "id", path, where), answer)
    return found.answers


def _string(value: Mapping[str, Any], key: str, path: str, where: str = "") -> str:
    found = value.get(key)
    if not isinstance(found, str):
        at = f"{where}: {key}" if where else key
        raise InputError(f"{path}: {at}: expected text, found {_shown(found)}. Export it again")
    return found


def _shown(value: Any) -> str:
    """A value of unknown size, for a message."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:80]
    return {"dict": "an object", "list": "a list"}[type(value).__name__]


def _name(text: str, path: str, where: str) -> str:
    """The annotator's name as the page spells it: composed, single spaces."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InputError(
            f"{path}: {where}: expected a name of 1 to {MAX_NAME_CHARS} printable characters, found {text[:100]!r}. "
            "Give the annotator's name"
        )
    return name


# -- CSV -----------------------------------------------------------------------------------------------------


def _from_csv(text: str, path: str) -> AnswerFile:
    rows = _rows(text, path)
    _, header = next(rows, (0, []))
    names = [name.strip().lower() for name in header]
    used = [name for name in names if name in {"id", "image_key", "label", "answer", "annotator"}]
    has_id, has_pair = "id" in used, {"image_key", "label"} <= set(used)
    if "answer" not in used or not (has_id or has_pair) or len(set(used)) < len(used):
        raise InputError(
            f"{path}: line 1: expected the header id,answer or image_key,label,answer, each once, found "
            f"{','.join(names)[:120]!r}. {_WHERE_FROM}"
        )
    found, annotators = _Collector(path), dict[str, str]()
    for where, row in rows:
        cells = dict(zip(names, (cell.strip() for cell in row), strict=False))
        if not cells.get("answer"):
            continue
        answer = _SPELLINGS.get(cells["answer"].lower())
        if answer is None:
            raise InputError(
                f"{path}: line {where}: expected yes, no or unsure (or y, n, u, 1, 0) in the column answer, found "
                f"{cells['answer'][:80]!r}. Correct it, or leave it empty where the label was not judged"
            )
        id_ = cells.get("id", "") if has_id else f"{cells.get('image_key', '')}/{cells.get('label', '')}"
        found.add(f"line {where}", id_, answer)
        if "annotator" in used:
            annotators.setdefault(_name(cells.get("annotator", ""), path, f"line {where}"), f"line {where}")
    if len(annotators) > 1:
        (one, _), (other, at) = list(annotators.items())[:2]
        raise InputError(
            f"{path}: {at}: expected the answers of one annotator, {one!r}, found {other!r}. Give each a file of "
            "their own: they are compared"
        )
    return AnswerFile(next(iter(annotators), PurePosixPath(path).stem), None, None, found.answers)


def _rows(text: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it ends, cells) of each row that is not blank; a spreadsheet may part cells by ';' or tab."""
    first = text.lstrip("\n\r")[:1000].partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(
            f"{path}: line {reader.line_num}: expected CSV, found {error}. Save the table again"
        ) from error
