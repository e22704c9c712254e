"""What auditors decided about pairs: the files that the overlap page exports, read and brought together.

In: JSON files, not trusted: `{"format": "openjft-overlap-decisions", "version": 1, "build": DIGEST, "reviewer": NAME,
"decisions": [{"image_key": 32 hex digits, "eval_set": ..., "eval_id": ..., "decision": "copy", "different" or
"unsure"}, ...]}`; further members are ignored. Out: `Decisions`, one decision for each pair.

Equal decisions merge and "unsure" yields to another; "copy" against "different" is an error, since either answer would
change what is published. Whether a pair is still in a build is not asked here: a decision on another pair does nothing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast

import pyarrow as pa
import pyarrow.compute as pc

from .embedder import hash_json
from .errors import DecisionsError
from .schema import DECISIONS, KEY, KEY_TYPE

Choice = Literal["copy", "different", "unsure"]

FORMAT: Final = "openjft-overlap-decisions"
VERSION: Final = 1
MAX_BYTES: Final = 64 << 20  # of one file; 10,000 decisions take 1.5 MB
MAX_ENTRIES: Final = 250_000  # of all files together
MAX_NAME_CHARS: Final = 200
MAX_ID_CHARS: Final = 4096  # an id may be a path
DIGEST: Final = re.compile(r"[0-9a-f]{12,128}")

_KEY_HEX: Final = re.compile(r"[0-9a-f]{32}")
_UNUSABLE: Final = re.compile(r"[\0\ud800-\udfff]")  # what neither a path nor a column of text can hold
_UNSURE: Final = "unsure"
_SHOWN: Final = 80
_EXPORT: Final = "Export the decisions again from the overlap page"


class PairId(NamedTuple):
    """A training image and an evaluation image."""

    image_key: bytes
    eval_set: str
    eval_id: str

    def __str__(self) -> str:
        return f"training image {self.image_key.hex()} and {self.eval_set[:_SHOWN]!r} {self.eval_id[:_SHOWN]!r}"


@dataclasses.dataclass(frozen=True)
class Decision:
    """One person's decision on one pair, and where it stands."""

    pair: PairId
    choice: Choice
    reviewer: str
    where: str


class Decisions(Mapping[tuple[bytes, str, str], Choice]):
    """A decision for each pair that has one, by (image_key, eval_set, eval_id), in rising order of these."""

    def __init__(self, found: Iterable[Decision] = (), *, builds: Iterable[str] = ()) -> None:
        """Brings decisions together.

        Args:
            found: decisions in any order; several on one pair are merged.
            builds: digests of the builds that the decisions were made on.

        Raises:
            DecisionsError: a pair is called a copy in one place and different in another.
        """
        merged: dict[PairId, Decision] = {}
        for each in found:
            before = merged.setdefault(each.pair, each)
            if _UNSURE not in {before.choice, each.choice} and before.choice != each.choice:
                raise DecisionsError(
                    f"{each.where}: expected one decision on {each.pair}, found {each.choice!r} by {each.reviewer!r} "
                    f"here and {before.choice!r} by {before.reviewer!r} in {before.where}. Look at the pair together, "
                    "and remove or correct the decision that is not meant"
                )
            if before.choice == _UNSURE:
                merged[each.pair] = each
        self.records: tuple[Decision, ...] = tuple(merged[pair] for pair in sorted(merged))
        self.builds: tuple[str, ...] = tuple(sorted(set(builds)))
        self._choices: dict[tuple[bytes, str, str], Choice] = {each.pair: each.choice for each in self.records}

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """What `as_table` gave; by whom and where is not known any more."""
        columns = (table[name].to_pylist() for name in (KEY, "eval_set", "eval_id", "decision"))
        return cls(Decision(PairId(k, s, i), choice, "", "") for k, s, i, choice in zip(*columns, strict=True))

    def __getitem__(self, pair: tuple[bytes, str, str]) -> Choice:
        return self._choices[pair]

    def __iter__(self) -> Iterator[tuple[bytes, str, str]]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def digest(self) -> str:
        """Hash of what was decided; by whom and in which files does not count."""
        records = [[each.pair.image_key.hex(), *each.pair[1:], each.choice] for each in self.records]
        return hash_json({"decisions": records})

    def as_table(self) -> pa.Table:
        """Columns image_key, eval_set, eval_id, decision, in rising order of the first three."""
        names = ("eval_set", "eval_id", "decision")
        return pa.table(
            [
                pa.array([each.pair.image_key for each in self.records], KEY_TYPE),
                pa.array([each.pair.eval_set for each in self.records], pa.string()),
                pa.array([each.pair.eval_id for each in self.records], pa.string()),
                pa.array([each.choice for each in self.records], pa.string()),
            ],
            names=[KEY, *names],
        )

    def decide(self, table: pa.Table) -> pa.Array:
        """The decision of each row: (rows,) string, null where there is none.

        Args:
            table: with the columns image_key, eval_set and eval_id, such as OVERLAPS.
        """
        if not self.records or not table.num_rows:
            return pa.nulls(table.num_rows, pa.string())
        known = self.as_table()
        found = pc.index_in(_joined(table), value_set=_joined(known).combine_chunks())
        chosen = known["decision"].combine_chunks().take(found)
        return chosen.combine_chunks() if isinstance(chosen, pa.ChunkedArray) else chosen


