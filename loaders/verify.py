"""Checks a finished dataset against its manifest and names the first thing that is wrong.

In: a dataset's folder, local or a URI. Out: a `VerifySummary`, or a `DatasetError`. Every file is there with its size
and sha256, and no other but the side files that `openjft index` writes for other readers; deep, also every sample:
tar, index, JSON, labels and pixels agree with each other, keys rise over the whole dataset, inferred labels are
ancestors of asserted ones, the counts add up. Every tar is read once, in one pass that hashes and checks it.

"First" is by files' presence and sizes, then shard by shard in the dataset's order, then the other files.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from .dataset import Dataset
from .errors import DatasetError
from .manifest import Manifest
from .schema import CLASS_COUNTS_FILE, GROUPS, GROUPS_FILE, MANIFEST, SIZES, index_file, tar_file
from .shard_index import parse_groups, read_parquet
from .storage.folder import Folder
from .tars.peers import side_files
from .verify_shard import Checked, Counts, Vocabulary, check_file, check_shard


@dataclasses.dataclass(frozen=True)
class VerifySummary:
    """What was checked and found right."""

    name: str
    manifest_sha256: str
    files: int
    bytes: int
    shards: int
    samples: int
    deep: bool


@dataclasses.dataclass(frozen=True)
class VerifyProgress:
    """Bytes checked so far, of all bytes."""

    bytes_done: int
    bytes: int


def verify_dataset(
    path: str | os.PathLike[str],
    *,
    deep: bool = True,
    num_threads: int | None = None,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> VerifySummary:
    """Checks every file of a dataset, and every sample.

    Args:
        path: local path, address or URI of the folder that holds `manifest.json`.
        deep: look into the tars; False compares sizes and hashes only.
        num_threads: shards checked at the same time; None: as many as there are cores for this process.
        on_progress: told after each file, in this thread.

    Raises:
        DatasetError: the first thing that is wrong: what was expected, what was found, where.
    """
    dataset = Dataset.open(path)
    manifest, folder = dataset.manifest, dataset.folder
    _check_listing(folder, manifest)
    total, done = sum(entry.bytes for entry in manifest.files), 0
    groups = [GROUPS.empty_table()]
    counts = Counts(np.zeros(manifest.num_categories, np.int64), np.zeros(manifest.num_categories, np.int64))
    for checked in _in_order(_checks(dataset, deep=deep), num_threads or len(os.sched_getaffinity(0))):
        done += checked.bytes
        if checked.counts is not None:
            counts.asserted[:] += checked.counts.asserted
            counts.expanded[:] += checked.counts.expanded
        if checked.groups is not None:
            groups.append(checked.groups)
        if on_progress is not None:
            on_progress(VerifyProgress(done, total))
    if deep:
        _check_totals(dataset, counts)
        _check_groups(dataset, pa.concat_tables(groups))
    return VerifySummary(
        name=manifest.name,
        manifest_sha256=dataset.manifest_sha256,
        files=len(manifest.files) + 1,
        bytes=total,
        shards=manifest.num_shards,
        samples=manifest.num_samples,
        deep=deep,
    )


def _checks(dataset: Dataset, *, deep: bool) -> list[Callable[[], Checked]]:
    """What there is to check, in order: the shards, then the other files."""
    manifest, folder = dataset.manifest, dataset.folder
    entries = {entry.path: entry for entry in manifest.files}
    labels = Vocabulary.of(dataset) if deep else None
    checks: list[Callable[[], Checked]] = []
    for number, shard in enumerate(manifest.shards):
        files = (tar_file(shard.name), index_file(shard.name))
        for path in files:
            if path not in entries:
                raise DatasetError(f"{folder.where(MANIFEST)}: files: expected the shard's {path}, found no entry")
        tar, index = (entries.pop(path) for path in files)
        if labels is not None:
            checks.append(functools.partial(check_shard, dataset, number, tar, index, labels))
        else:
            checks += [functools.partial(check_file, folder, entry) for entry in (tar, index)]
    return checks + [functools.partial(check_file, folder, entry) for entry in entries.values()]


def _in_order(checks: Iterable[Callable[[], Checked]], threads: int) -> Iterator[Checked]:
    """Runs checks side by side and gives their results in order, so that the first error is the first by place."""
    with ThreadPoolExecutor(threads, thread_name_prefix="openjft-verify") as pool:
        running: collections.deque[Future[Checked]] = collections.deque()
        try:
            for check in checks:
                running.append(pool.submit(check))
                if len(running) >= 2 * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except OSError as error:
            raise DatasetError(f"a file of the dataset could not be read: {error}") from error
        finally:
            for future in running:
                future.cancel()


def _check_listing(folder: Folder, manifest: Manifest) -> None:
    """Every listed file is there with its size, and nothing else but other readers' files, as far as storage tells."""
    found = folder.sizes(entry.path for entry in manifest.files)
    for entry in manifest.files:
        if entry.path not in found:
            raise DatasetError(f"{folder.where(entry.path)}: expected a file, as the manifest lists it, found none")
        if found[entry.path] != entry.bytes:
            raise DatasetError(
                f"{folder.where(entry.path)}: expected {entry.bytes:,} bytes, found {found[entry.path]:,}; "
                "fetch the file again"
            )
    known = {entry.path for entry in manifest.files} | {MANIFEST}
    known |= side_files([tar_file(shard.name) for shard in manifest.shards])
    unlisted = sorted(set(found) - known)
    if unlisted:
        raise DatasetError(
            f"{folder.where(unlisted[0])}: expected no such file, the manifest does not list it; take it away"
        )


