"""Stage `expanded`: the kept labels and their ancestors through the hierarchy, bucket by bucket.

In: `labels/`, `negatives/` and `taxonomy/`. Out: `expanded/`, the same labels (asserted) and their inferred ancestors,
each with the asserted label that it comes from, sorted by (image_key, label); `contradictions/`, the asserted labels
that exclude each other or that a person denied. In `expanded/`, too: `_information.json` and `_roles.json` say which
ancestors are never inferred (they tell too little, or are roles), `_disjoint.json` which categories exclude each other.
Source: METHODS section 3.

An ancestor that a person denied is not inferred, nor one below such, and is counted (`denied`); what it knows passes on
upwards. No asserted label is dropped, whatever contradicts it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openjft.taxonomy import Closure, Taxonomy, expand_labels, information_content
from openjft.taxonomy.readers import read_ids
from openjft.taxonomy.roles import WORDNET_ROLES, keep_mask, resolve, resolve_known, wordnet_roles

from .config import Config, Expand
from .contradictions import DISJOINT, FOLDER, Images, Negatives, contradictions_table, disjoint_pairs, learn
from .engine import Stage, UnitResult
from .hierarchy import load_closure, load_taxonomy
from .schema import EXPANDED, KEY, LABEL
from .storage import Store, bucket_file

LABELS_STAGE: Final = "labels"
INFORMATION: Final = "expanded/_information.json"
ROLES: Final = "expanded/_roles.json"

# A prefix of the buckets is a uniform sample: of 1M labels, a share near 1/2 has a standard error of 0.0005,
# which is 0.0015 bit.
SAMPLE_LABELS: Final = 1_000_000


@dataclasses.dataclass(frozen=True)
class ExpandStage(Stage):
    """Adds ancestors to the labels of each bucket, and flags the labels that contradict each other.

    Attributes:
        config: the configuration's section.
        num_buckets: of the build.
        listed_roles: content of `config.roles_file`, read in the driver: workers need not see the file.
    """

    config: Expand
    num_buckets: int
    listed_roles: tuple[str, ...] = ()

    name: ClassVar[str] = "expanded"
    noun: ClassVar[str] = "labels"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The stage of a build.

        Raises:
            TaxonomyError: the file of roles cannot be read.
        """
        file = config.expand.roles_file
        listed = () if file is None else wordnet_roles() if file == WORDNET_ROLES else read_ids(file)
        return cls(config.expand, config.build.buckets, listed)

    def num_units(self) -> int:
        """One a bucket."""
        return self.num_buckets

    def settings(self) -> Mapping[str, Any]:
        """The configuration's section, with the content of the file of roles for its path."""
        listed = {"whole_wordnet": self.config.roles_file == WORDNET_ROLES, "roles": list(self.listed_roles)}
        return {**self.config.model_dump(mode="json", exclude={"roles_file"}), "listed": listed}

    def outputs(self) -> Sequence[str]:
        """Labels and contradictions."""
        return (self.name, FOLDER)

    def roles(self, taxonomy: Taxonomy) -> npt.NDArray[np.int32]:
        """Labels of the role nodes.

        Raises:
            UnknownCategoryError: an entry is no category; of the list for WordNet, all of them.
        """
        if self.config.roles_file == WORDNET_ROLES:
            listed = resolve_known(taxonomy, self.listed_roles, origin="expand.roles_file: 'wordnet'")
        else:
            listed = resolve(taxonomy, self.listed_roles, origin=f"expand.roles_file: {self.config.roles_file}")
        return np.union1d(resolve(taxonomy, self.config.roles, origin="expand.roles"), listed).astype(np.int32)

    def prepare(self, store: Store) -> None:
        """Finds out which ancestors are never inferred, and which categories exclude each other."""
        taxonomy, closure = load_closure(store)
        if len(roles := self.roles(taxonomy)):
            store.write_json(ROLES, {"roles": [_describe(taxonomy, label) for label in roles.tolist()]})
        if self.config.min_information_bits > 0:
            store.write_json(INFORMATION, measure_information(store, self.config, self.num_buckets))
        if self.config.contradictions:
            store.write_json(DISJOINT, learn(store, self.config, self.num_buckets, taxonomy, closure))

    def run(self, unit: int, store: Store) -> UnitResult:
        """Expands one bucket."""
        table = store.read_table(bucket_file(LABELS_STAGE, unit, self.num_buckets), [KEY, LABEL, "probability"])
        taxonomy, closure = load_closure(store)
        images = Images.of(table[KEY])
        negatives = Negatives.read(store, unit, self.num_buckets, images)
        keep = self._kept_ancestors(store, taxonomy)
        expanded, denied = expand_table(table, closure, images=images, negatives=negatives, keep=keep)
        flagged, kinds = contradictions_table(
            table,
            images,
            negatives,
            closure,
            disjoint=disjoint_pairs(store.read_json(DISJOINT)) if self.config.contradictions else None,
            negative_error_rate=self.config.negative_error_rate,
        )
        store.write_table(bucket_file(self.name, unit, self.num_buckets), expanded)
        store.write_table(bucket_file(FOLDER, unit, self.num_buckets), flagged)
        counters = {
            "asserted": len(table),
            "inferred": len(expanded) - len(table),
            "images": len(images),
            "denied": denied,
            "contradictions": len(flagged),
            **kinds,
        }
        return UnitResult(rows_in=len(table), rows_out=len(table), counters=counters)

    def _kept_ancestors(self, store: Store, taxonomy: Taxonomy) -> npt.NDArray[np.bool_] | None:
        dropped = [self.roles(taxonomy)]
        if self.config.min_information_bits > 0:
            trivial = [item["label"] for item in store.read_json(INFORMATION)["dropped"]]
            dropped.append(np.array(trivial, np.int32))
        return keep_mask(taxonomy.num_categories, *dropped) if any(map(len, dropped)) else None


