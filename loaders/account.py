"""What became of each sample: counted by reason, written down one by one, and no more of them than is allowed.

The ledger is a file of JSON lines, one for each sample that was left out, and each rank has its own. A run that goes on
from an earlier step cuts off what was written from that step on, and half a line of a killed run, so that no sample is
told twice.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from .errors import LoaderError, SkippedTooManyError

MAX_DETAIL_CHARS: Final = 300


@dataclasses.dataclass
class EpochAccount:
    """What became of a rank's samples: planned = seen + skipped by reason + not yet reached.

    `dropped` counts the samples of the last, partial global batch that `drop_last` leaves out, over all ranks.
    """

    planned: int
    dropped: int
    seen: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def num_skipped(self) -> int:
        """Samples left out, for whatever reason."""
        return sum(self.skipped.values())

    @property
    def remaining(self) -> int:
        """Samples not yet reached."""
        return self.planned - self.seen - self.num_skipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkippedSample:
    """A sample that could not be used.

    Its number in the step (`slot`), key in hex, file, byte offset, the reason in a word, and what was found.
    """

    epoch: int
    step: int
    slot: int
    key: str
    place: str
    offset: int
    reason: str
    detail: str


class Ledger:
    """The file of a rank's skipped samples.

    Args:
        folder: that the ledgers of all ranks lie in; it is made when the first sample is skipped.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.path = folder / ledger_name(rank)

    def write(self, samples: list[SkippedSample]) -> None:
        """Appends a line for each.

        Raises:
            LoaderError: it cannot be written: a sample must not vanish unsaid.
        """
        lines = [json.dumps({**dataclasses.asdict(s), "detail": s.detail[:MAX_DETAIL_CHARS]}) + "\n" for s in samples]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as sink:
                sink.write("".join(lines))
        except OSError as error:
            raise LoaderError(
                f"{self.path}: the ledger of skipped samples could not be written: {error}; free some space, or give "
                "another folder"
            ) from error


def ledger_name(rank: int) -> str:
    """File name of a rank's ledger."""
    return f"skipped-rank{rank:05d}.jsonl"


def cut_ledgers(folder: Path, *, epoch: int, step: int) -> None:
    """Takes what was written from a step on, and half lines, out of all ranks' ledgers: a run goes on from there.

    Raises:
        LoaderError: a ledger cannot be read or written.
    """
    for path in sorted(folder.glob("skipped-rank*.jsonl")):
        try:
            kept = [line for line in _lines(path) if (line[0], line[1]) < (epoch, step)]
            temporary = path.with_name(f".tmp-{path.name}")
            temporary.write_text("".join(text for *_, text in kept), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise LoaderError(f"{path}: the ledger could not be cut back to step {step}: {error}") from error


def _lines(path: Path) -> list[tuple[int, int, str]]:
    """(epoch, step, text) of the whole lines."""
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            value: Any = json.loads(text)
            if text.endswith("\n"):
                found.append((int(value["epoch"]), int(value["step"]), text))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def check_skipped(account: EpochAccount, limit: float, *, ledger: Ledger | None) -> None:
    """Ends the reading when too many samples were left out.

    Args:
        account: so far.
        limit: below 1 a share of the planned samples (and one at least), else a count; 0 for none.
        ledger: where they are written down.

    Raises:
        SkippedTooManyError: there are more.
    """
    # A share allows one sample at least: the smallest epoch may have a bad one, too.
    most = limit if limit >= 1 or limit == 0 else max(1.0, limit * account.planned)
    if account.num_skipped <= most:
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(account.skipped.items()))
    where = f"; each is listed in {ledger.path}" if ledger is not None else ""
    raise SkippedTooManyError(
        f"{account.num_skipped:,} of {account.seen + account.num_skipped:,} samples could not be used ({reasons}), "
        f"expected at most {most:,.0f} of the {account.planned:,} of this epoch{where}. Fetch the shards again, or "
        "raise max_skipped"
    )
