"""A small hierarchy with a diamond: a dog is a canine and a domestic animal, and both are animals."""

import pytest

from openjft.taxonomy import Category, Edge, Taxonomy, build_taxonomy


@pytest.fixture
def animals() -> Taxonomy:
    categories = [
        Category("entity"),
        Category("animal", "animal", ("beast",), "a living thing that moves"),
        Category("canine"),
        Category("domestic", "domestic animal"),
        Category("dog", "dog", ("Hound",)),
        Category("cat"),
        Category("wolf", "wolf", ("hound",)),
        Category("car"),
    ]
    edges = [
        Edge("animal", "entity"),
        Edge("car", "entity"),
        Edge("canine", "animal"),
        Edge("domestic", "animal"),
        Edge("dog", "canine"),
        Edge("dog", "domestic"),
        Edge("cat", "domestic"),
        Edge("wolf", "canine"),
    ]
    return build_taxonomy(categories, edges, origin="test")
