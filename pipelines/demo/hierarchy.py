"""The demo's categories: a small hierarchy that is meaningful to look at, and how each leaf is drawn.

Out: 21 inner categories and 56 leaves, written as CSV `id,name,synonyms,definition,parents` ('|' between several). Two
categories have two parents: a fruit is food and of a plant, a seaplane an aircraft and a watercraft. Ten leaves are
polysemous: their name has a second, wrong visual meaning, which is another leaf's look (METHODS.md section 6). Those
that share a name have a definition, by whose words a text tells which one it means.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# id: parents. The name is the id with blanks for underscores unless `_NAMES` says otherwise.
_INNER: Final[Mapping[str, tuple[str, ...]]] = {
    "thing": (),
    "animal": ("thing",),
    "mammal": ("animal",),
    "bird": ("animal",),
    "sea_creature": ("animal",),
    "insect": ("animal",),
    "plant": ("thing",),
    "tree": ("plant",),
    "flower": ("plant",),
    "food": ("thing",),
    "fruit": ("food", "plant"),
    "dish": ("food",),
    "artifact": ("thing",),
    "vehicle": ("artifact",),
    "land_vehicle": ("vehicle",),
    "watercraft": ("vehicle",),
    "aircraft": ("vehicle",),
    "device": ("artifact",),
    "toy": ("artifact",),
    "building": ("artifact",),
    "landform": ("thing",),
}
_NAMES: Final[Mapping[str, str]] = {
    "crane_bird": "crane (bird)",
    "crane_machine": "crane (machine)",
    "bat_animal": "bat (animal)",
    "bat_sports": "bat (baseball)",
    "mouse_animal": "mouse (animal)",
    "mouse_device": "mouse (computer)",
    "kite_bird": "kite (bird)",
    "kite_toy": "kite (toy)",
}
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "cat": ("kitten",),
    "dog": ("puppy",),
    "horse": ("pony",),
    "mouse_animal": ("field mouse", "house mouse"),
    "bat_animal": ("fruit bat",),
    "crane_bird": ("sandhill crane", "whooping crane"),
    "kite_bird": ("red kite",),
    "duck": ("mallard",),
    "parrot": ("macaw",),
    "fish": ("goldfish", "parrotfish", "butterflyfish", "catfish", "sea horse"),
    "starfish": ("star fish", "sea star"),
    "jellyfish": ("jelly fish",),
    "ladybird": ("ladybug",),
    "bee": ("honeybee", "bumblebee"),
    "pine": ("pine tree",),
    "palm": ("palm tree",),
    "rose": ("dog rose",),
    "cake": ("gateau",),
    "car": ("automobile", "sports car"),
    "bicycle": ("bike", "mountain bike"),
    "train": ("locomotive",),
    "sailing_boat": ("sailboat",),
    "ship": ("steamship", "ocean liner"),
    "seaplane": ("floatplane",),
    "airplane": ("aeroplane", "airliner"),
    "balloon": ("hot-air balloon",),
    "rocket": ("space ship", "rocket ship"),
    "mouse_device": ("computer mouse",),
    "clock": ("alarm clock",),
    "phone": ("mobile phone", "smartphone"),
    "crane_machine": ("tower crane",),
    "bat_sports": ("baseball bat",),
    "house": ("cottage",),
    "castle": ("fortress",),
    "mountain": ("mountain peak",),
}
_DEFINITIONS: Final[Mapping[str, str]] = {
    "crane_bird": "large wading bird with a long neck and long legs that builds its nest in marshes",
    "crane_machine": "machine on a construction site that lifts heavy loads with a hook on a cable",
    "bat_animal": "flying mammal that hunts at night and sleeps in caves",
    "bat_sports": "wooden club that a baseball player hits with",
    "mouse_animal": "small rodent with a long tail that gnaws and lives in fields",
    "mouse_device": "thing with buttons beside the keyboard that moves the pointer of a computer",
    "kite_bird": "bird with a forked tail and long wings that soars and looks for prey",
    "kite_toy": "frame with paper or cloth on it that flies in the wind on a long string",
}

# leaf: (parents, home scene, how many of it stand in a picture, palette a b c d). Glyphs are in `glyphs.py`.
_LEAVES: Final[Mapping[str, tuple[str, str, int, str]]] = {
    "dog": ("mammal", "meadow", 1, "b0793f 7a4f24 e8cfa4"),
    "cat": ("mammal", "room", 1, "e0892c a85c14 fff0dd"),
    "horse": ("mammal", "meadow", 1, "6b3a20 2e1a10 9b5c38"),
    "elephant": ("mammal", "desert", 1, "8b93a0 6d7580 f2efe4"),
    "jaguar": ("mammal", "forest", 1, "e3b04b 3a2610 f6e3b4"),
    "mouse_animal": ("mammal", "room", 2, "a79d9a e9a7a7 7d7371"),
    "bat_animal": ("mammal", "night", 3, "4a3550 2a1c30 c9a0d0"),
    "owl": ("bird", "night", 1, "8a6239 d9b98a f3c623"),
    "duck": ("bird", "lake", 2, "f2d21c f08a12 2d7a46"),
    "parrot": ("bird", "forest", 1, "d9202b 1d62c9 f4c41a"),
    "crane_bird": ("bird", "lake", 1, "f4f4f0 c9252b 2b2b30"),
    "kite_bird": ("bird", "sky", 1, "8c4a22 e7d3b3 3a2314"),
    "penguin": ("bird", "snow", 2, "22262e f6f6f2 f2a516"),
    "fish": ("sea_creature", "underwater", 3, "f47b20 ffffff 1b1b1b"),
    "octopus": ("sea_creature", "underwater", 1, "b0309a e58ad2 5c1250"),
    "jellyfish": ("sea_creature", "underwater", 2, "f3b6e4 c46fd0 ffe9ff"),
    "starfish": ("sea_creature", "beach", 2, "e5482d f7a072 8f1f10"),
    "butterfly": ("insect", "meadow", 2, "2f6fe0 f3d33c 1a1a1a"),
    "ladybird": ("insect", "meadow", 2, "d81e1e 161616 ffffff"),
    "bee": ("insect", "meadow", 3, "f2b90f 1f1a10 dfeaf2"),
    "pine": ("tree", "snow", 3, "1e5f3a 5a3a22 2f8050"),
    "palm": ("tree", "beach", 2, "2f9e44 8a5a2b 6b4420"),
    "sunflower": ("flower", "meadow", 2, "f7c815 5b3414 3f8a2e"),
    "tulip": ("flower", "meadow", 4, "e0336b 3f9a3a f58aae"),
    "rose": ("flower", "table", 2, "b3122b 2c6b2f e04a5e"),
    "cactus": ("plant", "desert", 2, "3f9152 2a6b3a f06fa0"),
    "apple": ("fruit", "table", 3, "cf2027 4c8c2b 6b3e1e"),
    "banana": ("fruit", "table", 2, "f6d743 8a6a14 c9a71c"),
    "orange": ("fruit", "table", 3, "f58a1f 4c8c2b d96d0c"),
    "cherry": ("fruit", "table", 3, "9c1030 4f7f2c e0506a"),
    "pizza": ("dish", "table", 1, "e8b54d c9341f a86a28"),
    "cake": ("dish", "table", 1, "f4a6c0 fff3e6 8a4b2a"),
    "ice_cream": ("dish", "beach", 2, "f7c6d9 d9a35b 9be0c8"),
    "car": ("land_vehicle", "city", 1, "d42a2a 9fd0e8 222222"),
    "bus": ("land_vehicle", "city", 1, "f3b515 bfe3f5 333333"),
    "bicycle": ("land_vehicle", "city", 1, "1f8a8a 222222 8a5a2b"),
    "train": ("land_vehicle", "meadow", 1, "1f6b3a d9c27a 2a2a2a"),
    "sailing_boat": ("watercraft", "lake", 2, "fafafa 8a4b22 d63c3c"),
    "ship": ("watercraft", "lake", 1, "2c3e63 e9e9e9 c93a2a"),
    "seaplane": ("aircraft|watercraft", "lake", 1, "f0e442 d55e00 ffffff"),
    "airplane": ("aircraft", "sky", 1, "f1ead8 3b6fb5 d8742c"),
    "balloon": ("aircraft", "sky", 2, "d83fa0 f7d33c 8a5a2b"),
    "rocket": ("aircraft", "night", 1, "eceff4 d8342c f5a11a"),
    "mouse_device": ("device", "desk", 1, "dfe3e8 7d8794 2f353d"),
    "clock": ("device", "room", 1, "f7f3e8 2b2b2b a8742e"),
    "phone": ("device", "desk", 1, "20242c 4fc3f7 f06292"),
    "lamp": ("device", "room", 1, "f8e08a 6b6f7a c98f2e"),
    "crane_machine": ("device", "city", 1, "f2a900 55585e 2f3136"),
    "ball": ("toy", "beach", 2, "e53935 ffffff 1e88e5"),
    "bat_sports": ("toy", "stadium", 1, "c98d4e 7a4b20 f5f5f5"),
    "kite_toy": ("toy", "sky", 2, "e91e63 00acc1 ffd600"),
    "house": ("building", "meadow", 1, "f0dcc0 b5442e 6b8fb5"),
    "castle": ("building", "desert", 1, "a9a295 6f685c 7a2f3a"),
    "lighthouse": ("building", "beach", 1, "f5f5f5 d22f2f ffe082"),
    "mountain": ("landform", "sky", 2, "6d7f94 f4f7fb 46566b"),
    "volcano": ("landform", "night", 1, "5a3d38 ff6a1a 3a2724"),
}

# A name's second, wrong visual meaning: candidates of the key show a picture of the value.
OTHER_MEANING: Final[Mapping[str, str]] = {
    "crane_bird": "crane_machine",
    "crane_machine": "crane_bird",
    "bat_animal": "bat_sports",
    "bat_sports": "bat_animal",
    "mouse_animal": "mouse_device",
    "mouse_device": "mouse_animal",
    "kite_bird": "kite_toy",
    "kite_toy": "kite_bird",
    "jaguar": "car",
    "apple": "phone",
}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A category that pictures are drawn of."""

    id: str
    parents: tuple[str, ...]
    scene: str  # where it mostly stands
    most: int  # of it in one picture
    palette: tuple[str, ...]  # hex colours a, b, c