def _joined(table: pa.Table) -> pa.ChunkedArray:
    # One value to look up. No decision holds a zero byte and keys are of one length, so none is taken for another.
    parts = [table[name].cast(pa.binary()) for name in (KEY, "eval_set", "eval_id")]
    return pc.binary_join_element_wise(*parts, b"\0")


def read_decisions(paths: Sequence[Path | str]) -> Decisions:
    """Reads and merges files of decisions; none gives no decisions.

    Raises:
        DecisionsError: a file cannot be read, is too large or malformed, or two decisions contradict each other.
    """
    found: list[Decision] = []
    builds: list[str] = []
    for path in paths:
        build, decisions = _read_file(str(path))
        builds.append(build)
        found += decisions
        if len(found) > MAX_ENTRIES:
            raise DecisionsError(
                f"{path}: decisions: expected at most {MAX_ENTRIES:,} in all files together, found more. Give only "
                "files that the overlap page exported"
            )
    return Decisions(found, builds=builds)


# -- One file ------------------------------------------------------------------------------------------------


def _read_file(path: str) -> tuple[str, list[Decision]]:
    value = _json(path)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise DecisionsError(
            f'{path}: expected JSON with "format": "{FORMAT}", found other JSON. Give the file that the overlap page '
            "exports"
        )
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise DecisionsError(
            f"{path}: version: expected {VERSION}, found {_shown(value.get('version'))}. Read it with the OpenJFT that "
            "made the page"
        )
    build = _text(value, "build", path, MAX_NAME_CHARS)
    if not DIGEST.fullmatch(build):
        raise DecisionsError(f"{path}: build: expected 12 to 128 hex digits, found {build[:_SHOWN]!r}. {_EXPORT}")
    reviewer = _text(value, "reviewer", path, MAX_NAME_CHARS)
    entries = value.get("decisions")
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        found = _shown(entries) if not isinstance(entries, list) else f"{len(entries):,}"
        raise DecisionsError(f"{path}: decisions: expected a list of at most {MAX_ENTRIES:,}, found {found}. {_EXPORT}")
    return build, [_entry(entry, f"{path}: decisions[{i}]", reviewer) for i, entry in enumerate(entries)]


def _json(path: str) -> Any:
    try:
        with Path(path).open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise DecisionsError(
            f"{path}: expected a file of decisions on this machine, could not read it: {error}. Name a file that the "
            "overlap page exported"
        ) from error
    if len(data) > MAX_BYTES:
        raise DecisionsError(f"{path}: expected at most {MAX_BYTES >> 20} MiB of decisions, found more. {_EXPORT}")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_members)
    except UnicodeDecodeError as error:
        raise DecisionsError(f"{path}: byte {error.start:,}: expected UTF-8, found other bytes. {_EXPORT}") from error
    except json.JSONDecodeError as error:
        raise DecisionsError(
            f"{path}: line {error.lineno}, column {error.colno}: expected JSON, found {error.msg}. Is the file whole? "
            f"{_EXPORT}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a hundred thousand brackets
        raise DecisionsError(
            f"{path}: expected exported decisions, found JSON that is none: {error}. {_EXPORT}"
        ) from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice[:_SHOWN]!r} stands twice in one object")
    return value


def _entry(entry: Any, where: str, reviewer: str) -> Decision:
    if not isinstance(entry, dict):
        raise DecisionsError(f"{where}: expected an object, found {_shown(entry)}. {_EXPORT}")
    key = _text(entry, KEY, where, MAX_NAME_CHARS)
    if not _KEY_HEX.fullmatch(key):
        raise DecisionsError(f"{where}: {KEY}: expected 32 hex digits in lower case, found {key[:_SHOWN]!r}. {_EXPORT}")
    names = (_text(entry, name, where, MAX_ID_CHARS) for name in ("eval_set", "eval_id"))
    choice = entry.get("decision")
    if choice not in DECISIONS:
        raise DecisionsError(
            f"{where}: decision: expected one of {', '.join(DECISIONS)}, found {_shown(choice)}. Correct it, or "
            f"{_EXPORT[0].lower()}{_EXPORT[1:]}"
        )
    return Decision(PairId(bytes.fromhex(key), *names), cast("Choice", choice), reviewer, where)


def _text(value: Mapping[str, Any], name: str, where: str, limit: int) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= limit or _UNUSABLE.search(found):
        raise DecisionsError(
            f"{where}: {name}: expected a text of 1 to {limit:,} characters, found {_shown(found)}. {_EXPORT}"
        )
    return found


def _shown(value: Any) -> str:
    """A value of unknown size, for a message."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:_SHOWN]
    return {"dict": "an object", "list": "a list"}[type(value).__name__]
