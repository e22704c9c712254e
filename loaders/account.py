"""What became of each sample: counted by reason, and no more of them left out than is allowed.

The `ledger` has the samples one by one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .errors import SkippedTooManyError


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


def check_skipped(account: EpochAccount, limit: float, *, ledger: Path | None) -> None:
    """Ends the reading when too many samples were left out.

    Args:
        account: so far.
        limit: below 1 a share of the planned samples (and one at least), else a count; 0 for none.
        ledger: the file in which they are listed, if they are.

    Raises:
        SkippedTooManyError: there are more.
    """
    # A share allows one sample at least: the smallest epoch may have a bad one, too.
    most = limit if limit >= 1 or limit == 0 else max(1.0, limit * account.planned)
    if account.num_skipped <= most:
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(account.skipped.items()))
    where = f"; each is listed in {ledger}" if ledger is not None else ""
    raise SkippedTooManyError(
        f"{account.num_skipped:,} of {account.seen + account.num_skipped:,} samples could not be used ({reasons}), "
        f"expected at most {most:,.0f} of the {account.planned:,} of this epoch{where}. Fetch the shards again, or "
        "raise max_skipped"
    )
