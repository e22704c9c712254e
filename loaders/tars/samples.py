"""The samples of a tar: members that follow each other and share the name up to the first dot of the base name.

In: members. Out: `TarSample`, its one image and its labels, or `Rejected` for what cannot be used, with the reason.
Source: the WebDataset convention.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from .scan import BLOCK, Lost, Member, ReadAt

IMAGE_ENDINGS: Final = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
MAX_LABEL_BYTES: Final = 1 << 20  # of a .cls or .json member
MAX_LABELS: Final = 10_000  # of one sample
MAX_LABEL_CHARS: Final = 512
_NAME: Final = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)")
_META: Final = re.compile(r"__[^/]*__($|/)")


class Part(NamedTuple):
    """A member of a sample: its ending as it is written, and where it lies."""

    ending: str
    member: Member


class TarSample(NamedTuple):
    """A sample's name and members, in the order of the tar.

    `beside_loss`: bytes were lost within it or next to it, so that a member of it may be among them.
    """

    name: str
    parts: tuple[Part, ...]
    beside_loss: bool = False

    @property
    def endings(self) -> frozenset[str]:
        """Of its members, in lower case."""
        return frozenset(part.ending.lower() for part in self.parts)

    def part(self, ending: str) -> Member | None:
        """The first member with an ending (lower case)."""
        return next((part.member for part in self.parts if part.ending.lower() == ending), None)


class Rejected(NamedTuple):
    """A sample that cannot be used: its name, the reason in a word, what was found."""

    name: str
    reason: str
    detail: str


def split_name(name: str) -> tuple[str, str] | None:
    """A member's name up to the first dot of its base name, and the rest; None where it belongs to no sample.

    As in webdataset, which passes over hidden files, names without an ending, and those that begin with `__NAME__`.
    """
    found = _NAME.fullmatch(name)
    return None if found is None or _META.match(name) else (found.group(1), found.group(2))


def group_samples(members: Iterable[Member | Lost]) -> Iterator[TarSample | Lost]:
    """The samples of a tar, and what was lost, each in order; members of no sample count as lost."""
    name: str | None = None
    parts: list[Part] = []
    beside = pending = False
    for item in members:
        if isinstance(item, Lost):
            # The sample goes on behind it: only the member that was lost is missing in it.
            beside = pending = True
            yield item
            continue
        split = split_name(item.name)
        if split is None:
            end = item.offset + -(-item.size // BLOCK) * BLOCK
            yield Lost(item.header, end, "no_sample", f"{item.name!r:.80}: a name of no sample, which is NAME.ENDING")
            continue
        if split[0] != name:
            if name is not None:
                yield TarSample(name, tuple(parts), beside)
            name, parts, beside = split[0], [], pending
        parts.append(Part(split[1], item))
        pending = False
    if name is not None:
        yield TarSample(name, tuple(parts), beside)


def image_of(sample: TarSample) -> Member | Rejected:
    """A sample's one image."""
    repeated = [ending for ending, n in Counter(part.ending.lower() for part in sample.parts).items() if n > 1]
    if repeated:
        return Rejected(sample.name, "repeated_member", f"several members with the ending {repeated[0]!r:.40}")
    images = [part.member for part in sample.parts if part.ending.lower() in IMAGE_ENDINGS]
    if not images:
        found = ", ".join(part.ending for part in sample.parts)
        return Rejected(sample.name, "no_image", f"expected one of {', '.join(IMAGE_ENDINGS)}, found {found:.80}")
    if len(images) > 1:
        return Rejected(sample.name, "several_images", ", ".join(member.name for member in images))
    return images[0]


def labels_of(sample: TarSample, read_at: ReadAt, field: str | None) -> list[str] | Rejected:
    """A sample's labels as text: of `.cls` (a number), or of its `.json`; none where it has neither.

    Args:
        sample: the sample.
        read_at: reads the tar.
        field: of the JSON, with a text, a number, or a list of these; None: `labels` as this project writes it, where
            it is there.
    """
    try:
        text = _text(sample, read_at, "cls") if field is None else None
        if text is not None:
            return [str(int(text))]
        text = _text(sample, read_at, "json")
        if text is None:
            return []
        found = _from_json(json.loads(text), field)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Rejected(sample.name, "bad_labels", f"{type(error).__name__}: {error}"[:200])
    if len(found) > MAX_LABELS or any(not 0 < len(label) <= MAX_LABEL_CHARS for label in found):
        limits = f"at most {MAX_LABELS:,} labels of 1 to {MAX_LABEL_CHARS} letters"
        return Rejected(sample.name, "bad_labels", f"expected {limits}")
    return sorted(set(found))


def damaged(sample: TarSample, usual: frozenset[str]) -> Rejected | None:
    """A sample beside lost bytes that lacks members which the others have: its labels may be among these bytes.

    Args:
        sample: the sample.
        usual: endings of most samples of the tar.
    """
    if not sample.beside_loss or not sample.endings < usual:
        return None
    missing = ", ".join(sorted(usual - sample.endings))
    return Rejected(sample.name, "damaged", f"bytes were lost beside it, and it lacks {missing:.80}")


def _text(sample: TarSample, read_at: ReadAt, ending: str) -> str | None:
    member = sample.part(ending)
    if member is None:
        return None
    if member.size > MAX_LABEL_BYTES:
        raise ValueError(f"{member.name}: {member.size:,} bytes, the cap is {MAX_LABEL_BYTES:,}")
    return read_at(member.size, member.offset).decode() if member.size else ""


def _from_json(value: Any, field: str | None) -> list[str]:
    if field is not None:
        found = value[field]
        return [_label(item) for item in (found if isinstance(found, list) else [found])]
    labels = value.get("labels")
    if not isinstance(labels, dict) or "asserted" not in labels:
        return []  # the JSON of another program, which says nothing that is known here
    return [_label(item["id"]) for kind in ("asserted", "inferred") for item in labels.get(kind, [])]


def _label(item: Any) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise TypeError(f"expected a text or a number as label, found {item!r:.60}")
    text = str(item)
    text.encode()  # a lone surrogate of "\\ud800" is a UnicodeEncodeError, which is a ValueError
    return text
