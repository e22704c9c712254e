"""Real copy-detection sets: which images are asked, among which they are sought, and which pairs are copies.

In: the folder of real data that is not part of this repository (photos/, eval_images/, near_duplicates/). Out: two
collections of pictures (photos; CIFAR-10) and the sets over them. Every set is sought among all pictures of its
collection, so that there is something to be wrong about even where a set has 5 pictures of its own. Pairs are
unordered. Pairs that nobody could call right or wrong (other frame of one scene, "very similar") are left out.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

Pair = tuple[str, str]
PHOTO_FOLDERS: Final = (
    "photos/imagenet_sample",
    "photos/caltech101",
    "photos/web_search_4queries",
    "eval_images/coco_train2017_128",
    "eval_images/voc2007_demo",
    "near_duplicates/caltech_faces",
    "near_duplicates/caltech_random_resize",
    "near_duplicates/imagededup_ukbench",
    "near_duplicates/jenssegers_forest",
    "near_duplicates/jenssegers_office_different",
    "near_duplicates/pdq_bridge_mods",
)
GROUP_SETS: Final = (
    "caltech_random_resize",
    "imagededup_ukbench",
    "jenssegers_forest",
    "jenssegers_office_different",
    "pdq_bridge_mods",
)
_SUFFIXES: Final = {".jpg", ".jpeg", ".png"}
_CIFAR: Final = "photos/cifar10"
_FACES: Final = "near_duplicates/caltech_faces"
_WEB: Final = "photos/web_search_4queries"
# Pairs above the listing's cut that it lacks; by eye the first two are crops, the third another frame.
_WEB_UNLISTED: Final = (("01270.jpg", "01288.jpg"), ("01182.jpg", "01192.jpg"), ("00794.jpg", "00828.jpg"))
# ciFAIR lists one partner of each test picture and no mirrored ones. These others of the pictures read by default are
# by eye copies of some picture, or may be; as distractors they would make right answers wrong.
_CIFAR_UNLISTED: Final = {
    *(f"test_{n:05d}.jpg" for n in (63, 297, 380, 1128)),
    *(f"train_{n:05d}.jpg" for n in (158, 455, 675, 926, 1681, 1686, 3039, 3859, 3922, 4044, 4382, 4936, 5186)),
    *(f"train_{n:05d}.jpg" for n in (5666, 5734, 5806, 5834, 5839, 6352, 6487, 7774, 8305, 8559, 8825, 8893, 9390)),
}


@dataclasses.dataclass(frozen=True)
class CopySet:
    """One question: which pictures of the collection show the same as one of `queries`?

    Attributes:
        name: of the folder of its truth.
        collection: "photos" or "cifar10".
        queries: picture names that are asked, sorted.
        references: picture names that they are sought among, sorted; may hold the queries.
        copies: the truth, (a, b) with a < b.
        ignored: pairs that count neither way, (a, b) with a < b.
    """

    name: str
    collection: str
    queries: tuple[str, ...]
    references: tuple[str, ...]
    copies: frozenset[Pair]
    ignored: frozenset[Pair]


def pair(a: str, b: str) -> Pair:
    """The unordered pair."""
    return (a, b) if a < b else (b, a)


def read_photos(data: Path) -> dict[str, bytes]:
    """Every photo of the collection, by its path under `data`; files that no decoder reads are among them."""
    found = (
        path for folder in PHOTO_FOLDERS for path in (data / folder).rglob("*") if path.suffix.lower() in _SUFFIXES
    )
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in sorted(found)}


def photo_sets(data: Path, photos: Mapping[str, bytes]) -> list[CopySet]:
    """The sets of photos; sets whose folder is not there are left out."""
    references = tuple(sorted(photos))
    sets = []
    if (data / _FACES / "pairs.csv").is_file():
        copies = {
            pair(f"{_FACES}/{row['original']}", f"{_FACES}/{row['cropped_copy']}")
            for row in _rows(data / _FACES / "pairs.csv")
        }
        sets.append(_set("caltech_faces", _under(photos, _FACES), references, copies))
    for name in GROUP_SETS:
        folder = f"near_duplicates/{name}"
        if (data / folder / "groups.csv").is_file():
            queries, copies = _groups(data / folder / "groups.csv", folder)
            among = references
            if name == "caltech_random_resize":  # their originals, unlisted
                among = tuple(name for name in references if not name.startswith("photos/caltech101/"))
            sets.append(_set(name, (query for query in queries if query in photos), among, copies))
    listing = data / "near_duplicates/web_search_natural/pairs.csv"
    if listing.is_file():
        judged = {pair(f"{_WEB}/{row['file_a']}", f"{_WEB}/{row['file_b']}"): row for row in _rows(listing)}
        similar = {
            key for key, row in judged.items() if row["verdict_by_eye"].startswith(("very similar", "uncertain"))
        }
        different = {key for key, row in judged.items() if row["verdict_by_eye"].startswith("different")}
        copies = set(judged) - similar - different
        similar |= {pair(f"{_WEB}/{a}", f"{_WEB}/{b}") for a, b in _WEB_UNLISTED}
        sets.append(_set("web_search_natural", _under(photos, _WEB), references, copies, similar))
    return sets


def read_cifar(data: Path, *, train: int, test: int) -> dict[str, bytes]:
    """CIFAR-10 pictures by file name: all judged ones, and others by index up to `train` and `test` of each half."""
    judged = {name for row in _cifair_rows(data) for name in (row["file_a"], row["file_b"])}
    wanted = {"train": train, "test": test}
    taken = {half: sum(name.startswith(half) for name in judged) for half in wanted}
    pictures: dict[str, bytes] = {}
    for name, content in _members(data / _CIFAR):
        half = name.partition("_")[0]
        if name in judged:
            pictures[name] = content
        elif taken[half] < wanted[half] and name not in _CIFAR_UNLISTED:
            taken[half] += 1
            pictures[name] = content
    return dict(sorted(pictures.items()))


def cifar_set(data: Path, pictures: Mapping[str, bytes]) -> CopySet:
    """All pictures against the test ones, as a benchmark is guarded. Copies within the training half nobody listed."""
    rows = _cifair_rows(data)
    copies = {pair(row["file_a"], row["file_b"]) for row in rows if row["judgment"] in "01"}
    # One partner was judged of each: what else the judged pictures are to each other nobody said.
    names = sorted({name for row in rows for name in (row["file_a"], row["file_b"])})
    unsure = set(itertools.combinations(names, 2)) - copies | {("test_03931.jpg", "train_08502.jpg")}  # by eye a copy
    references = tuple(name for name in sorted(pictures) if name.startswith("test"))
    return dataclasses.replace(_set("cifar10_cifair", pictures, references, copies, unsure), collection="cifar10")


def _cifair_rows(data: Path) -> list[dict[str, str]]:
    return _rows(data / "near_duplicates/cifar10_cifair/judged_pairs.csv")


def _members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.tar*")):
        with tarfile.open(path) as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isfile() else None
                if source is not None:
                    yield Path(member.name).name, source.read()


def _groups(path: Path, folder: str) -> tuple[list[str], set[Pair]]:
    """(pictures, pairs within a group) of a groups.csv; files marked undecodable are in neither."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in _rows(path):
        if row["mode"] != "undecodable":
            groups[row["group"]].append(f"{folder}/{row['file']}")
    pairs = {pair(a, b) for members in groups.values() for a, b in itertools.combinations(members, 2)}
    return [name for members in groups.values() for name in members], pairs


def _set(
    name: str, queries: Iterable[str], references: tuple[str, ...], copies: set[Pair], ignored: Iterable[Pair] = ()
) -> CopySet:
    return CopySet(name, "photos", tuple(sorted(queries)), references, frozenset(copies), frozenset(ignored))


def _under(photos: Mapping[str, bytes], folder: str) -> Iterator[str]:
    return (name for name in photos if name.startswith(f"{folder}/"))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as source:
        return list(csv.DictReader(source))
