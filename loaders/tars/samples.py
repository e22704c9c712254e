"""The samples of a tar: members that follow each other and share the name up to the first dot of the base name.

In: members. Out: `TarSample` with its image, and `Rejected` for what cannot be one, with the reason. Source: the
WebDataset convention.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from .scan import Lost, Member, ReadAt

IMAGE_ENDINGS: Final = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
MAX_LABEL_BYTES: Final = 1 << 20  # of a .cls or .json member
MAX_LABELS: Final = 10_000  # of one sample
MAX_LABEL_CHARS: Final = 512


class Part(NamedTuple):
    """A member of a sample: its ending (lower case), and where it lies."""

    ending: str
    member: Member


class TarSample(NamedTuple):
    """A sample's name and members, in the order of the tar."""

    name: str
    parts: tuple[Part, ...]

    def part(self, *endings: str) -> Member | None:
        """The first member with one of some endings."""
        return next((part.member for part in self.parts if part.ending in endings), None)


class Rejected(NamedTuple):
    """Something that is no sample: its name (or a byte range), the reason in a word, what was found."""

    name: str
    reason: str
    detail: str


def split_name(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its base name, and the rest in lower case."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def group_samples(members: Iterable[Member | Lost]) -> Iterator[TarSample | Rejected]:
    """The samples of a tar in order; what was lost between them comes as `Rejected`."""
    name: str | None = None
    parts: list[Part] = []
    for item in members:
        if isinstance(item, Lost):
            # The sample goes on behind it: only the member that was lost is missing in it.
            yield Rejected(f"bytes {item.start} to {item.stop}", item.reason, item.detail)
            continue
        stem, ending = split_name(item.name)
        if stem != name:
            if name is not None:
                yield TarSample(name, tuple(parts))
            name, parts = stem, []
        parts.append(Part(ending, item))
    if name is not None:
        yield TarSample(name, tuple(parts))


def image_of(sample: TarSample) -> Member | Rejected:
    """A sample's one image."""
    images = [part.member for part in sample.parts if part.ending in IMAGE_ENDINGS]
    if not images:
        found = ", ".join(part.ending for part in sample.parts)
        return Rejected(sample.name, "no_image", f"expected one of {', '.join(IMAGE_ENDINGS)}, found {found}")
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
        text = _text(sample, read_at, "cls")
        if text is not None and field is None:
            return [str(int(text))]
        text = _text(sample, read_at, "json")
        if text is None:
            return []
        found = _from_json(json.loads(text), field)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Rejected(sample.name, "bad_labels", f"{type(error).__name__}: {error}"[:200])
    if len(found) > MAX_LABELS or any(not 0 < len(label) <= MAX_LABEL_CHARS for label in found):
        return Rejected(
            sample.name, "bad_labels", f"expected at most {MAX_LABELS:,} labels of {MAX_LABEL_CHARS} letters"
        )
    return sorted(set(found))


def _text(sample: TarSample, read_at: ReadAt, ending: str) -> str | None:
    member = sample.part(ending)
    if member is None:
        return None
    if member.size > MAX_LABEL_BYTES:
        raise ValueError(f"{member.name}: {member.size:,} bytes, the cap is {MAX_LABEL_BYTES:,}")
    return read_at(member.size, member.offset).decode()


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
    return str(item)
