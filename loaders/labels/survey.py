"""The pass over all indexes of a source with other labels: which samples have a label, how often each class occurs.

In: a `Source` and a `Relabelling`. Out: `Survey`. With a folder it is written there and read again, by the content of
what is joined; of several processes that start together one makes the pass and the others wait for it.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Any, Final

import filelock
import numpy as np
import numpy.typing as npt

from openjft.loaders.errors import LoaderError
from openjft.loaders.shard_index import ShardIndex
from openjft.loaders.source import Source, by_shard

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int], None]  # samples done, samples
MAX_FACTS_BYTES: Final = 1 << 26


class Relabelling(abc.ABC):
    """How the index of a shard gets its new labels. Safe from many threads, but for `count`."""

    @abc.abstractmethod
    def relabel(self, index: ShardIndex) -> ShardIndex:
        """The index with the new labels."""

    def count(self, index: ShardIndex, rows: Int64s) -> ShardIndex:
        """The same, in the pass over all indexes; what it meets in the rows (m,) of samples may be noted."""
        del rows
        return self.relabel(index)

    def foreign(self) -> int | None:
        """After that pass: images with labels that were in no index; None where there is no such thing."""
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What the pass found.

    `labelled` (m,) rising numbers of the samples with a label, `class_counts` (c,) int64, `foreign` as in
    `Relabelling`.
    """

    labelled: Numbers
    class_counts: Int64s
    foreign: int | None


def surveyed(
    source: Source,
    relabelling: Relabelling,
    num_categories: int,
    *,
    name: str,
    cache: Path | None,
    on_progress: Progress | None,
) -> Survey:
    """The survey of a source, from the folder or made.

    Args:
        source: the images.
        relabelling: of its indexes.
        num_categories: of the new labels.
        name: hex digest of all that decides the result.
        cache: folder that keeps it.
        on_progress: called on the way.

    Raises:
        LoaderError: the folder cannot be written.
    """
    if cache is None:
        return _survey(source, relabelling, num_categories, on_progress)
    path = cache / f"labels-{name[:32]}.npy"
    with _locked(path):
        found = _read(path, source.num_samples, num_categories)
        if found is None:
            found = _survey(source, relabelling, num_categories, on_progress)
            _write(path, found)
    return found


def _survey(source: Source, relabelling: Relabelling, num_categories: int, on_progress: Progress | None) -> Survey:
    n, counts = source.num_samples, np.zeros(num_categories, np.int64)
    kind = np.uint32 if n < 1 << 32 else np.int64
    found: list[Numbers] = [np.empty(0, kind)]
    for shard, numbers, rows in by_shard(source):
        labels = relabelling.count(source.index(shard), rows).labels.take(rows)
        counts += np.bincount(labels.values, minlength=num_categories)
        found.append(numbers[labels.lengths > 0].astype(kind))
        if on_progress is not None:
            on_progress(int(numbers[-1]) + 1, n)
    labelled = np.concatenate(found)
    if (labelled[1:] <= labelled[:-1]).any():  # a source whose numbers do not follow its shards
        labelled = np.sort(labelled)
    return Survey(labelled, counts, relabelling.foreign())


# -- the folder ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _read(path: Path, num_samples: int, num_categories: int) -> Survey | None:
    """What lies in the folder; None where nothing does, or something damaged."""
    facts_path = path.with_suffix(".json")
    try:
        if facts_path.stat().st_size > MAX_FACTS_BYTES:
            return None
        facts = json.loads(facts_path.read_bytes())
        labelled = np.load(path, mmap_mode="r", allow_pickle=False)
        counts, foreign = np.array(facts["class_counts"], np.int64), facts["foreign"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    fits = labelled.ndim == 1 and labelled.dtype.kind in "ui" and len(labelled) == facts.get("labelled")
    fits = fits and counts.shape == (num_categories,) and (foreign is None or isinstance(foreign, int))
    if not fits or (len(labelled) and not 0 <= int(labelled[0]) <= int(labelled[-1]) < num_samples):
        return None
    return Survey(labelled, counts, foreign)


def _write(path: Path, survey: Survey) -> None:
    facts = {
        "labelled": len(survey.labelled),
        "foreign": survey.foreign,
        "class_counts": survey.class_counts.tolist(),
    }
    try:
        with _replacing(path) as sink:
            np.save(sink, survey.labelled, allow_pickle=False)
        with _replacing(path.with_suffix(".json")) as sink:
            sink.write(json.dumps(facts).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Generator[IO[bytes], None, None]:
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as sink:
            yield sink
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> LoaderError:
    return LoaderError(f"{path}: could not be written: {error}; free some space, or give another folder")