@functools.cache
def leaves() -> tuple[Leaf, ...]:
    """All leaves, in the order of their ids."""
    return tuple(
        Leaf(name, tuple(parents.split("|")), scene, most, tuple(palette.split()))
        for name, (parents, scene, most, palette) in sorted(_LEAVES.items())
    )


def category_name(category: str) -> str:
    """The name that a report shows."""
    return _NAMES.get(category, category.replace("_", " "))


def synonyms(category: str) -> tuple[str, ...]:
    """Further names."""
    return _SYNONYMS.get(category, ())


@functools.cache
def ancestors(category: str) -> frozenset[str]:
    """All ancestors by id, without the category itself."""
    parents = _INNER[category] if category in _INNER else tuple(_LEAVES[category][0].split("|"))
    return frozenset(parents).union(*(ancestors(parent) for parent in parents))


def siblings(leaf: Leaf) -> tuple[str, ...]:
    """Other leaves that share a direct parent."""
    return tuple(other.id for other in leaves() if other.id != leaf.id and set(other.parents) & set(leaf.parents))


def write_hierarchy(path: Path) -> None:
    """The CSV `id,name,synonyms,definition,parents` of all categories, inner ones first."""
    rows = [(category, parents) for category, parents in _INNER.items()]
    rows += [(leaf.id, leaf.parents) for leaf in leaves()]
    with path.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(("id", "name", "synonyms", "definition", "parents"))
        for category, parents in rows:
            further, definition = "|".join(synonyms(category)), _DEFINITIONS.get(category, "")
            writer.writerow((category, category_name(category), further, definition, "|".join(parents)))