def _check_groups(dataset: Dataset, expected: pa.Table) -> None:
    """The file of groups is what the shards say, and is there only where they say something."""
    told, where = GROUPS.empty_table(), dataset.folder.where(GROUPS_FILE)
    if any(entry.path == GROUPS_FILE for entry in dataset.manifest.files):
        with dataset.folder.open(GROUPS_FILE) as source:
            told = read_parquet(source, where=where)
        parse_groups(told, dataset.num_samples, where=where)
    if not told.combine_chunks().equals(expected.combine_chunks()):
        raise DatasetError(
            f"{where}: expected the {expected.num_rows:,} samples whose group has another key, as in the shards, found "
            f"{told.num_rows:,} or others"
        )


def _check_totals(dataset: Dataset, counts: Counts) -> None:
    """The sums of the shards are those that the dataset tells."""
    manifest, folder = dataset.manifest, dataset.folder
    asserted = int(counts.asserted.sum())
    inferred = int(counts.expanded.sum()) - asserted
    for name, expected, found in (
        ("asserted_labels", asserted, manifest.asserted_labels),
        ("inferred_labels", inferred, manifest.inferred_labels),
    ):
        if expected != found:
            raise DatasetError(
                f"{folder.where(MANIFEST)}: {name}: expected {expected:,}, the sum of the shards, found {found:,}"
            )
    for name, summed, told in (
        ("asserted", counts.asserted, dataset.asserted_counts),
        ("expanded", counts.expanded, dataset.class_counts),
    ):
        wrong = np.flatnonzero(summed != told)
        if wrong.size:
            raise DatasetError(
                f"{folder.where(CLASS_COUNTS_FILE)}: {name}: label {wrong[0]}: expected {summed[wrong[0]]:,}, the "
                f"sum of the shards, found {told[wrong[0]]:,}"
            )
    try:
        sizes = json.loads(folder.read(SIZES))
    except ValueError as error:
        raise DatasetError(f"{folder.where(SIZES)}: expected JSON, found {error}") from error
    if sizes != {f"{shard.name}.tar": shard.samples for shard in manifest.shards}:
        raise DatasetError(f"{folder.where(SIZES)}: expected the manifest's numbers of samples")
