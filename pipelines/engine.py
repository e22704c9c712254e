"""Runs a stage: a map over units of work that are not done yet, on any Beam runner.

A unit is a bucket (or, for the first half of `ingest`, a split of the input). In: a `Stage`, whose `run` is a
pure function of its inputs on storage. Out: the unit's files, and last its record `STAGE/_done/00012.json` with
the account of its rows. What has a record of the present fingerprint is not run again; a stage whose
fingerprint changed starts anew. No row and no pixel goes through Beam: the shape is
`Create(units not done) | Reshuffle | ParDo(RunUnit)`, so any runner and any number of workers give the same bytes.
"""

from __future__ import annotations

import abc
import contextlib
import contextvars
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from . import __name__ as package
from .errors import ConfigError, InputError, PipelineError, StaleError, StorageError, TooManyRejects
from .storage import Store

_ERROR = re.compile(r"<<openjft:(\{.*?\})>>", re.DOTALL)
CODE_VERSION = 4  # raise it when a stage's output changes for the same input and settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitResult:
    """The account of one unit: every row that came in went out or was rejected for a counted reason.

    `counters` are further sums (bytes, ancestors added, ...); `rows` is the noun of the account ("labels").
    """

    rows_in: int
    rows_out: int
    rejects: Mapping[str, int] = dataclasses.field(default_factory=dict)
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        lost = self.rows_in - self.rows_out - sum(self.rejects.values())
        assert lost == 0, f"{lost} rows lost: {self}"

    def __add__(self, other: UnitResult) -> UnitResult:
        return UnitResult(
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            rejects=_sum(self.rejects, other.rejects),
            counters=_sum(self.counters, other.counters),
        )


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted({*a, *b})}


class Stage(abc.ABC):
    """One step of the build. Subclasses are frozen dataclasses that pickle: settings in, no open files."""

    name: ClassVar[str]  # folder and command
    noun: ClassVar[str]  # what its rows are: "labels", "images"
    unit_noun: ClassVar[str] = "buckets"
    heavy: ClassVar[bool] = False  # works on pixels or vectors: worth its workers however small the input
    section: ClassVar[str] = ""  # of the configuration, where it is not called like the stage
    reads: ClassVar[tuple[str, ...]] = ()  # folders, of a stage that is not among those of a build

    @abc.abstractmethod
    def num_units(self) -> int:
        """How many units there are."""

    @abc.abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What the output depends on besides the upstream stages, as JSON values: goes into the fingerprint."""

    def outputs(self) -> Sequence[str]:
        """Folders (relative to the store) that this stage fills and that are removed when it is stale."""
        return (self.name,)

    def input_bytes(self) -> int:
        """Bytes that it reads from outside the build's folder."""
        return 0

    def setup(self) -> None:
        """Loads what every unit of a worker needs (models, indexes); called once for each worker."""
        return

    def prepare(self, store: Store) -> None:
        """Runs once in the driver before the units (fits, lists of files); must be repeatable."""
        return

    @abc.abstractmethod
    def run(self, unit: int, store: Store) -> UnitResult:
        """Does one unit: reads and writes whole files of `store`, by `Store.writing`."""

    def finish(self, store: Store, account: UnitResult) -> None:
        """Runs once in the driver after all units (summaries); must be repeatable."""
        return

    def max_reject_share(self) -> float:
        """The share of rejected rows above which the stage fails."""
        return 1.0


def fingerprint(stage: Stage, upstream: Sequence[str]) -> str:
    """Hash of what a stage's output depends on: its settings and the fingerprints of its inputs."""
    value = {
        "stage": stage.name,
        "code": CODE_VERSION,
        "settings": stage.settings(),
        "upstream": list(upstream),
    }
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def done_file(stage: str, unit: int) -> str:
    """Where a unit's record lies."""
    return f"{stage}/_done/{unit:05d}.json"


def _stage_file(stage: str) -> str:
    return f"{stage}/_stage.json"


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a running stage tells: units and rows done, and the sums of its counters."""

    stage: str
    units_done: int
    units: int
    account: UnitResult
    noun: str
    unit_noun: str
    preparing: bool = False  # in the driver, before the units: fits, lists, the index of the evaluation sets
    note: str = ""  # what of it, and how far


Listener = Callable[[Progress], None]
_noted: contextvars.ContextVar[Callable[[str], None] | None] = contextvars.ContextVar("noted", default=None)


def note(text: str) -> None:
    """Says what a stage's `prepare` is at, and how far; nobody may listen."""
    told = _noted.get()
    if told is not None:
        told(text)


