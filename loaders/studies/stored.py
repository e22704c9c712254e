"""A score on disk: `RUN/results/step-000000001000-HASH.json`, which makes a piece of a run finished.

It is written last and by rename, and names both hashes in full: a result is taken only for the very training and
scoring that it is of.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from openjft.loaders.atomic import whole_file
from openjft.loaders.errors import LoaderError

from .scoring import Score

FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 20


def path_of(folder: Path, step: int, score_key: str) -> Path:
    """Where a score lies."""
    return folder / "results" / f"step-{step:012d}-{score_key[:10]}.json"


def write(folder: Path, step: int, train_key: str, score_key: str, run: str, score: Score) -> None:
    """Writes a score.

    Raises:
        LoaderError: it cannot be written.
    """
    content = {"format": FORMAT, "run": run, "step": step, "train_key": train_key, "score_key": score_key}
    write_text(
        path_of(folder, step, score_key), json.dumps({**content, "score": dataclasses.asdict(score)}, indent=1) + "\n"
    )


def write_text(path: Path, text: str) -> None:
    """Writes a whole file, or none.

    Raises:
        LoaderError: it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file, or none.

    Raises:
        LoaderError: it cannot be written.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise LoaderError(
            f"{path}: could not be written: {error}; free some space and run the same command again, finished runs stay"
        ) from error


def read(folder: Path, step: int, train_key: str, score_key: str) -> Score | None:
    """The score of a piece, None if there is none.

    Raises:
        LoaderError: the file is damaged, or of another training.
    """
    path = path_of(folder, step, score_key)
    try:
        with path.open("rb") as source:
            data = source.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoaderError(f"{path}: could not be read: {error}") from error
    return _parse(path, data, {"format": FORMAT, "step": step, "train_key": train_key, "score_key": score_key})


def _parse(path: Path, data: bytes, expected: dict[str, Any]) -> Score:
    try:
        content = json.loads(data)
        different = sorted(name for name, value in expected.items() if content[name] != value)
        score = Score.of(content["score"])
        sound = 0 <= score.map_at_k <= 1 and 0 <= score.unweighted_map_at_k <= 1
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LoaderError(
            f"{path}: expected a result of `openjft study`, found a damaged file ({error!r}); remove it"
        ) from None
    if different or not sound:
        found = f"another {', '.join(different)}" if different else "a score outside [0, 1]"
        raise LoaderError(f"{path}: expected the result of this very run, found {found}; remove it")
    return score
