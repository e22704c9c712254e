"""Groups of real photos against their known copies.

Run: python benchmarks/check_duplicates.py FOLDER [weights.onnx]

FOLDER holds near_duplicates/ and photos/ as in the work's shared data: copies whose groups are known
(`caltech_random_resize`, `imagededup_ukbench`, `pdq_bridge_mods`: groups.csv), each set alone and all of them among
other photos (in which the original of a copy may be), pairs judged by eye in web search results, and what cells lose
on CIFAR. Images pass through the stored form of a build (340 pixels, squashed, JPEG 90; CIFAR as it is), then through
the stages; descriptors: dct and, with weights, the ONNX network of 224 pixels.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import itertools
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from openjft.dedup import EmbedderSpec, default_remove_similarity, embeddings_table, make_embedder
from openjft.dedup.bands import perceptual_hash
from openjft.loaders.decoding import DecodeError, decode_image, decode_stored_jpeg, encode_jpeg, resize_image
from openjft.pipelines.duplicates import CellsStage, DuplicatesStage, EdgesStage, MembersStage
from openjft.pipelines.engine import Records, run_unit, start_stage
from openjft.pipelines.schema import CATALOG, KEY_TYPE
from openjft.pipelines.storage import Store, bucket_file

CIFAR = 16_000  # images
SETS = ("caltech_random_resize", "imagededup_ukbench", "pdq_bridge_mods")
Known = dict[Path, str]


@functools.cache
def stored(path: Path) -> tuple[np.ndarray, int] | None:
    """Pixels as a build stores them, and the original's number of pixels; None where it does not decode."""
    try:
        image = decode_image(path.read_bytes(), max_pixels=50_000_000, target=340)
    except DecodeError:
        return None
    small = decode_stored_jpeg(encode_jpeg(resize_image(image.pixels, size=340, mode="squash"), quality=90))
    return small, image.original_width * image.original_height


def group(paths: list[Path], spec: EmbedderSpec, threshold: float) -> dict[Path, Path]:
    """Representative of each image that has another one, by the stages."""
    images = {path: found for path in paths if (found := stored(path)) is not None}
    order = sorted(images, key=lambda path: hashlib.sha256(str(path).encode()).digest()[:16])
    keys = pa.array([hashlib.sha256(str(path).encode()).digest()[:16] for path in order], KEY_TYPE)
    pixels = [images[path][0] for path in order]
    vectors = make_embedder(spec).embed(pixels).astype(np.float16)
    hashes = pa.array([perceptual_hash(image) for image in pixels], pa.uint64())
    rows = [
        {"image_key": key, "uri": "u", "status": "ok", "attempts": 1, "original_width": images[path][1],
         "original_height": 1, "sha256": hashlib.sha256(path.read_bytes()).digest()}
        for key, path in zip(keys.to_pylist(), order, strict=True)
    ]  # fmt: skip
    found = run_stages(pa.Table.from_pylist(rows, CATALOG), embeddings_table(keys, vectors, hashes), threshold, None)
    path_of = dict(zip(keys.to_pylist(), order, strict=True))
    return {path_of[key]: path_of[leader] for key, leader in found.items()}


def photo_cells(folder: Path) -> None:
    """What cells lose on real photos: CIFAR-10 images by dct, of which every twentieth is also there as a copy."""
    images = []
    for name in sorted((folder / "photos/cifar10").glob("*.tar.gz")):
        with tarfile.open(name) as tar:
            images += [data.read() for m in tar if m.name.endswith(".jpg") and (data := tar.extractfile(m)) is not None]
    pixels = [decode_stored_jpeg(data) for data in images[:CIFAR]]
    # A copy: shrunk to 24 pixels, back, and recompressed.
    copies = [resize_image(resize_image(p, size=24, mode="squash"), size=32, mode="squash") for p in pixels[::20]]
    pixels += [decode_stored_jpeg(encode_jpeg(copy, quality=50)) for copy in copies]
    embedder = make_embedder(EmbedderSpec())
    parts = [embedder.embed(pixels[i : i + 256]) for i in range(0, len(pixels), 256)]
    names = [hashlib.sha256(str(i).encode()).digest()[:16] for i in range(len(pixels))]
    order = sorted(range(len(pixels)), key=lambda i: names[i])
    keys = pa.array([names[i] for i in order], KEY_TYPE)
    hashes = [perceptual_hash(pixels[i]) for i in order]
    vectors = np.concatenate(parts)[order].astype(np.float16)
    side = [32 if i < len(pixels) - len(copies) else 24 for i in order]
    rows = [
        {"image_key": key, "uri": "u", "status": "ok", "attempts": 1, "original_width": width, "original_height": 1,
         "sha256": hashlib.sha256(key).digest()}
        for key, width in zip(keys.to_pylist(), side, strict=True)
    ]  # fmt: skip
    catalog = pa.Table.from_pylist(rows, CATALOG)
    planted = [(names[20 * i], names[len(pixels) - len(copies) + i]) for i in range(len(copies))]
    print(f"{len(pixels):,} CIFAR images by dct, {len(copies):,} of them copies of others")
    for threshold, cells, bands in itertools.product((0.85, 0.70), (1, 8, 64), (True, False)):
        told = pa.array(hashes if bands else [None] * len(hashes), pa.uint64())
        found = run_stages(catalog, embeddings_table(keys, vectors, told), threshold, cells)
        together = sum(found.get(a, a) == found.get(b, b) for a, b in planted)
        left_out = sum(key != group for key, group in found.items())
        print(
            f"  at {threshold}, {cells} cells{'' if bands else ', no bands'}: {together:,} copies in the group of "
            f"their original, {left_out:,} images left out"
        )


