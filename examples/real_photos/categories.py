"""Names of classes to categories of the English WordNet nouns.

In: the hierarchy and a class's name. Out: the WordNet id, or None. In this order: the table of names that mean
something else than WordNet's readers would guess; the one category of that name; where several share it, the only
one that is an animal, a plant, food or a thing that people made. What is still open has no category.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import pyarrow as pa

from openjft.taxonomy import Taxonomy, ancestor_closure

# Looked up by hand, each with a look at the photos: plurals, parts, other spellings, and names of several things.
BY_HAND: Final[dict[str, str | None]] = {
    # Caltech-101
    "background google": None,  # clutter of no class
    "yin yang": None,  # WordNet has the principles, not the symbol
    "leopards": "n02128385",
    "motorbikes": "n03790512",
    "airplanes": "n02691156",
    "barrel": "n02795169",
    "bass": "n02565573",  # the fish
    "beaver": "n02363005",
    "binocular": "n02841315",
    "brain": "n05481095",
    "camera": "n02942699",
    "cannon": "n02950256",
    "car side": "n02958343",
    "ceiling fan": "n03271574",  # electric fan
    "chair": "n03001627",
    "cougar body": "n02125311",
    "cougar face": "n02125311",
    "crab": "n01976957",
    "crayfish": "n01985128",
    "crocodile head": "n01697178",
    "cup": "n03147509",
    "dolphin": "n02068974",
    "flamingo head": "n02007558",
    "garfield": "n06780678",  # cartoon: a drawing
    "hedgehog": "n01893825",
    "inline skate": "n04102037",
    "lamp": "n03636649",
    "lobster": "n01982650",
    "lotus": "n11717399",
    "menorah": "n02947818",  # candelabrum: those of seven and of nine branches are one class there
    "nautilus": "n01968897",
    "octopus": "n01970164",
    "panda": "n02510455",
    "pyramid": "n03743902",  # monument; the plain word is the solid and the fraud
    "revolver": "n04086273",
    "schooner": "n04147183",
    "sea horse": "n01456756",
    "snoopy": "n06780678",
    "strawberry": "n07745940",
    "tick": "n01776313",
    "water lilly": "n11714853",
    "wild cat": "n02124623",
    "wrench": "n04606574",
    # queries of the web search
    "cat": "n02121620",
    "dog": "n02084071",
    "monkey": "n02484322",
    "squirrel": "n02355227",
    # COCO
    "person": "n00007846",
    "car": "n02958343",
    "bus": "n02924116",
    "train": "n04468005",
    "boat": "n02858304",
    "bird": "n01503061",
    "horse": "n02374451",
    "sheep": "n02411705",
    "cow": "n01887787",
    "bear": "n02131653",
    "bench": "n02828884",
    "motorbike": "n03790512",
    "sports ball": "n02778669",
    "bowl": "n02881193",
    "sandwich": "n07695965",
}
# Roots of what a photo is usually of: animal, plant, artifact, food.
VISIBLE: Final = ("n00015388", "n00017222", "n00021939", "n00021265")
ANYTHING: Final = "n00002684"  # object: what every photo shows


class Categories:
    """Looks up names in a hierarchy and tells how categories stand to each other."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self.closure = ancestor_closure(taxonomy)

    @functools.cached_property
    def _senses(self) -> dict[str, list[int]]:
        senses: dict[str, list[int]] = {}
        for label, names in enumerate(zip(self.taxonomy.names, self.taxonomy.synonyms, strict=True)):
            for name in dict.fromkeys((names[0].casefold(), *(s.casefold() for s in names[1]))):
                senses.setdefault(name, []).append(label)
        return senses

    def find(self, name: str) -> str | None:
        """The id of the category that a class's name means; None where that is open."""
        name = name.replace("_", " ").casefold()
        if name in BY_HAND:
            found = BY_HAND[name]
            return found if found is None or found in self._known else None
        labels, _ = self.taxonomy.lookup_names(pa.array([name]))
        label = labels[0].as_py()
        if label is None:
            visible = [sense for sense in self._senses.get(name, []) if self._is_visible(sense)]
            if len(visible) != 1:
                return None
            label = visible[0]
        return self.taxonomy.ids[label]

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.taxonomy.ids)

    def _is_visible(self, label: int) -> bool:
        ids = self.taxonomy.ids
        return any(ids[above] in VISIBLE for above in self.closure.of(label).tolist())

    def known(self, category: str) -> bool:
        """Whether the hierarchy has this id."""
        return category in self._known

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - one object for a run
    def ancestors(self, category: str) -> frozenset[str]:
        """Ids of all categories above one."""
        above = self.closure.of(self.taxonomy.index_of(category))
        return frozenset(self.taxonomy.ids[label] for label in above.tolist())

    def related(self, a: str, b: str) -> bool:
        """Whether two categories are the same, or one lies above the other."""
        return a == b or a in self.ancestors(b) or b in self.ancestors(a)

    def nearest(self, category: str, among: list[str], count: int) -> list[str]:
        """Unrelated categories that share the deepest ancestor with one: siblings and cousins, nearest first."""
        depth, label = self.taxonomy.depth(), self.taxonomy.index_of
        mine = self.ancestors(category)

        def shared(other: str) -> int:
            common = mine & self.ancestors(other)
            return max((int(depth[label(c)]) for c in common), default=-1)

        others = [other for other in among if not self.related(category, other)]
        order = np.argsort([-shared(other) for other in others], kind="stable")
        return [others[i] for i in order[:count].tolist()]
