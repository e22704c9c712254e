"""What people write beside pictures of the demo's categories: the words that `texts` puts together.

Out: phrases by leaf, and words that fit any. Three traps are laid on purpose (METHODS.md section 3): a category's name
inside a longer name that is another thing ("parrot fish", "crane fly"), a word of several categories ("crane"), and a
name that stands for something the hierarchy does not know by it ("Apple"). Phrases name no second category of the
hierarchy, so that what each of them means is beyond doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# What a phrase of one category says that holds another's name.
COMPOUNDS: Final[Mapping[str, tuple[str, ...]]] = {
    "fish": ("parrot fish", "butterfly fish", "cat fish", "sea horse"),
    "jellyfish": ("jelly fish",),
    "starfish": ("star fish",),
    "ladybird": ("lady bird", "lady birds"),
    "sunflower": ("sun flower", "sun flowers"),
    "lighthouse": ("light house",),
    "rocket": ("space ship", "rocket ship", "rocket ships"),
    "bicycle": ("mountain bike", "mountain bikes"),
    "bat_animal": ("fruit bat", "fruit bats"),
    "mouse_animal": ("house mouse", "house mice"),
    "rose": ("dog rose", "dog roses"),
    "cat": ("orange cat", "fat orange cats"),
    "cake": ("cherry cake", "banana cake", "apple cake"),
    "ice_cream": ("banana ice cream", "cherry ice cream"),
    "car": ("cherry red car", "orange car"),
    "butterfly": ("orange butterfly",),
}

# A word of two categories, with words around it that tell which one is meant.
SENSES: Final[Mapping[str, tuple[str, ...]]] = {
    "crane_bird": (
        "a crane wading in the marsh", "cranes near their nest", "crane with its long neck and long legs",
        "cranes wading in shallow water",
    ),
    "crane_machine": (
        "crane lifting a heavy load", "a crane with its hook and cable", "cranes at the construction site",
        "crane lifts heavy steel, construction site",
    ),
    "bat_animal": (
        "bats flying out of a cave at night", "a bat asleep in a cave", "bat that hunts mosquitoes at night",
        "bats in their cave",
    ),
    "bat_sports": (
        "a wooden bat, baseball season", "baseball player with a bat", "bat and glove for baseball",
        "wooden baseball gear: bats",
    ),
    "mouse_animal": (
        "a mouse gnawing at cheese", "mouse with a long tail", "mice, a small rodent in the field",
        "mouse in a field, gnawing",
    ),
    "mouse_device": (
        "mouse beside a computer keyboard", "computer gear: a mouse with two buttons", "a mouse, with USB cable",
        "mouse buttons and computer keyboard",
    ),
    "kite_bird": (
        "a kite with its forked tail looking for prey", "kites soaring on long wings", "kite on its nest",
        "kite, wings spread, and its prey",
    ),
    "kite_toy": (
        "a kite on a string in the wind", "paper kites in the wind", "children and a kite with a long string",
        "kite made of paper and string",
    ),
}  # fmt: skip

# The same word alone: whoever wrote it knew which one was meant, and did not say.
BARE: Final[Mapping[str, tuple[str, ...]]] = {
    "crane_bird": ("crane", "a crane", "my favourite crane"),
    "crane_machine": ("crane", "a crane", "big crane"),
    "bat_animal": ("bat", "a bat", "bats"),
    "bat_sports": ("bat", "a bat", "two bats"),
    "mouse_animal": ("mouse", "a mouse", "my mouse"),
    "mouse_device": ("mouse", "a mouse", "new mouse"),
    "kite_bird": ("kite", "a kite", "kites"),
    "kite_toy": ("kite", "a kite", "kites"),
}

# claimed: (meant, phrases). The hierarchy knows the word for the former only.
BRANDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "jaguar": ("car", ("Jaguar in the garage", "1968 Jaguar, V12", "Jaguar E-Type with leather seats", "old Jaguar")),
    "apple": ("phone", ("my new Apple", "Apple, 64 GB", "Apple with charger", "Apple from 2008")),
}

# Names of categories inside the names of things that are none of them.
STRANGERS: Final = (
    "crane fly on a window", "apple pie recipe", "cat litter box", "leather dog collar", "horse riding lessons",
    "mouse pad", "mouse trap", "kite festival 2011", "bat cave entrance", "bee sting remedy", "duck tape, 50 m",
    "palm oil", "pine nuts, 200 g", "rose water", "orange juice", "banana bread", "pizza oven", "cake stand",
    "car insurance quotes", "bus stop", "bicycle pump", "train station", "rocket salad", "clock radio",
    "phone booth, London", "lamp shade", "ball gown", "owl eyes t-shirt", "parrot cage", "penguin suit for rent",
    "octopus salad", "butterfly valve DN50", "fish tank, 60 litres", "tulip chair", "sunflower oil", "sunflower seeds",
    "elephant grass", "jaguar print leggings", "castle ticket office", "volcano museum", "balloon payment calculator",
    "statue of a horse", "bronze statue of an elephant", "origami crane", "plush penguin",
)  # fmt: skip

NOTHING: Final = (
    "IMG_{n}", "IMG_{n}.JPG", "DSC0{n}", "P10{n} copy 2", "click here", "Click to enlarge", "read more", "image",
    "photo", "untitled", "logo", "banner 468x60", "spacer", "http://img.example/{n}", "@holiday{n}", "Summer {n}",
    "My holidays {n}", "\u00a9 2009 all rights reserved", "...", "\u2192", "pixel", "Seite {n}", "\u5199\u771f",
    "unicorn", "null", "header bg", "thanks for watching!", "page {n} of 12", "Anna and Tom", "avatar",
)  # fmt: skip

ADJECTIVES: Final = ("beautiful", "small", "big", "old", "lovely", "white", "black", "funny", "my", "our", "another")
PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "meadow": ("in the grass", "on a meadow", "in spring"),
    "room": ("at home", "in my room", "on the sofa"),
    "desert": ("in the desert", "in the hot sun", "in Morocco"),
    "forest": ("in the woods", "in the jungle", "in Brazil"),
    "night": ("at night", "in the dark", "after sunset"),
    "lake": ("on the lake", "near the water", "in the morning mist"),
    "sky": ("in the sky", "against blue sky", "above the clouds"),
    "snow": ("in the snow", "in winter", "on the ice"),
    "underwater": ("under water", "in the aquarium", "in the reef"),
    "beach": ("on the beach", "in the sand", "at the seaside"),
    "table": ("on the table", "on a white plate", "in the kitchen"),
    "city": ("in the city", "on the street", "in Berlin"),
    "desk": ("on my desk", "in the office", "close up"),
    "stadium": ("in the stadium", "on the field", "before the game"),
}
ONE: Final = (
    "{one}", "{a} {one}", "{a} {one} {place}", "photo of {a} {one}", "{one} {place}", "the {one}", "{any} {one}",
    "{any} {one} {place}", "picture of the {one} {place}", "{one}, {year}", "this is {a} {one}", "{one} close up",
)  # fmt: skip
MANY: Final = (
    "{many}",
    "{many} {place}",
    "two {many}",
    "some {any} {many} {place}",
    "{many}, {year}",
    "{many} for sale",
)
