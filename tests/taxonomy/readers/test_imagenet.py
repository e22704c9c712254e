import gzip

import pytest

from openjft.taxonomy import Category, Edge, ReadOptions, TaxonomyError, read_draft, read_taxonomy
from openjft.taxonomy.readers import READERS, Source

IS_A = "n00001740 n00001930\nn00001930 n02084071\nn00001740 n02084071\n"
WORDS = "n00001740\tentity\nn02084071\tdog, domestic dog, Canis familiaris\nn09999999\tnot in the hierarchy\n"
GLOSS = "n00001740\tthat which is\nn02084071\ta member of the genus Canis, kept by people\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wordnet.is_a.txt").write_text(IS_A)
    (tmp_path / "words.txt").write_text(WORDS)
    (tmp_path / "gloss.txt").write_text(GLOSS)
    return tmp_path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("file", ["", "/wordnet.is_a.txt"])
def test_is_a_gives_edges_with_words_and_glosses_from_beside(folder, file):
    draft = read_draft(f"{folder}{file}")
    assert draft.categories == (
        Category("n00001740", "entity", (), "that which is"),
        Category("n00001930"),  # no words: named by its id when it is built
        Category(
            "n02084071", "dog", ("domestic dog", "Canis familiaris"), "a member of the genus Canis, kept by people"
        ),
    )
    assert draft.edges == (
        Edge("n00001930", "n00001740", 1),
        Edge("n02084071", "n00001930", 2),
        Edge("n02084071", "n00001740", 3),
    )
    assert read_taxonomy(f"{folder}{file}").names == ("entity", "n00001930", "dog")


def test_gzipped_files_read_alike(folder):
    plain = read_taxonomy(str(folder))
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert read_taxonomy(str(folder)) == plain


def test_words_of_ones_own_take_the_place_of_those_beside(folder):
    own = write(folder / "mine.txt", "n00001930\tthing\n")
    taxonomy = read_taxonomy(str(folder), options=ReadOptions(names=own))
    assert taxonomy.names == ("n00001740", "thing", "n02084071")


def test_a_list_of_ids_has_the_position_as_alias_and_names_from_a_lemma_file(tmp_path):
    (tmp_path / "imagenet_synset_to_lemma.txt.gz").write_bytes(gzip.compress(WORDS.encode()))
    path = write(tmp_path / "imagenet_synsets.txt", "n02084071\nn00001740\nn00000001\n")
    draft = read_draft(path)
    assert draft.edges == ()
    assert draft.categories == (
        Category("n02084071", "dog", ("domestic dog", "Canis familiaris"), aliases=("0",), line=1),
        Category("n00001740", "entity", aliases=("1",), line=2),
        Category("n00000001", aliases=("2",), line=3),
    )
    assert read_taxonomy(path).index_of("1") == 1


def test_folder_names_are_a_list_of_ids(tmp_path):
    draft = read_draft(write(tmp_path / "list.txt", "n01440764/\nn01443537/\n"))
    assert [(category.id, category.aliases) for category in draft.categories] == [
        ("n01440764", ("0",)),
        ("n01443537", ("1",)),
    ]


def test_a_synset_mapping_has_names_and_positions(tmp_path):
    text = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
    draft = read_draft(write(tmp_path / "LOC_synset_mapping.txt", text))
    assert draft.categories[1] == Category("n01443537", "goldfish", ("Carassius auratus",), aliases=("1",), line=2)


def test_a_words_file_alone_is_a_list_whose_positions_mean_nothing(tmp_path):
    draft = read_draft(write(tmp_path / "words.txt", WORDS))
    assert [category.id for category in draft.categories] == ["n00001740", "n02084071", "n09999999"]
    assert all(category.aliases == () for category in draft.categories)


def test_a_comma_without_a_space_belongs_to_the_name_and_a_repeated_name_counts_once(tmp_path):
    draft = read_draft(write(tmp_path / "words.txt", "n14810561\t2,4-D, weedkiller, 2,4-D\n"))
    assert draft.categories[0][1:3] == ("2,4-D", ("weedkiller",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n00001740 n00001930\nn00001930\n", r"expected lines 'parent child'.*found 'n00001740 n00001930'"),
        ("n00001740 n00001930\n" * 64 + "n1 n2 n3\n", r"x\.txt:65: expected 'parent child', found 'n1 n2 n3'"),
        ("n00001740\n" * 64 + "n1 n2\n", r"x\.txt:65: expected one id, found 'n1 n2'"),
        ("dog\ncat\n", "expected lines 'parent child', a list of ids"),
        ("n00001740\tentity\n" * 64 + "n2\n", r"x\.txt:65: expected an id and, after a tab or a space, a text"),
        ("n00001740\tentity\nn00001740\tthing\n", r"x\.txt:2: 'n00001740' is 'thing' here and 'entity' before"),
        ("n00001740\nn00001740\n", r"x\.txt:2: .*'n00001740' stands twice"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(write(tmp_path / "x.txt", text), "imagenet")


def test_a_folder_without_or_with_several_is_a_files_is_an_error(folder):
    (folder / "more.is_a.txt").write_text(IS_A)
    recognise, read = READERS["imagenet"].recognise, READERS["imagenet"].read
    assert not recognise(Source(str(folder)))
    with pytest.raises(TaxonomyError, match=r"found more\.is_a\.txt, wordnet\.is_a\.txt\. Name the file itself"):
        read(Source(str(folder)), ReadOptions())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n00001740 -1\nn00001930 0\n",  # YOLO9000's tree
        "dog\ncat\n",
        "n00001740\nn00001930 thing\n",
        "wnid\tname\nn00001740\tentity\n",
        "child,parent\nn00001930,n00001740\n",
        "/a/airfield 0\n",
    ],
)
def test_other_files_are_not_recognised(tmp_path, text):
    assert not READERS["imagenet"].recognise(Source(write(tmp_path / "x.txt", text)))
    assert not READERS["imagenet"].recognise(Source(str(tmp_path)))