def check_roles(stage: Stage, store: Store) -> None:
    """Finds the mistakes in the list of roles before anything runs.

    Raises:
        UnknownCategoryError: an entry is no category of the hierarchy that the driver wrote.
    """
    if isinstance(stage, ExpandStage):
        stage.roles(load_taxonomy(store))


def expand_table(
    labels: pa.Table,
    closure: Closure,
    *,
    images: Images | None = None,
    negatives: Negatives | None = None,
    keep: npt.NDArray[np.bool_] | None = None,
) -> tuple[pa.Table, int]:
    """A bucket's labels and their ancestors.

    Args:
        labels: rows of `LABELS` (key, label and probability are enough), sorted by (image_key, label).
        closure: of the labels' taxonomy.
        images: of the rows; found where they are not given.
        negatives: verified negatives of the images; ancestors at or below one are not inferred.
        keep: (num_categories,) ancestors that may be added; None adds all.

    Returns:
        (table, denied): rows of `EXPANDED`, and how many ancestors a person denied.
    """
    images = images if images is not None else Images.of(labels[KEY])
    negatives = negatives if negatives is not None else Negatives.none()
    asserted, probability = labels[LABEL].to_numpy(), labels["probability"].to_numpy()
    result = expand_labels(images.number, asserted, probability, closure, keep=keep)
    denied = negatives.deny(result.image_index, result.label, closure) & ~result.asserted
    kept = ~denied if denied.any() else slice(None)
    columns = [
        images.keys(result.image_index[kept]),
        pa.array(result.label[kept]),
        pa.array(result.probability[kept]),
        pa.array(result.asserted[kept]),
        pa.array(result.from_label[kept]),
    ]
    return pa.table(columns, schema=EXPANDED), int(np.count_nonzero(denied))


def measure_information(store: Store, config: Expand, num_buckets: int) -> dict[str, Any]:
    """Information content on a prefix of the buckets, and the ancestors below the configured bits.

    Returns:
        JSON values: the sample's `buckets` and `labels`, and `dropped`, each with label, id, name, bits.
    """
    taxonomy, closure = load_closure(store)
    counts = np.zeros(taxonomy.num_categories, np.int64)
    buckets = 0
    while buckets < num_buckets and counts.sum() < SAMPLE_LABELS:
        labels = store.read_table(bucket_file(LABELS_STAGE, buckets, num_buckets), [LABEL])[LABEL]
        counts += np.bincount(labels.to_numpy(), minlength=taxonomy.num_categories)
        buckets += 1
    bits = information_content(closure, counts)
    dropped = [
        {**_describe(taxonomy, label), "bits": round(float(bits[label]), 6)}
        for label in np.flatnonzero(bits < config.min_information_bits).tolist()
    ]
    return {"buckets": buckets, "labels": int(counts.sum()), "dropped": dropped}


def _describe(taxonomy: Taxonomy, label: int) -> dict[str, Any]:
    return {"label": label, "id": taxonomy.ids[label], "name": taxonomy.names[label]}
