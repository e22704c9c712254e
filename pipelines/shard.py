"""Stage `shards`: the finished dataset, a tar and its index for each bucket, then the files that explain them.

In, bucket by bucket and all in key order: `images/` (tars), `catalog/`, `expanded/`, `verdicts/`, `duplicates/` and
`negatives/` (no file means none). Out: everything below `dataset/`, in the format of `openjft.loaders.schema`, and
beside the records `shards/BBBBB-of-NNNNN.json` and `.parquet`: sizes, hashes and class counts of each shard, so that no
tar is read twice; `shards/groups/`: samples whose place in subsets is another one's.
The join is a merge: the images stream past, the labels of one bucket are in memory.

The dataset's bytes depend on the inputs and the configuration alone: no time, no host, no path of this machine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from openjft.loaders.manifest import StageAccount
from openjft.loaders.schema import CLASS_COUNTS, GROUPS, shard_name, tar_file
from openjft.loaders.tar import read_tar
from openjft.loaders.writer import (
    DatasetFacts,
    HashingSink,
    NewSample,
    ShardSummary,
    ShardWriter,
    class_counts,
    finish_dataset,
    moved_samples,
    summarize,
    write_index,
)
from openjft.taxonomy import Csr
from openjft.taxonomy.csr import offsets_of

from .accounts import ROWS, stage_accounts, to_account
from .config import Config
from .contradictions import NEGATIVES_STAGE
from .duplicates.files import places
from .duplicates.policy import Labels, merge_labels, read_lent
from .engine import Stage, UnitResult
from .errors import StaleError
from .keys import key_words, sortable_keys
from .schema import KEY, LABEL, STATUS_OK, URI
from .storage import TEMPORARY, Store, bucket_file

DATASET: Final = "dataset"
_FACTS: Final = ("sha256", "original_width", "original_height", "width", "height", URI)
_CHUNK_ROWS: Final = 4_096  # of the catalog, as Python objects at a time

# Keys that decide how a build runs and not what comes out of it: they stay out of the dataset's config.json.
_OPERATIONAL: Final[Mapping[str, frozenset[str]]] = {
    "build": frozenset({"output"}),
    "ingest": frozenset({"batch_rows", "spill_rows", "max_reject_share"}),
    "precision": frozenset({"max_reject_share"}),
    "fetch": frozenset(
        {"timeout_s", "retries", "backoff_s", "concurrency", "per_host", "user_agent", "max_reject_share"}
    ),
    "embed": frozenset({"batch_size", "device"}),
    "shard": frozenset({"max_reject_share"}),
}
_LEFT_OUT: Final = frozenset({"runner", "report"})
_PATHS: Final = frozenset(
    {
        "path",
        "names",
        "only",
        "background",
        "gold",
        "roles_file",
        "weights",
        "root",
        "ids",
        "annotations",
        "images",
        "ground_truth",
        "allow_paths",
        "decisions",
    }
)


@dataclasses.dataclass(frozen=True)
class ShardStage(Stage):
    """Writes one shard for each bucket; `config_text` is what `dataset/config.json` will hold, as JSON."""

    dataset_name: str
    num_buckets: int
    image_mode: str
    image_size: int
    config_text: str = "{}"
    reject_share: float = 1.0

    name: ClassVar[str] = "shards"  # not "dataset": the records do not belong to what is shipped
    noun: ClassVar[str] = "images"
    section: ClassVar[str] = "shard"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build."""
        return cls(
            dataset_name=config.build.name,
            num_buckets=config.build.buckets,
            image_mode=config.fetch.resize,
            image_size=config.fetch.size,
            config_text=json.dumps(dataset_config(config), sort_keys=True),
            reject_share=config.shard.max_reject_share,
        )

    def num_units(self) -> int:
        """One for each bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """All but the allowed share of rejects."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k != "reject_share"}

    def outputs(self) -> Sequence[str]:
        """Records and the dataset."""
        return (self.name, DATASET)

    def max_reject_share(self) -> float:
        """Of the configuration."""
        return self.reject_share

    def run(self, unit: int, store: Store) -> UnitResult:
        """Writes one shard."""
        bucket = _Bucket.read(store, unit, self.num_buckets)
        ids = store.read_table("taxonomy/vocabulary.parquet", ["id"])["id"].to_pylist()
        name = shard_name(self.dataset_name, unit)
        rejects = {"no_label": 0, "overlap": 0, "duplicate": 0}
        with store.writing(f"{DATASET}/{tar_file(name)}") as sink:
            hashing = HashingSink(sink)
            writer = ShardWriter(hashing, ids)
            for row, sample in enumerate(bucket.samples(store)):
                if bucket.removed[row]:
                    rejects["overlap"] += 1
                elif not bucket.kept[row]:
                    # Also where its representative overlaps: what shows the same picture must not take its place.
                    rejects["duplicate"] += 1
                elif not sample.labels:
                    rejects["no_label"] += 1
                else:
                    writer.add(sample)
            index = writer.close()
        entry = write_index(name, index, lambda path, data: store.write_bytes(f"{DATASET}/{path}", data))
        summary = summarize(name, index, hashing.entry(tar_file(name)), entry)
        store.write_table(self._counts_file(unit), _sparse_counts(index, len(ids)))
        store.write_table(self._groups_file(unit), moved_samples(index))
        store.write_json(self._summary_file(unit), summary.to_json())
        return UnitResult(
            rows_in=bucket.catalog.num_rows,
            rows_out=summary.samples,
            rejects=rejects,
            counters={
                "bytes": hashing.bytes,
                "asserted": summary.asserted,
                "inferred": summary.inferred,
                "negatives": summary.negatives,
            },
        )

    def _summary_file(self, unit: int) -> str:
        return bucket_file(self.name, unit, self.num_buckets, "json")

    def _counts_file(self, unit: int) -> str:
        return bucket_file(self.name, unit, self.num_buckets)

    def _groups_file(self, unit: int) -> str:
        return bucket_file(f"{self.name}/groups", unit, self.num_buckets)

    def finish(self, store: Store, account: UnitResult) -> None:
        """Writes the taxonomy, the configuration, the counts, the data card and last the manifest."""
        _remove_temporaries(store)
        units = range(self.num_buckets)
        shards = [ShardSummary.from_json(store.read_json(self._summary_file(unit))) for unit in units]
        vocabulary = store.read_table("taxonomy/vocabulary.parquet")
        facts = DatasetFacts(
            name=self.dataset_name,
            image_mode=self.image_mode,
            image_size=self.image_size,
            vocabulary=vocabulary,
            edges=store.read_table("taxonomy/edges.parquet"),
            counts=self._sum_counts(store, vocabulary.num_rows),
            config=json.loads(self.config_text),
            stages=self._accounts(store, account),
            groups=self._moved(store, shards),
        )
        finish_dataset(shards, facts, lambda path, data: store.write_bytes(f"{DATASET}/{path}", data))

    def _accounts(self, store: Store, account: UnitResult) -> list[StageAccount]:
        before = stage_accounts(store, [stage for stage in ROWS if stage != self.name])
        return [*before, to_account(self.name, account)]

    def _moved(self, store: Store, shards: Sequence[ShardSummary]) -> pa.Table:
        """Rows of GROUPS of all shards, with the dataset's numbers for the shards' own."""
        tables, first = [GROUPS.empty_table()], 0
        for unit, shard in enumerate(shards):
            table = store.read_table(self._groups_file(unit))
            tables.append(table.set_column(0, GROUPS.field("number"), pc.add(table["number"], first)))
            first += shard.samples
        return pa.concat_tables(tables)

    def _sum_counts(self, store: Store, categories: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        asserted, expanded = np.zeros(categories, np.int64), np.zeros(categories, np.int64)
        for unit in range(self.num_buckets):
            table = store.read_table(self._counts_file(unit))
            labels = table["label"].to_numpy()
            asserted[labels] += table["asserted"].to_numpy()
            expanded[labels] += table["expanded"].to_numpy()
        return asserted, expanded


def _sparse_counts(index: pa.Table, categories: int) -> pa.Table:
    """The class counts of one shard, without the categories that do not occur."""
    asserted, expanded = class_counts(index, categories)
    labels = np.flatnonzero(expanded).astype(np.int32)
    return pa.table([labels, asserted[labels], expanded[labels]], schema=CLASS_COUNTS)


def _remove_temporaries(store: Store) -> None:
    """What killed workers left half-written: all of `dataset/` is listed in the manifest."""
    selector = pafs.FileSelector(store.path(DATASET), recursive=True, allow_not_found=True)
    for info in store.fs.get_file_info(selector):
        if info.type == pafs.FileType.File and info.base_name.startswith(TEMPORARY):
            store.fs.delete_file(info.path)


# -- the join ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Bucket:
    """The n images of a bucket that were fetched, in key order, and what is known of them.

    Attributes:
        tar: of the images.
        catalog: n rows.
        removed: (n,) bool, whether the image is left out since it shows an evaluation image.
        kept: (n,) bool, whether it stays of its group of duplicates; true where it is alone.
        groups: n keys of the groups' representatives, null where it is alone.
        label_offsets: (n + 1,) int64; the labels of image i are `labels[label_offsets[i]:label_offsets[i + 1]]`.
        labels: of all images, one after another.
        negatives: verified negatives of each image, but for those that are among its labels.
    """

    tar: str
    catalog: pa.Table
    removed: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.bool_]
    groups: Sequence[bytes | None]
    label_offsets: npt.NDArray[np.int64]
    labels: Labels
    negatives: Csr

    @classmethod
    def read(cls, store: Store, bucket: int, num_buckets: int) -> Self:
        def table(stage: str, columns: list[str] | None = None) -> pa.Table:
            return store.read_table(bucket_file(stage, bucket, num_buckets), columns)

        catalog = table("catalog", [KEY, "status", *_FACTS])
        catalog = catalog.filter(pc.equal(catalog["status"], STATUS_OK))
        keys = sortable_keys(key_words(catalog[KEY]))
        labels, offsets, negatives = _join_labels(store, bucket, num_buckets, keys)
        kept, groups = _join_groups(store, bucket, num_buckets, catalog[KEY])
        verdicts = table("verdicts", [KEY, "removed"])
        return cls(
            tar=bucket_file("images", bucket, num_buckets, "tar"),
            catalog=catalog,
            removed=np.isin(keys, sortable_keys(key_words(verdicts.filter(verdicts["removed"])[KEY]))),
            kept=kept,
            groups=groups,
            label_offsets=offsets,
            labels=labels,
            negatives=negatives,
        )

    def samples(self, store: Store) -> Iterator[NewSample]:
        """Each image with its labels, streamed from the tar, those to be removed too.

        Raises:
            StaleError: the tar does not hold the catalog's images.
        """
        with store.reading(self.tar) as source:
            members = read_tar(source, origin=store.path(self.tar))
            for start in range(0, self.catalog.num_rows, _CHUNK_ROWS):
                for row, facts in enumerate(self.catalog.slice(start, _CHUNK_ROWS).to_pylist(), start):
                    member = next(members, None)
                    expected = f"{facts[KEY].hex()}.jpg"
                    if member is None or member.name != expected:
                        raise self._differs(store, expected, "the end" if member is None else member.name)
                    yield self._sample(row, facts, member.data)
            if (member := next(members, None)) is not None:
                raise self._differs(store, "the end", member.name)

    def _differs(self, store: Store, expected: str, found: str) -> StaleError:
        return StaleError(
            f"{store.path(self.tar)}: expected {expected}, as in the catalog, found {found}: the two are not of one "
            "run. Remove images/ and catalog/ from the output folder and build again"
        )

    def _sample(self, row: int, facts: dict[str, Any], jpeg: bytes) -> NewSample:
        part = slice(self.label_offsets[row], self.label_offsets[row + 1])
        return NewSample(
            key=facts[KEY],
            jpeg=jpeg,
            width=facts["width"],
            height=facts["height"],
            labels=self.labels.label[part].tolist(),
            probabilities=self.labels.probability[part].tolist(),
            asserted=self.labels.asserted[part].tolist(),
            from_labels=self.labels.from_label[part].tolist(),
            uri=facts[URI],
            source_sha256=facts["sha256"],
            original_width=facts["original_width"],
            original_height=facts["original_height"],
            negatives=self.negatives.of(row).tolist(),
            group=self.groups[row],
        )


