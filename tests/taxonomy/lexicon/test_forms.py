"""Names become surfaces: plurals of the head word made forward, compounds together and apart."""

import pytest

from openjft.taxonomy.lexicon.forms import closed_form, open_forms, parse_name, plurals_of, usable


@pytest.mark.parametrize(
    ("name", "words", "context"),
    [
        ("crane (bird)", ("crane",), ("bird",)),
        ("crane, wading bird", ("crane",), ("wading", "bird")),
        ("bird of prey", ("bird", "of", "prey"), ()),
        ("T-shirt", ("t", "shirt"), ()),
        ("St. Bernard", ("st", "bernard"), ()),
        ("rock & roll", ("rock", "and", "roll"), ()),
        ("(bird)", (), ("bird",)),
    ],
)
def test_what_tells_names_apart_is_no_part_of_the_surface(name, words, context):
    parsed = parse_name(name)
    assert (parsed.words, parsed.context) == (words, context)


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("dog", "dogs"),
        ("wolf", "wolves"),
        ("goose", "geese"),
        ("person", "people|persons"),
        ("bus", "buses"),
        ("glass", "glasses"),
        ("lens", "lenses"),
        ("cactus", "cactuses|cacti"),
        ("brother", "brothers"),  # not brethren
        ("bird of prey", "birds of prey"),
        ("golden retriever", "golden retrievers"),
        ("glasses", None),  # plural already
        ("people", None),
        ("scissors", None),
        ("sheep", None),
        ("stand in", None),  # "stands in" is mostly a verb
        ("犬", None),
        ("1920s", None),
    ],
)
def test_the_plurals_are_those_of_the_head_word(name, plural):
    wanted = [] if plural is None else [tuple(one.split()) for one in plural.split("|")]
    assert plurals_of(tuple(name.split())) == wanted


def test_a_compound_is_written_together_and_apart():
    assert closed_form(("tortoise", "shell")) == ("tortoiseshell",)
    assert closed_form(("in", "front")) is None
    assert closed_form(("a", "shell")) is None
    names = {"tortoise", "shell", "bull", "dog", "car", "pet", "is", "land", "sea", "son"}
    assert open_forms("tortoiseshell", names, ()) == [("tortoise", "shell")]
    assert open_forms("bulldog", names, {"dog", "animal"}) == [("bull", "dog")]
    assert open_forms("carpet", names, {"rug"}) == []
    assert open_forms("season", names, {"time"}) == []
    assert open_forms("island", names, {"land"}) == []


@pytest.mark.parametrize(
    ("words", "expected"), [(("a",), False), (("犬",), True), (("7",), False), (("ox",), True), ((), False)]
)
def test_single_letters_and_numbers_are_no_surface(words, expected):
    assert usable(words, english=True) is expected
