from __future__ import annotations

import pytest

from openjft.pipelines.demo.glyphs import colours, glyph
from openjft.pipelines.demo.hierarchy import OTHER_MEANING, ancestors, leaves, siblings, synonyms, write_hierarchy
from openjft.pipelines.demo.pictures import SCENES
from openjft.taxonomy import read_taxonomy


@pytest.fixture
def taxonomy(tmp_path):
    write_hierarchy(tmp_path / "categories.csv")
    return read_taxonomy(str(tmp_path / "categories.csv"), "edges")


def test_the_csv_is_a_hierarchy_with_one_root_and_categories_with_two_parents(taxonomy):
    parents = taxonomy.parents.lengths
    assert [taxonomy.ids[i] for i in (parents == 0).nonzero()[0]] == ["thing"]
    assert {taxonomy.ids[i] for i in (parents == 2).nonzero()[0]} == {"fruit", "seaplane"}
    assert set(taxonomy.depth().tolist()) == {0, 1, 2, 3, 4}


def test_ancestors_are_those_of_the_taxonomy(taxonomy):
    assert ancestors("apple") == {"fruit", "food", "plant", "thing"}
    assert ancestors("seaplane") == {"aircraft", "watercraft", "vehicle", "artifact", "thing"}
    assert ancestors("thing") == frozenset()


def test_synonyms_and_definitions_are_in_the_csv_and_categories_of_one_name_are_defined(taxonomy):
    places = {id_: i for i, id_ in enumerate(taxonomy.ids)}
    for leaf in leaves():
        assert set(taxonomy.synonyms[places[leaf.id]]) == set(synonyms(leaf.id))
    shared = [i for i, name in enumerate(taxonomy.names) if "(" in name]
    assert len(shared) == 8
    assert all(taxonomy.definitions[i] for i in shared)


def test_every_leaf_has_a_drawing_in_its_colours_and_a_scene():
    for leaf in leaves():
        slots = colours(leaf.palette)
        shapes = glyph(leaf.id)
        assert shapes
        assert {shape.colour for shape in shapes} <= slots.keys()
        assert all(abs(shape.points).max() <= 0.6 for shape in shapes)
        assert leaf.scene in SCENES


def test_a_second_meaning_is_another_leaf_and_no_sibling():
    by_id = {leaf.id: leaf for leaf in leaves()}
    for name, other in OTHER_MEANING.items():
        assert other in by_id
        assert other != name
        assert other not in siblings(by_id[name])