def _rows_of(
    keys: npt.NDArray[np.bytes_], sorted_keys: npt.NDArray[np.bytes_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of each image in a sorted table that may hold others, too: (rows side by side, offsets by image)."""
    starts = np.searchsorted(sorted_keys, keys, side="left")
    lengths = np.searchsorted(sorted_keys, keys, side="right") - starts
    offsets = offsets_of(lengths)
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets


def _join_labels(
    store: Store, bucket: int, num_buckets: int, keys: npt.NDArray[np.bytes_]
) -> tuple[Labels, npt.NDArray[np.int64], Csr]:
    """Labels of each image with their offsets, those of its duplicates among them, and its verified negatives."""
    own = _labels_of(keys, store.read_table(bucket_file("expanded", bucket, num_buckets)))
    lent = _labels_of(keys, read_lent(store, bucket, num_buckets))
    denied = _denied(store, bucket, num_buckets, keys)
    n = max(int(column.max(initial=0)) for column in (own.label, lent.label, denied.values)) + 1
    pairs = np.repeat(np.arange(len(keys)), denied.lengths) * n + denied.values
    labels = merge_labels(own, lent, pairs, n) if len(lent.label) else own
    # But for its labels: a kept label that is denied is in `contradictions/`.
    left = ~np.isin(pairs, labels.image * n + labels.label)
    negatives = Csr(denied.values[left], np.concatenate([[0], np.cumsum(left)])[denied.offsets])
    return labels, offsets_of(np.bincount(labels.image, minlength=len(keys))), negatives


def _labels_of(keys: npt.NDArray[np.bytes_], table: pa.Table) -> Labels:
    """Rows of a table with the columns of EXPANDED that are of some images, in the order of these; each has its own."""
    order = np.argsort(sortable_keys(key_words(table[KEY])), kind="stable")
    table = table.take(pa.array(order))
    take, offsets = _rows_of(keys, sortable_keys(key_words(table[KEY])))
    image = np.repeat(np.arange(len(keys)), np.diff(offsets))
    columns = (table[name].to_numpy()[take] for name in (LABEL, "probability", "asserted", "from_label"))
    return Labels(image, *columns)


def _denied(store: Store, bucket: int, num_buckets: int, keys: npt.NDArray[np.bytes_]) -> Csr:
    """What a person denied of each image."""
    path = bucket_file(NEGATIVES_STAGE, bucket, num_buckets)
    if not store.exists(path):
        return Csr(np.empty(0, np.int32), np.zeros(len(keys) + 1, np.int64))
    table = store.read_table(path, [KEY, LABEL])
    take, offsets = _rows_of(keys, sortable_keys(key_words(table[KEY])))
    return Csr(table[LABEL].to_numpy()[take], offsets)


def _join_groups(
    store: Store, bucket: int, num_buckets: int, keys: pa.ChunkedArray
) -> tuple[npt.NDArray[np.bool_], list[bytes | None]]:
    """Of each image, whether it stays, and the key of its group's representative (None: it is alone)."""
    path = bucket_file("duplicates", bucket, num_buckets)
    if not store.exists(path):
        return np.ones(len(keys), np.bool_), [None] * len(keys)
    table = store.read_table(path, [KEY, "group", "kept"])
    at = places(keys, table[KEY])
    groups: list[bytes | None] = table["group"].take(pa.array(at, mask=at < 0)).to_pylist()
    kept = table["kept"].take(pa.array(at, mask=at < 0))
    return np.asarray(pc.fill_null(kept, fill_value=True).to_numpy(), np.bool_), groups


# -- the configuration as it is shipped ----------------------------------------------------------------------


def dataset_config(config: Config) -> dict[str, Any]:
    """What of the configuration decided the dataset's content, as JSON values, fit to be shipped.

    Left out: where it was built, how Beam ran, timeouts and batch sizes, the report. Of local paths the last part is
    kept: whose machine it was is nobody's business, and equal inputs in other folders give equal bytes. Of URIs the
    user and the query are cut off, since pyarrow takes secrets there.
    """
    value: dict[str, Any] = config.model_dump(mode="json")
    kept = {section: item for section, item in value.items() if section not in _LEFT_OUT}
    for section, keys in _OPERATIONAL.items():
        kept[section] = {key: item for key, item in kept[section].items() if key not in keys}
    return {section: _portable(item) for section, item in kept.items()}


def _portable(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: _portable(item, k) for k, item in value.items()}
    if isinstance(value, list):
        return [_portable(item, key) for item in value]
    return _portable_path(value) if key in _PATHS and isinstance(value, str) else value


def _portable_path(path: str) -> str:
    if "://" not in path:
        return PurePath(path).name
    parts = urlsplit(path)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
