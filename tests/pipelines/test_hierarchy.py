"""What the driver writes under taxonomy/, and what of it counts in the fingerprints."""

from __future__ import annotations

import pytest

from openjft.pipelines.build import fingerprints, make_stages
from openjft.pipelines.config import parse_config
from openjft.pipelines.hierarchy import load_background, load_taxonomy, write_hierarchy
from openjft.pipelines.storage import Store
from openjft.taxonomy import CycleError

TREE = "id,name,parents\nn1,tortoise,n9\nn2,tortoise shell,n8\nn8,material,\nn9,animal,\n"
BACKGROUND = "id,name,parents\nb1,tortoise beetle,b2\nb2,beetle,\n"


@pytest.fixture
def built(tmp_path):
    """Writes the hierarchy of a configuration; gives the store and the fingerprints of all stages."""
    (tmp_path / "tree.csv").write_text(TREE)
    (tmp_path / "background.csv").write_text(BACKGROUND)
    (tmp_path / "pairs.csv").write_text("uri,label\nhttp://a.b/1,a tortoise\n")

    def write(*, labels="id", lexicon=None, **taxonomy):
        data = {
            "build": {"output": "out", "buckets": 2},
            "inputs": [{"path": "pairs.csv", "source": "alt", "labels": labels}],
            "sources": [{"name": "alt"}],
            "taxonomy": {"path": "tree.csv", **taxonomy},
            "lexicon": lexicon or {},
        }
        config = parse_config(data, base=tmp_path)
        store = Store(config.build.output)
        return store, fingerprints(make_stages(config), write_hierarchy(config, store))

    return write


def test_the_confusions_stand_beside_the_hierarchy(built):
    store, _ = built()
    taxonomy = load_taxonomy(store)
    found = store.read_table("taxonomy/confusions.parquet").to_pylist()
    assert [(taxonomy.ids[row["label"]], taxonomy.ids[row["inside_label"]]) for row in found] == [("n1", "n2")]


def test_a_background_is_written_where_an_input_carries_text_and_goes_when_none_does(built):
    store, _ = built(labels="text", background="background.csv")
    assert load_background(store).ids == ("b1", "b2")
    store, _ = built(labels="id", background="background.csv")
    assert load_background(store) is None


def test_what_is_said_about_text_counts_for_text_alone(built, tmp_path):
    _, plain = built()
    assert built(lexicon={"exclude": ["person"]})[1]["spill"] == plain["spill"]
    assert built(background="background.csv")[1]["spill"] == plain["spill"]
    _, text = built(labels="text", background="background.csv")
    others = [
        built(labels="text", background="background.csv", lexicon={"exclude": ["person"]})[1],
        built(labels="text")[1],
    ]
    (tmp_path / "background.csv").write_text(BACKGROUND.replace("tortoise beetle", "stag beetle"))
    others.append(built(labels="text", background="background.csv")[1])
    assert len({found["spill"] for found in (plain, text, *others)}) == 5
    assert len({found["evidence"] for found in (plain, text, *others)}) == 5


def test_a_cycle_is_an_error_or_one_category_and_told(built, tmp_path):
    (tmp_path / "tree.csv").write_text(TREE.replace("animal,", "animal,n1"))
    with pytest.raises(CycleError):
        built()
    store, _ = built(collapse_cycles=True)
    assert load_taxonomy(store).num_categories == 3
    assert store.read_json("taxonomy/_collapsed.json")["cycles"] == [
        {"survivor": "n1", "name": "tortoise", "merged": ["n9"], "removed_edges": [["n1", "n9"], ["n9", "n1"]]}
    ]


def test_a_list_cuts_the_hierarchy_down_and_its_unknown_ids_are_told(built, tmp_path):
    (tmp_path / "ids.txt").write_text("n1\nn7\n")
    store, prints = built(only="ids.txt")
    assert load_taxonomy(store).ids == ("n1", "n9")
    assert store.read_json("taxonomy/_only.json") == {"unknown": 1, "first": ["n7"]}
    assert prints["taxonomy"] != built()[1]["taxonomy"]
    assert not store.exists("taxonomy/_only.json")


def test_a_hierarchy_that_is_there_is_not_written_again(built):
    store, _ = built()
    before = store.fs.get_file_info(store.path("taxonomy/vocabulary.parquet")).mtime_ns
    built()
    assert store.fs.get_file_info(store.path("taxonomy/vocabulary.parquet")).mtime_ns == before
