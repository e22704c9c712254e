"""The data card: `README.md` of a dataset, so that a folder found on a disk explains itself.

In: the manifest. Out: Markdown without times and places: equal datasets give equal cards.
"""

from __future__ import annotations

from .manifest import Manifest
from .schema import shard_name


def data_card(manifest: Manifest) -> str:
    """Markdown: what this is, how to read it, how to check it."""
    last = max(manifest.num_shards - 1, 0)
    image = manifest.image
    if image.square is not None:
        sides = f"{image.square} x {image.square} pixels"
    else:
        sides = f"{image.min_width} to {image.max_width} pixels wide, {image.min_height} to {image.max_height} high"
    urls = f"shards/{manifest.name}-{{000000..{last:06d}}}.tar"
    return _CARD.format(
        name=manifest.name,
        samples=f"{manifest.num_samples:,}",
        shards=f"{manifest.num_shards:,}",
        categories=f"{manifest.num_categories:,}",
        asserted=f"{manifest.asserted_labels:,}",
        inferred=f"{manifest.inferred_labels:,}",
        negatives=_negatives(manifest.verified_negatives),
        sides=sides,
        mode=image.mode,
        urls=urls,
        first=shard_name(manifest.name, 0),
        account=_account(manifest),
    )


def _negatives(count: int) -> str:
    if not count:
        return ""
    return (
        f"\n- People who saw the images denied {count:,} labels: these *verified negatives* and all categories below "
        "them\n  are absent (`negatives` in the index and in `KEY.json`)."
    )


def _account(manifest: Manifest) -> str:
    if not manifest.stages:
        return ""
    lines = ["", "## What became of every row", "", "| stage | rows | in | out | rejected |", "|---|---|---|---|---|"]
    for s in manifest.stages:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(s.rejects.items()) if count) or "-"
        lines.append(f"| {s.stage} | {s.rows} | {s.rows_in:,} | {s.rows_out:,} | {reasons} |")
    return "\n".join([*lines, ""])


_CARD = """# {name}

{samples} images with {asserted} asserted and {inferred} inferred labels of {categories} categories, in {shards} shards.
Made with OpenJFT (`pip install openjft`). The images belong to their owners; `uri` says where each came from.

- JPEG, {sides} (resize mode `{mode}`).
- A label is *asserted* when evidence for it passed the filter, *inferred* when it is an ancestor of an asserted one;
  `from` says of which.{negatives}
- `label` is a dense number; its external id and name stand in `taxonomy/vocabulary.parquet`, the hierarchy in
  `taxonomy/edges.parquet`, how many images each category has in `class_counts.parquet`.
- `shards/*.tar` are WebDataset tars: `KEY.jpg` and `KEY.json`. Beside each lies an index (Parquet) with the offset,
  size and sha256 of each JPEG and its labels, so a reader can seek.
- Keys are hashes of the images' addresses and samples are in key order: a prefix of the shards is a uniform sample.
- `config.json` is the configuration, `manifest.json` holds size and sha256 of every file.
{account}
## Reading it

```python
from openjft.loaders import Dataset, Loader

loader = Loader(Dataset.open("."), batch_size=256, seed=0)
for batch in loader.epoch(0):
    batch.images  # (n, h, w, 3) uint8; label i of image j: batch.label_values[batch.label_offsets[j] + i]
```

Any reader of WebDataset tars will do as well:

```python
import webdataset as wds

for sample in wds.WebDataset("{urls}", shardshuffle=False).decode("pil"):
    sample["jpg"], [item["id"] for item in sample["json"]["labels"]["asserted"]]
```

## Checking it

`openjft verify .` compares every file with the manifest and names the first thing wrong.
"""
