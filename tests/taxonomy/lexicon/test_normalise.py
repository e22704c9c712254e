"""Both sides are normalised alike, and offsets point into the text as it was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.taxonomy.lexicon.normalise import CAPITALS, INITIAL, LOWER, MIXED, case_of, normal_form, tokenise


def forms(text):
    return [token.form for token in tokenise(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tortoise-shell glasses", ["tortoise", "shell", "glasses"]),
        ("tortoise_shell", ["tortoise", "shell"]),
        ("naïve Ångström ﬁsh", ["naive", "angstrom", "fish"]),
        ("e\u0301cole tor\u00adtoise", ["ecole", "tortoise"]),
        ("z̷̢͇a̴l̵g̶o̷ dog", ["zalgo", "dog"]),
        ("ЁЛКА й", ["ёлка", "й"]),  # the marks of other scripts make other letters
        ("İstanbul \u0131l\u0131k", ["istanbul", "ilik"]),
        ("the dog's bowl", ["the", "dog", "'s", "bowl"]),
        ("the dog 's bowl", ["the", "dog", "'s", "bowl"]),
        ("l\u2019été o'clock", ["l'ete", "o'clock"]),
        ("caf&eacute; &amp; co &lt;3", ["cafe", "and", "co", "", "3"]),
        ("dog, cat; bird|fish/frog", ["dog", "", "cat", "", "bird", "", "fish", "", "frog"]),
        ("Dog House - Wikipedia", ["dog", "house", "", "wikipedia"]),
        ("close - up of a dog", ["close", "up", "of", "a", "dog"]),  # a corpus that parts its hyphens
        ("a dog -- house", ["a", "dog", "", "house"]),
        ("see https://a.b/dog?x=cat now", ["see", "", "now"]),
        ("mail dog@cat.com or @bird", ["mail", "", "or", ""]),
        ("#GoldenRetriever #cat house", ["", "golden", "retriever", "", "", "cat", "", "house"]),
        ("St. Louis, Dr. No. J. R. Smith", ["st", "louis", "", "dr", "no", "j", "r", "smith"]),
        ("U.S.A. dogs", ["u.s.a.", "dogs"]),
        ("日本の犬", ["日", "本", "の", "犬"]),
        ("हिन्दी कुत्ता", ["हिन्दी", "कुत्ता"]),
        ("كلب\u200f", ["كلب"]),
        ("", []),
        (" \u200b ", [""]),
    ],
)
def test_text_becomes_normal_forms_and_breaks(text, expected):
    assert forms(text) == expected


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("caf&eacute; &amp; dog", ["caf&eacute;", "&amp;", "dog"]),
        ("&amp;dog&quot;", ["&amp;", "dog", "&quot;"]),
        ("The dog's #GoldenRetriever", ["The", "dog", "'s", "#", "Golden", "Retriever", ""]),
        ("犬と猫", ["犬", "と", "猫"]),
    ],
)
def test_offsets_point_into_the_text_as_given(text, surfaces):
    assert [text[token.start : token.end] for token in tokenise(text)] == surfaces


@pytest.mark.parametrize(
    ("word", "case"),
    [("dog", LOWER), ("Dog", INITIAL), ("DOG", CAPITALS), ("D", INITIAL), ("iPod", MIXED), ("犬", LOWER)],
)
def test_case_is_told(word, case):
    assert case_of(word) == case


@given(st.text(max_size=200))
def test_any_text_gives_tokens_in_order_within_it(text):
    end = 0
    for token in tokenise(text):
        assert 0 <= token.start <= token.end <= len(text)
        assert token.start >= end or token.end <= end  # tokens of one entity share its place
        end = token.end


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=12))
def test_a_normal_form_is_stable(word):
    once = normal_form(word)
    assert normal_form(once) == once or not once.isascii()


@pytest.mark.parametrize("hostile", ["a" * 1_000_000, "a." * 50_000, "&" * 100_000, "'a" * 50_000, "-a" * 50_000])
def test_hostile_text_is_read_to_its_end(hostile):
    text = hostile[:2_000]
    tokens = tokenise(text)
    assert tokens
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
    assert tokens[-1].end == len(text)