@contextlib.contextmanager
def noting(told: Callable[[str], None]) -> Iterator[None]:
    """Listens to `note` while the block runs."""
    token = _noted.set(told)
    try:
        yield
    finally:
        _noted.reset(token)


class Records:
    """The records of a stage's finished units, read once each."""

    def __init__(self, stage: Stage, store: Store, print_: str) -> None:
        self.stage, self.store, self.fingerprint = stage, store, print_
        self.results: dict[int, UnitResult] = {}
        self.milliseconds: dict[int, int] = {}

    def refresh(self) -> None:
        """Reads the records that are new."""
        for path in self.store.list_files(f"{self.stage.name}/_done"):
            unit = int(path.rpartition("/")[2].removesuffix(".json"))
            if unit in self.results:
                continue
            record = self.store.read_json(path)
            if record["fingerprint"] == self.fingerprint:
                self.milliseconds[unit] = record.pop("milliseconds")
                del record["fingerprint"]
                self.results[unit] = UnitResult(**record)

    def missing(self) -> list[int]:
        """Units without a record."""
        return [u for u in range(self.stage.num_units()) if u not in self.results]

    def total(self) -> UnitResult:
        """The stage's account so far."""
        total = UnitResult(rows_in=0, rows_out=0)
        for unit in sorted(self.results):
            total += self.results[unit]
        return total

    def progress(self, *, preparing: bool = False, note: str = "") -> Progress:
        """The state of now."""
        stage = self.stage
        return Progress(
            stage.name, len(self.results), stage.num_units(), self.total(), stage.noun, stage.unit_noun, preparing, note
        )


def run_unit(stage: Stage, unit: int, store: Store, print_: str) -> UnitResult:
    """One unit with its record; what `RunUnit` does on a worker, and what a test calls without Beam."""
    start = time.monotonic()
    result = stage.run(unit, store)
    milliseconds = round((time.monotonic() - start) * 1000)
    store.write_json(
        done_file(stage.name, unit),
        {**dataclasses.asdict(result), "fingerprint": print_, "milliseconds": milliseconds},
    )
    return result


def encode_error(error: BaseException) -> str:
    """A message that survives the way through a runner's own exception, which keeps only text."""
    return f"<<openjft:{json.dumps({'kind': type(error).__name__, 'message': str(error)})}>>"


def decode_error(error: BaseException) -> PipelineError | None:
    """Our own error inside a runner's exception, if there is one."""
    found = _ERROR.search(str(error))
    if found is None:
        return None
    try:
        value = json.loads(found.group(1))
    except json.JSONDecodeError:
        return None
    kinds = {kind.__name__: kind for kind in (ConfigError, InputError, StaleError, StorageError, TooManyRejects)}
    return kinds.get(value["kind"], PipelineError)(value["message"])


def start_stage(stage: Stage, store: Store, print_: str) -> Records:
    """The stage's records, after what a former fingerprint left has been removed."""
    path = _stage_file(stage.name)
    if not store.exists(path) or store.read_json(path)["fingerprint"] != print_:
        for folder in stage.outputs():
            store.delete(folder)
        store.write_json(path, {"fingerprint": print_, "units": stage.num_units(), "writer": package})
    records = Records(stage, store, print_)
    records.refresh()
    return records


def is_current(stage: Stage, store: Store, print_: str) -> bool:
    """Whether all of a stage's units are done under this fingerprint."""
    path = _stage_file(stage.name)
    if not store.exists(path) or store.read_json(path)["fingerprint"] != print_:
        return False
    records = Records(stage, store, print_)
    records.refresh()
    return not records.missing()


def check_rejects(stage: Stage, account: UnitResult) -> None:
    """Fails a stage that lost more than it may.

    Raises:
        TooManyRejects: with the reasons, the most frequent first.
    """
    rejected = sum(account.rejects.values())
    share = rejected / account.rows_in if account.rows_in else 0.0
    if share > stage.max_reject_share():
        reasons = ", ".join(f"{n:,} {r}" for r, n in sorted(account.rejects.items(), key=lambda kv: (-kv[1], kv[0])))
        raise TooManyRejects(
            f"{stage.name}: {rejected:,} of {account.rows_in:,} {stage.noun} rejected ({share:.1%}), more than the "
            f"allowed {stage.max_reject_share():.1%}: {reasons}. Look at rejects/ in the output folder; if this is "
            f"as it should be, raise {stage.section or stage.name}.max_reject_share"
        )
