"""A small web with known truth, as evidence: METHODS.md section 6 in miniature, drawn with numpy alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.config import Source
from openjft.pipelines.keys import buckets_of, image_keys
from openjft.pipelines.schema import evidence_schema
from openjft.pipelines.storage import Store, bucket_file
from openjft.taxonomy import Category, build_taxonomy

SOURCES = (
    Source(name="alt", kind="links"),
    Source(name="caption", kind="links"),
    Source(name="anchor", kind="links"),
    Source(name="search", kind="clicks"),
    Source(name="model", kind="score"),
)


@dataclasses.dataclass(frozen=True)
class Web:
    """Evidence in key order and the truth of each row."""

    sources: tuple[Source, ...]
    table: pa.Table
    correct: np.ndarray

    def write(self, store: Store, num_buckets: int) -> None:
        buckets = buckets_of(self.table["image_key"], num_buckets)
        for bucket in range(num_buckets):
            rows = self.table.filter(pa.array(buckets == bucket))
            store.write_table(bucket_file("evidence", bucket, num_buckets), rows)
        vocabulary, edges = build_taxonomy(
            [Category(f"c{i}", f"kind {i}") for i in range(3)], [], origin="x"
        ).to_tables()
        store.write_table("taxonomy/vocabulary.parquet", vocabulary)
        store.write_table("taxonomy/edges.parquet", edges)
        # 'kind 0' occurs inside a name of label 1, and of one that no image has
        confusions = pa.table({"label": pa.array([0, 0], pa.int32()), "inside_label": pa.array([1, 7], pa.int32())})
        store.write_table("taxonomy/confusions.parquet", confusions)

    def gold_csv(self, rows) -> str:
        lines = ["uri,label,correct"]
        uris, labels = self.table["uri"].to_pylist(), self.table["label"].to_pylist()
        lines += [f"{uris[i]},c{labels[i]},{int(self.correct[i])}" for i in rows]
        return "\n".join(lines) + "\n"


def draw_web(images: int, seed: int) -> Web:
    """Up to three labels for each image; rows that no source asserts do not exist."""
    rng = np.random.default_rng(seed)
    uris = np.array([f"https://example.org/{i}.jpg" for i in range(images)])
    uris = uris[np.argsort(np.array(image_keys(uris.tolist()).to_pylist(), object))]
    n = images * 3
    image, label = np.repeat(np.arange(images), 3), np.tile(np.arange(3), images)
    correct = rng.random(n) < 1 / (1 + np.exp(-rng.normal(-0.55, 0.9, n)))
    state = np.where(correct, 0, rng.choice([1, 2, 3], n, p=[0.3, 0.25, 0.45]))  # polysemy, sibling, junk
    page = rng.normal(0, 0.7, n)  # sources of one page err together
    columns = {}
    opportunity = np.zeros(n, np.uint64)
    rates = {"alt": (0.75, 0.72, 0.5, 0.3), "caption": (0.6, 0.58, 0.38, 0.15), "anchor": (0.5, 0.48, 0.3, 0.15)}
    rates |= {"search": (0.5, 0.3, 0.3, 0.1), "model": (0.75, 0.2, 0.5, 0.15)}
    looks = {"alt": 0.75, "caption": 0.45, "anchor": 0.35, "search": 0.35, "model": 0.5}
    for i, (name, rate) in enumerate(rates.items()):
        odds = np.log(np.array(rate) / (1 - np.array(rate)))[state] + (page if i < 3 else 0)
        looked = np.repeat(rng.random(images) < looks[name], 3)
        fired = looked & (rng.random(n) < 1 / (1 + np.exp(-odds)))
        opportunity |= looked.astype(np.uint64) << np.uint64(i)
        domains = rng.geometric(np.array([0.35, 0.5, 0.55, 0.75])[state])
        score = rng.normal(np.array([1.2, -0.7, 0.25, -0.9])[state]).astype(np.float32)
        impressions = np.ceil(rng.lognormal(2.5, 1.2, n)).astype(np.int64)
        clicks = rng.binomial(impressions, np.array([0.3, 0.07, 0.12, 0.04])[state])
        columns[f"{name}.rows"] = np.where(fired, domains + rng.geometric(0.5, n) - 1, 0)
        columns[f"{name}.domains"] = np.where(fired & (i < 3), domains, 0)
        columns[f"{name}.support"] = columns[f"{name}.statements"] = columns[f"{name}.domains"]
        columns[f"{name}.score"] = pa.array(score, mask=~(fired & (name == "model") & (rng.random(n) < 0.9)))
        columns[f"{name}.clicks"] = np.where(fired & (name == "search"), clicks, 0)
        columns[f"{name}.exposure"] = np.where(fired & (name == "search"), impressions, 0)
        columns[f"{name}.impressions"] = np.where(fired & (name == "search"), impressions, 0)
    asserted = np.any([columns[f"{s}.rows"] > 0 for s in rates], axis=0)
    keys = image_keys(uris.tolist()).take(pa.array(image))
    arrays = {"image_key": keys, "label": label, "uri": uris[image], "opportunity": opportunity, **columns}
    schema = evidence_schema(tuple(rates))
    table = pa.table({f.name: pa.array(arrays[f.name]).cast(f.type) for f in schema}, schema=schema)
    return Web(SOURCES, table.filter(pa.array(asserted)), correct[asserted])


@pytest.fixture(scope="session")
def web() -> Web:
    return draw_web(20_000, seed=3)
