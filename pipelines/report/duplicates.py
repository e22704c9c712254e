"""The report on duplicates inside the training set: how many images show one picture, and the largest groups.

In: `members/_groups.json`, the account, `members/groups/`. Out: facts, a section and a gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjft.pipelines.duplicates.files import GROUPS_FOLDER, SUMMARY_FILE
from openjft.pipelines.schema import KEY, KEY_TYPE
from openjft.pipelines.storage import Store, bucket_file

from .figures import many, share
from .page import Gallery, Picture, Section, TableView

_SHOWN: Final = 6  # pictures of a group
_READ_BUCKETS: Final = 64  # members are looked for in so many at most
_BANDS: Final = ((2, 2), (3, 5), (6, 20), (21, 100), (101, None))


def duplicate_facts(
    store: Store, account: Sequence[Mapping[str, Any]], policy: str, *, largest: int
) -> dict[str, Any] | None:
    """What was grouped and what was left out, as JSON values; None before the stage has run."""
    if not store.exists(SUMMARY_FILE):
        return None
    summary: dict[str, Any] = store.read_json(SUMMARY_FILE)
    rows = {row["stage"]: row for row in account}
    decided, compared = (rows.get(stage, {}) for stage in ("duplicates", "edges"))
    counters = compared.get("counters", {})
    return summary | {
        "policy": policy,
        "of_images": decided.get("rows_in", 0),
        "dropped": sum(decided.get("rejects", {}).values()),
        "largest": summary["largest"][:largest],
        "clumped_cells": counters.get("clumped_cells", 0),
        "crowded_blocks": counters.get("crowded_blocks", 0),
    }


def duplicates_section(facts: Mapping[str, Any] | None, gallery: Gallery | None) -> Section | None:
    """The section; None before the stage has run."""
    if not facts:
        return None
    text = (
        f"{many(facts['groups'], 'group', 'groups')} of images of different addresses show one picture: "
        f"{share(facts['images'], facts['of_images'])} images, {facts['exact']:,} byte for byte like their group's "
        f"largest image and {facts['near']:,} similar to it ({facts['min_similarity']:.3f} or more). By the policy "
        f"{facts['policy']}, {facts['dropped']:,} were left out. {many(facts['failures'], 'image', 'images')} hung "
        "together with a group through others and were not similar enough to its largest image: these stand apart."
    )
    if facts["clumped_cells"] or facts["crowded_blocks"]:
        text += (
            f" {many(facts['clumped_cells'], 'cell was', 'cells were')} too full to compare all with all, and "
            f"{many(facts['crowded_blocks'], 'band', 'bands')} of hashes held too many plain pictures: there only the "
            "most important images were compared, or equal hashes joined."
        )
    rows = []
    for low, high in _BANDS:
        number = sum(n for size, n in facts["sizes"] if size >= low and (high is None or size <= high))
        if number:
            name = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            rows.append((name, f"{number:,}"))
    tables = [TableView(("images of a group", "groups"), rows, frozenset({1}), "Groups by size")] if rows else []
    title = "Duplicates inside the training set"
    return Section("duplicates", title, text, tables=tables, galleries=[gallery] if gallery else [])


def duplicates_gallery(
    facts: Mapping[str, Any] | None,
    store: Store,
    num_buckets: int,
    thumbnails: Callable[[Sequence[bytes]], Mapping[bytes, str]],
    n: int,
) -> Gallery | None:
    """The largest groups, their representative first.

    Args:
        facts: of `duplicate_facts`.
        store: the build's folder.
        num_buckets: of the build.
        thumbnails: the pictures that there are of some keys.
        n: groups to show.
    """
    if not facts or not facts["largest"] or not n:
        return None
    wanted = [bytes.fromhex(group["group"]) for group in facts["largest"][:n]]
    members = _members(store, num_buckets, wanted)
    pictures = thumbnails([key for keys in members.values() for key in keys])
    shown = []
    for key, group in zip(wanted, facts["largest"], strict=False):
        images = [pictures[member] for member in members[key] if member in pictures]
        if images:
            shown.append(Picture(images, many(group["images"], "image", "images"), [f"largest: {key.hex()}"]))
    text = "The largest groups; of each the image that stands for it, and some of the others."
    return Gallery("Largest groups", shown, text, wide=True) if shown else None


def _members(store: Store, num_buckets: int, groups: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    """Some images of each group, the representative first; of the first buckets and those of the representatives."""
    found = {key: [key] for key in groups}
    wanted = pa.array(groups, KEY_TYPE).cast(pa.binary())
    for bucket in range(min(num_buckets, _READ_BUCKETS)):
        path = bucket_file(GROUPS_FOLDER, bucket, num_buckets)
        if not store.exists(path):
            continue
        table = store.read_table(path, [KEY, "group"])
        mine = np.asarray(pc.is_in(table["group"].cast(pa.binary()), value_set=wanted).to_numpy(), np.bool_)
        for row in table.filter(pa.array(mine)).to_pylist():
            if row[KEY] != row["group"] and len(found[row["group"]]) < _SHOWN:
                found[row["group"]].append(row[KEY])
    return found
