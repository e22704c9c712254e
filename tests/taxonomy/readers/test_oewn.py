"""Open English WordNet nouns."""

import gzip

import pytest

from openjft.taxonomy import Category, Edge, TaxonomyError, read_draft

HEADER = "oewn_id\twnid_pwn30\tlexfile\thypernyms\tinstance_hypernyms\tmembers\tdefinition\n"
OEWN = (
    HEADER
    + "1-n\tn01\tnoun.Tops\t\t\tentity\tthat which is\n"
    + "2-n\t\tnoun.animal\t1-n\t\tdog|domestic dog\t\n"
    + '3-n\tn03\tnoun.animal\t2-n\t1-n\tLaika\t"first" in orbit\n'
)


def test_the_wordnet_id_is_taken_where_there_is_one_and_both_kinds_of_parents(write, tmp_path):
    write(gzip.compress(OEWN.encode()), "nouns.tsv.gz")
    draft = read_draft(str(tmp_path))
    assert draft.categories == (
        Category("n01", "entity", (), "that which is", ("1-n",), 2),
        Category("2-n", "dog", ("domestic dog",), None, (), 3),
        Category("n03", "Laika", (), '"first" in orbit', ("3-n",), 4),
    )
    assert draft.edges == (Edge("2-n", "n01", 3), Edge("n03", "2-n", 4), Edge("n03", "n01", 4))


def test_a_table_without_its_columns_is_an_error(write):
    with pytest.raises(TaxonomyError, match=r"found child, parent: oewn_id, .* missing\. Is it another format\?"):
        read_draft(write("child\tparent\nb\ta\n"), "oewn")
