"""WebDataset: an image for each sample of the tars; ids are the samples' keys.

`root` is a tar, a pattern (`name-{000000..000009}.tar`, `name-*.tar`) or a folder of tars (with `split` one below it).
Members are of one sample when they are neighbours and have the same name up to the first dot of the file name. Its
image is the member with an image ending; of several (`a.jpg`, `a.seg.png`) that with a single ending, or with the one
that the configuration names. Samples without an image are no part of the set.
"""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import EvalSetError
from .spec import IMAGE_ENDINGS, EvalSetSpec, Item, Layout, Span, below, some, where
from .tars import TarMember, is_packed, read_members

MAX_TARS: Final = 100_000
MAX_IMAGES: Final = 10_000_000
_ENDINGS: Final = (".tar", ".tar.gz", ".tgz")
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})")


def _read(spec: EvalSetSpec) -> list[Item]:
    found: list[Item] = []
    for tar in _tars(spec):
        try:
            packed = is_packed(tar)
            found += _images(spec, tar, packed)
        except OSError as error:
            raise EvalSetError(f"{where(spec)}: {tar}: could not be read: {error}") from error
        except EvalSetError as error:
            raise EvalSetError(f"{where(spec)}: {error}") from error
        if len(found) > MAX_IMAGES:
            raise EvalSetError(f"{where(spec)}: expected at most {MAX_IMAGES:,} images, found more up to {tar}")
    return found


# -- which tars ----------------------------------------------------------------------------------------------


def _tars(spec: EvalSetSpec) -> list[Path]:
    root = Path(spec.root)
    if root.is_file():
        return [root]
    if root.is_dir():
        folder = root if spec.split is None else below(spec, root, spec.split)
        found = sorted(p for p in folder.glob("*") if p.name.endswith(_ENDINGS) and not p.name.startswith("."))
        if not found:
            raise EvalSetError(f"{where(spec)}: expected tars ({', '.join(_ENDINGS)}) in {folder}, found none")
        return found
    names = list(itertools.islice(_expand(spec, spec.root), MAX_TARS + 1))
    if len(names) > MAX_TARS:
        raise EvalSetError(f"{where(spec)}: root: expected at most {MAX_TARS:,} tars, found more in {spec.root}")
    if not _BRACES.search(spec.root):
        names = sorted(glob.glob(spec.root))  # noqa: PTH207  # of an absolute pattern, which Path.glob refuses
        if not names:
            raise EvalSetError(
                f"{where(spec)}: root: expected a tar, a folder of tars or a pattern, found none at {root}"
            )
    missing = [name for name in names if not Path(name).is_file()]
    if missing:
        raise EvalSetError(
            f"{where(spec)}: root: {len(missing):,} of the {len(names):,} tars of {spec.root} are missing: "
            f"{some(missing)}"
        )
    return [Path(name) for name in names]


def _expand(spec: EvalSetSpec, pattern: str) -> Iterator[str]:
    """The names that braces stand for: {000..127} counts with leading zeros, {a,b} lists."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    text = match.group(1)
    if span := _RANGE.fullmatch(text):
        first, last = span.groups()
        if int(first) > int(last):
            raise EvalSetError(f"{where(spec)}: root: expected a rising range, found {{{text}}}")
        width = len(first) if first.startswith("0") else 0
        parts: Iterator[str] = (f"{i:0{width}d}" for i in range(int(first), int(last) + 1))
    elif "," in text:
        parts = iter(text.split(","))
    else:
        raise EvalSetError(f"{where(spec)}: root: expected {{000000..000009}} or {{a,b}}, found {{{text}}}")
    for part in parts:
        for rest in _expand(spec, pattern[match.end() :]):
            yield pattern[: match.start()] + part + rest


# -- which members -------------------------------------------------------------------------------------------


def _images(spec: EvalSetSpec, tar: Path, packed: bool) -> Iterator[Item]:
    for key, members in itertools.groupby(read_members(tar, packed=packed), lambda member: _key(member.name)):
        image = _image(spec, tar, key, list(itertools.islice(members, 1_000)))
        if image is not None:
            yield Item(key, f"{tar}!{image.name}", Span(str(tar), image.offset, image.size, packed))


def _key(name: str) -> str:
    folder, slash, file = name.removeprefix("./").rpartition("/")
    return folder + slash + file.partition(".")[0]


def _image(spec: EvalSetSpec, tar: Path, key: str, members: list[TarMember]) -> TarMember | None:
    """The image of a sample; files such as ._x.jpg, which macOS adds, have the empty key and are none."""
    if not PurePosixPath(key).name or key.endswith("/"):
        return None
    images = [m for m in members if PurePosixPath(m.name).suffix.lower() in IMAGE_ENDINGS]
    if spec.images is not None:
        wanted = "." + spec.images.lower().lstrip(".")
        images = [m for m in images if m.name.lower().removeprefix("./")[len(key) :] == wanted]
    elif len(images) > 1:
        images = [m for m in images if PurePosixPath(m.name).name.count(".") == 1] or images
    if len(images) > 1:
        raise EvalSetError(
            f"{tar}: sample {key!r}: expected one image, found {some(m.name for m in images)}; name the ending of "
            "the one that counts in `images`"
        )
    return images[0] if images else None


LAYOUT: Final = Layout(read=_read)
