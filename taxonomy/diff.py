"""What changed between two hierarchies: two releases of one, a mended and an unmended file, a vocabulary and a part.

In: two `Taxonomy`. Out: a `Difference`. Categories are matched by id; one that is left over, by an alias of either
side. Names are compared as written.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from .hierarchy import Taxonomy


class Named(NamedTuple):
    """A category by id and name."""

    id: str
    name: str


class Changed(NamedTuple):
    """A field of a category that is not the same; `id` is that in b."""

    id: str
    field: str
    a: Any
    b: Any


class Moved(NamedTuple):
    """A category whose parents are not the same; ids as in b where b has the parent."""

    id: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


class NewId(NamedTuple):
    """A category that was matched by an alias: its ids in a and in b."""

    a: str
    b: str


class Merged(NamedTuple):
    """A category of one side whose id is only an alias on the other, where the category itself is matched already."""

    id: str
    into: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """What changed from a to b; every list is in order of the ids.

    Attributes:
        same: categories without any change.
        only_a: categories that b lacks.
        only_b: categories that a lacks.
        merged: categories of a that are part of another one in b.
        split: categories of b that are part of another one in a.
        new_ids: categories matched by an alias.
        renamed: the first name changed.
        moved: parents changed; a parent that only one side has counts.
        changed: definitions, synonyms or aliases changed.
    """

    same: int
    only_a: tuple[Named, ...]
    only_b: tuple[Named, ...]
    merged: tuple[Merged, ...]
    split: tuple[Merged, ...]
    new_ids: tuple[NewId, ...]
    renamed: tuple[Changed, ...]
    moved: tuple[Moved, ...]
    changed: tuple[Changed, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing changed."""
        return not any(getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "same")


def diff(a: Taxonomy, b: Taxonomy) -> Difference:
    """What changed from `a` to `b`."""
    match = _match(a, b)
    into_b, into_a = _labels(b), _labels(a)
    matched_b = set(match.values())
    left_a = [label for label in range(a.num_categories) if label not in match]
    left_b = [label for label in range(b.num_categories) if label not in matched_b]
    merged = {label: into_b[a.ids[label]] for label in left_a if a.ids[label] in into_b}
    split = {label: into_a[b.ids[label]] for label in left_b if b.ids[label] in into_a}
    counterpart = {**merged, **match}
    renamed, moved, changed = [], [], []
    for label_a, label_b in sorted(match.items(), key=lambda item: item[1]):
        if a.names[label_a] != b.names[label_b]:
            renamed.append(Changed(b.ids[label_b], "name", a.names[label_a], b.names[label_b]))
        move = _move(a, b, label_a, label_b, counterpart)
        if move.added or move.removed:
            moved.append(move)
        changed += _changes(a, b, label_a, label_b)
    touched = {item.id for item in (*renamed, *changed)} | {item.id for item in moved}
    new_ids = [NewId(a.ids[i], b.ids[j]) for i, j in sorted(match.items()) if a.ids[i] != b.ids[j]]
    touched |= {item.b for item in new_ids}
    return Difference(
        same=sum(b.ids[label] not in touched for label in match.values()),
        only_a=tuple(Named(a.ids[i], a.names[i]) for i in left_a if i not in merged),
        only_b=tuple(Named(b.ids[i], b.names[i]) for i in left_b if i not in split),
        merged=tuple(Merged(a.ids[i], b.ids[j]) for i, j in merged.items()),
        split=tuple(Merged(b.ids[i], a.ids[j]) for i, j in split.items()),
        new_ids=tuple(new_ids),
        renamed=tuple(renamed),
        moved=tuple(moved),
        changed=tuple(changed),
    )


def _labels(taxonomy: Taxonomy) -> dict[str, int]:
    """Ids and aliases -> label."""
    labels = {alias: label for label, aliases in enumerate(taxonomy.aliases) for alias in aliases}
    return labels | {category_id: label for label, category_id in enumerate(taxonomy.ids)}


def _match(a: Taxonomy, b: Taxonomy) -> dict[int, int]:
    """Label in a -> label in b, one to one: equal ids first, then an alias of either side."""
    by_id = {category_id: label for label, category_id in enumerate(b.ids)}
    match = {label: by_id[category_id] for label, category_id in enumerate(a.ids) if category_id in by_id}
    taken, into_b = set(match.values()), _labels(b)
    for label in range(a.num_categories):
        if label in match:
            continue
        found = (into_b.get(text) for text in (a.ids[label], *a.aliases[label]))
        free = next((other for other in found if other is not None and other not in taken), None)
        if free is not None:
            match[label] = free
            taken.add(free)
    return match


def _move(a: Taxonomy, b: Taxonomy, label_a: int, label_b: int, counterpart: dict[int, int]) -> Moved:
    before, gone = set(), []
    for parent in a.parents.of(label_a).tolist():
        if parent in counterpart:
            before.add(counterpart[parent])
        else:
            gone.append(a.ids[parent])
    after = set(b.parents.of(label_b).tolist())
    before.discard(label_b)  # a parent that was merged into the category itself
    added = tuple(b.ids[label] for label in sorted(after - before))
    removed = tuple(sorted([*gone, *(b.ids[label] for label in before - after)]))
    return Moved(b.ids[label_b], b.names[label_b], added, removed)


def _changes(a: Taxonomy, b: Taxonomy, label_a: int, label_b: int) -> list[Changed]:
    fields = {
        "definition": (a.definitions[label_a], b.definitions[label_b]),
        "synonyms": (a.synonyms[label_a], b.synonyms[label_b]),
        "aliases": (a.aliases[label_a], b.aliases[label_b]),
    }
    return [Changed(b.ids[label_b], field, old, new) for field, (old, new) in fields.items() if old != new]