def run_stages(catalog: pa.Table, embeddings: pa.Table, threshold: float, cells: int | None) -> dict[bytes, bytes]:
    """Representative of each image of one bucket that is in a group, by the stages."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write_table(bucket_file("catalog", 0, 1), catalog)
        store.write_table(bucket_file("embeddings", 0, 1), embeddings)
        for stage in (
            CellsStage(cells, 17, 1),
            EdgesStage(threshold, 1),
            MembersStage(threshold, 1),
            DuplicatesStage("keep-largest", 1),
        ):
            start_stage(stage, store, "check")
            stage.prepare(store)
            run_unit(stage, 0, store, "check")
            records = Records(stage, store, "check")
            records.refresh()
            stage.finish(store, records.total())
        table = store.read_table(bucket_file("duplicates", 0, 1))
    return dict(zip(table["image_key"].to_pylist(), table["group"].to_pylist(), strict=True))


def known_groups(folder: Path) -> Known:
    """Group of each file of a set."""
    with (folder / "groups.csv").open(newline="") as source:
        return {folder / row["file"]: f"{folder.name}/{row['group']}" for row in csv.DictReader(source)}


def compare(known: Known, found: dict[Path, Path]) -> str:
    """Groups that came out exactly, and pairs (image, representative)."""
    true, made = defaultdict(set), defaultdict(set)
    for path, name in known.items():
        true[name].add(path)
    for path, leader in found.items():
        made[leader].add(path)
    truth = {frozenset(g) for g in true.values() if len(g) > 1}
    exact = {frozenset(g) for g in made.values()} & truth
    right = sum(path != leader and known.get(path, path) == known.get(leader, leader) for path, leader in found.items())
    wrong = sum(path != leader for path in found for leader in (found[path],)) - right
    redundant = sum(len(g) - 1 for g in truth)
    return f"{len(exact)} of {len(truth)} groups exactly; {right} of {redundant} copies joined, {wrong} joined wrongly"


def web_search(folder: Path, spec: EmbedderSpec, threshold: float) -> None:
    photos = sorted((folder / "photos/web_search_4queries").glob("*.jpg"))
    found = group(photos, spec, threshold)
    by_name = {path.name: leader for path, leader in found.items()}
    with (folder / "near_duplicates/web_search_natural/pairs.csv").open(newline="") as source:
        pairs = list(csv.DictReader(source))
    joined: dict[str, list[bool]] = defaultdict(list)
    for row in pairs:
        a, b = by_name.get(row["file_a"]), by_name.get(row["file_b"])
        joined[row["verdict_by_eye"]].append(a is not None and a == b)
    dropped = sum(path != leader for path, leader in found.items())
    told = ", ".join(f"{verdict}: {sum(hits)} of {len(hits)}" for verdict, hits in sorted(joined.items()))
    print(f"  web search, {len(photos)} photos: {len(set(found.values()))} groups, {dropped} left out; {told}")


def main(folder: Path, weights: str | None) -> None:
    network = EmbedderSpec(
        model="onnx", weights=weights, input_size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), output="embedding"
    )
    runs = [(EmbedderSpec(), threshold) for threshold in (0.70, 0.65, 0.75)]
    if weights:
        runs += [(network, threshold) for threshold in (0.80, default_remove_similarity(network), 0.90)]
    sets = {name: known_groups(folder / "near_duplicates" / name) for name in SETS}
    others = sorted((folder / "photos/caltech101").rglob("*.jpg"))[::6]
    for spec, threshold in runs:
        print(f"{spec.model} at {threshold}")
        for name, known in sets.items():
            print(f"  {name}, {len(known)} files: {compare(known, group(list(known), spec, threshold))}")
        whole = {path: name for known in sets.values() for path, name in known.items()}
        found = group([*whole, *others], spec, threshold)
        mine = {path: leader for path, leader in found.items() if path in whole or leader in whole}
        print(f"  all of them among {len(others):,} other photos: {compare(whole, mine)}")
        web_search(folder, spec, threshold)
    photo_cells(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
