"""What reading an image gives: its bytes, or the counted reason why there are none."""

from __future__ import annotations

import dataclasses
import re

from ..schema import FETCH_REASONS

MAX_DETAIL = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def tidy(detail: object) -> str:
    """A detail for the catalog: one line, bounded, since much of it was written by strangers."""
    return _CONTROL.sub(" ", str(detail)).strip()[:MAX_DETAIL]


@dataclasses.dataclass(frozen=True, slots=True)
class Payload:
    """An image's bytes as received."""

    data: bytes
    attempts: int = 1
    http_status: int | None = None


class FetchFailure(Exception):
    """No bytes: `reason` is one of `FETCH_REASONS`.

    `retry` says whether another attempt may help, `retry_after_s` how long the server asked us to wait, and
    `attempts` how many were made when it is final.
    """

    def __init__(
        self,
        reason: str,
        detail: object,
        *,
        http_status: int | None = None,
        retry: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        assert reason in FETCH_REASONS, reason
        super().__init__(tidy(detail))
        self.reason = reason
        self.http_status = http_status
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.attempts = 1
