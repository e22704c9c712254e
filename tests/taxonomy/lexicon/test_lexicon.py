"""Texts to categories: the tortoise trap, verbs, senses by context, case and source, ancestors, outcomes, offsets."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from openjft.taxonomy import Category, Edge, build_taxonomy
from openjft.taxonomy.lexicon import MAX_TEXT_CHARS, OUTCOMES, Lexicon, SenseCounts, SensePriors, Status

SHELL = [Category("shell"), Category("reptile"), Category("tortoise"), Category("thing")]
SHELL_EDGES = [Edge("tortoise", "reptile"), Edge("reptile", "thing"), Edge("shell", "thing")]


def taxonomy(categories, edges=()):
    return build_taxonomy([c if isinstance(c, Category) else Category(c) for c in categories], edges, origin="test")


@pytest.fixture(scope="module")
def world():
    """A few names with several senses, below branches that are told apart by their words."""
    animal = ["crane.bird", "heron", "mouse.animal", "jaguar.cat", "turkey.bird", "horse", "cat", "sparrow"]
    artefact = ["crane.lift", "mouse.device", "jaguar.car", "keyboard", "excavator", "computer", "van", "truck", "bus"]
    further = [Category("can", "can"), Category("saw", "saw"), Category("watch", "watch"), Category("park", "park")]
    texts = {
        "crane.bird": ("crane", "large wading bird with long legs and a long neck, of marsh and wetland"),
        "crane.lift": ("crane", "machine that lifts heavy loads on a building site"),
        "mouse.animal": ("mouse", "small rodent with a tail"),
        "mouse.device": ("mouse", "device moved by hand that moves the cursor of a computer"),
        "jaguar.cat": ("jaguar", "large spotted cat of the jungle"),
        "jaguar.car": ("jaguar", "luxury car of a British maker, with an engine"),
        "turkey.bird": ("turkey", "large bird that is bred for its flesh"),
        "heron": ("heron", "wading bird of the marsh"),
        "keyboard": ("keyboard", "keys of a computer"),
    }
    categories = [Category("thing"), Category("animal"), Category("artefact"), Category("bird of prey"), *further]
    for key in animal + artefact:
        name, definition = texts.get(key, (key, None))
        categories.append(Category(key, name, (), definition))
    categories += [Category("country"), Category("Turkey", "Turkey", (), "country in Asia Minor")]
    edges = [Edge("animal", "thing"), Edge("artefact", "thing"), Edge("country", "thing"), Edge("Turkey", "country")]
    edges += [Edge(key, "animal") for key in animal] + [Edge(key, "artefact") for key in artefact]
    edges += [Edge(item.id, "artefact") for item in further] + [Edge("bird of prey", "animal")]
    return taxonomy(categories, edges)


@pytest.fixture(scope="module")
def lexicon(world):
    return Lexicon.build(world)


def ids(lexicon, text, **options):
    found = lexicon.match([text], **options)
    return [lexicon.inventory.graph.ids[label] for label in found.label.tolist()]


def statuses(lexicon, text):
    return {item.surface: item.status for item in lexicon.explain(text)}


@pytest.mark.parametrize(
    "text", ["tortoise shell glasses", "Tortoise-Shell Glasses for women", "tortoiseshell glasses"]
)
@pytest.mark.parametrize(
    "further",
    [[], ["glasses"], ["tortoise shell"], ["tortoiseshell"], ["tortoiseshell", "glasses"], ["shell glasses"]],
)
def test_tortoise_shell_glasses_are_never_a_tortoise(text, further):
    lexicon = Lexicon.build(taxonomy([*SHELL, *further], SHELL_EDGES))
    found = ids(lexicon, text)
    assert "tortoise" not in found
    assert "reptile" not in found
    assert "shell" not in found
    if "glasses" in further:
        assert found == ["glasses"]


def test_a_background_absorbs_what_the_taxonomy_does_not_know():
    background = taxonomy([*SHELL, "tortoise shell", "hound"], [*SHELL_EDGES, Edge("hound", "thing")])
    lexicon = Lexicon.build(taxonomy(["tortoise", "hound"]), background=background)
    assert ids(lexicon, "a comb of tortoise shell") == []
    assert ids(lexicon, "tortoise") == ["tortoise"]
    assert statuses(lexicon, "a tortoise shell") == {"tortoise shell": Status.OTHER_SENSE}


def test_a_background_category_counts_as_its_nearest_ancestor_that_tells_enough():
    dogs = [Category("dog"), Category("animal"), *[Category(f"x{i}") for i in range(30)]]
    known = taxonomy(dogs, [Edge("dog", "animal"), *[Edge(f"x{i}", "animal") for i in range(29)]])
    behind = taxonomy([*dogs, "poodle", "ant"], [Edge("dog", "animal"), Edge("poodle", "dog"), Edge("ant", "animal")])
    lexicon = Lexicon.build(known, background=behind)
    assert ids(lexicon, "a poodle") == ["dog"]
    assert ids(lexicon, "an ant") == []  # that it is an animal says nothing in a taxonomy of animals


def test_background_senses_compete_where_the_background_knows_the_category():
    behind = taxonomy(
        [
            Category("bat.animal", "bat"),
            Category("bat.club", "club", ("bat",), "for a game of baseball"),
            *[f"other{i}" for i in range(60)],
        ]
    )
    same = Lexicon.build(taxonomy([Category("bat.animal", "bat")]), background=behind)
    assert ids(same, "a baseball game with bats") == []
    assert ids(same, "bats") == ["bat.animal"]
    other = Lexicon.build(taxonomy([Category("/m/01", "bat")]), background=behind)
    assert ids(other, "a baseball game with bats") == ["/m/01"]  # which of the background's bats it is, no one knows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog house and a bird cage", []),
        ("dog, bird, cat", ["dog", "bird", "cat"]),
        ("dog | bird / cat", ["dog", "bird", "cat"]),
        ("#dog #cat", ["dog", "cat"]),
        ("dog and cat", ["dog", "cat"]),
        ("a dog on the grass", ["dog"]),
        ("a black dog", ["dog"]),
        ("dog fur lined boots", []),
        ("cup of tea", ["cup", "tea"]),
        ("close-up photo of a dog", ["dog"]),
        ("a statue of a dog", []),
        ("a toy dog", []),
        ("the dog's bowl", []),
        ("the dog 's bowl", []),
        ("the dog's running", ["dog"]),
        ("in front of the dog", ["dog"]),
        ("dog stock photo", ["dog"]),
        ("my dog Rex sleeps", ["dog"]),
        ("a dog barks", ["dog"]),
    ],
)
def test_a_name_that_only_modifies_is_no_match(text, expected):
    lexicon = Lexicon.build(taxonomy(["dog", "bird", "cat", "cup", "tea"]))
    assert ids(lexicon, text) == expected


def test_a_painting_is_less_likely_to_show_the_thing():
    lexicon = Lexicon.build(taxonomy(["ship"]))
    plain, painted = (float(lexicon.match([text]).probability[0]) for text in ("a ship", "a painting of a ship"))
    assert plain == 1.0
    assert painted == pytest.approx(0.8)
    assert lexicon.match(["a painting of a ship"], min_probability=0.9).label.tolist() == []
    assert statuses(lexicon, "a painting of a ship")["ship"] == Status.MATCHED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you can see it", []),
        ("a can of beans", ["can"]),
        ("he saw the sea", []),
        ("a saw and a hammer", ["saw"]),
        ("people who watch the sea", []),
        ("a watch on his wrist", ["watch"]),
        ("where to park today", []),
        ("a walk in the park", ["park"]),
        ("watch, can, saw", ["watch", "can", "saw"]),
    ],
)
def test_verbs_and_modals_are_no_matches(lexicon, text, expected):
    assert ids(lexicon, text) == expected


def test_the_tagger_knows_cans_as_modals_only_in_lower_case_text():
    lexicon = Lexicon.build(taxonomy([Category("it", "IT", ("US",)), "dog"]))
    assert ids(lexicon, "it is a dog") == ["dog"]
    assert ids(lexicon, "what they know in IT today") == ["it"]
    assert ids(lexicon, "IT IS A DOG") == ["dog"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a crane in the marsh, beside a heron", "crane.bird"),
        ("a crane lifts heavy loads at the building site", "crane.lift"),
        ("mouse and keyboard of a computer", "mouse.device"),
        ("a cat and a small mouse with a long tail", "mouse.animal"),
        ("a jaguar in the jungle", "jaguar.cat"),
        ("the engine of a jaguar", "jaguar.car"),
    ],
)
def test_context_tells_senses_apart(lexicon, text, expected):
    assert expected in ids(lexicon, text)
    assert sum(found.split(".")[0] == expected.split(".")[0] for found in ids(lexicon, text)) == 1


def test_without_context_the_text_is_ambiguous(lexicon):
    found = lexicon.match(["a crane"])
    assert OUTCOMES[found.outcome[0]] == "ambiguous"
    assert len(found.label) == 0


def test_senses_below_one_telling_ancestor_give_the_ancestor():
    birds = [Category("thing"), Category("bird"), Category("crane.a", "crane"), Category("crane.b", "crane")]
    rest = [Category(f"x{i}") for i in range(40)]
    edges = [Edge("bird", "thing"), Edge("crane.a", "bird"), Edge("crane.b", "bird")]
    lexicon = Lexicon.build(taxonomy([*birds, *rest], edges + [Edge(item.id, "thing") for item in rest]))
    assert ids(lexicon, "a crane") == ["bird"]


def test_a_source_tells_senses_apart(world, lexicon):
    shop = lexicon.count_sources(["a truck and a van", "an excavator", "bus"] * 20, "shop")
    birds = lexicon.count_sources(["a heron", "sparrow", "a horse"] * 20, "birds")
    learned = lexicon.with_priors(SensePriors.fit(shop + birds, strength=5))
    assert ids(learned, "a crane", source="shop") == ["crane.lift"]
    assert ids(learned, "a crane", source="birds") == ["crane.bird"]
    assert ids(learned, "a crane") == ids(lexicon, "a crane")
    assert ids(learned, "a crane", source="unknown") == []
    assert shop.counts == {"shop": {"bus": 20, "excavator": 20, "truck": 20, "van": 20}}
    assert (shop + birds).counts == (birds + shop).counts


def test_priors_survive_json():
    priors = SensePriors.fit(SenseCounts({"shop": {"bus": 3}}), strength=7)
    assert SensePriors.from_json(priors.to_json()) == priors


def test_capitals_tell_the_country_from_the_bird(lexicon):
    assert ids(lexicon, "we went to Turkey in May") == ["Turkey"]
    assert ids(lexicon, "We saw a turkey near Paris") == ["turkey.bird"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wolf", "two wolves"),
        ("goose", "geese in flight"),
        ("person", "many people"),
        ("bird of prey", "birds of prey"),
        ("golden retriever", "Golden Retrievers"),
        ("T-shirt", "t shirts"),
        ("café", "cafe"),
        ("cafe", "cafés"),
        ("wineglass", "wine glasses"),
    ],
)
def test_plurals_and_spellings_are_found(name, text):
    parts = [Category("wine"), Category("glass"), Category("item", name)]
    lexicon = Lexicon.build(taxonomy(parts, [Edge("item", "glass")]))
    assert ids(lexicon, text) == ["item"]


def test_a_name_wins_over_the_plural_of_another():
    lexicon = Lexicon.build(taxonomy(["glass", "glasses"]))
    assert ids(lexicon, "glasses on the table") == ["glasses"]
    assert ids(lexicon, "a glass on the table") == ["glass"]


def test_without_a_language_there_are_no_plurals_and_no_grammar():
    lexicon = Lexicon.build(taxonomy(["chien", "niche", "犬"]), language="none")
    assert ids(lexicon, "chien niche, chiens") == ["chien", "niche"]
    assert ids(lexicon, "赤い犬と猫") == ["犬"]


def test_excluded_names_match_nothing_and_still_modify():
    lexicon = Lexicon.build(taxonomy(["dog", "photo"]), exclude=["Photo"])
    assert ids(lexicon, "a photo") == []
    assert ids(lexicon, "a dog photo") == []


def test_outcomes_are_counted_and_every_text_has_one(lexicon):
    texts = ["a heron", "nothing known", "a crane", "", None, "!!!", "two words"]
    found = lexicon.match(texts)
    assert [OUTCOMES[outcome] for outcome in found.outcome] == [
        "matched", "no_match", "ambiguous", "empty", "empty", "empty", "no_match",
    ]  # fmt: skip
    assert found.counts() == {"matched": 1, "no_match": 2, "ambiguous": 1, "empty": 3}


def test_offsets_give_the_surface_back(lexicon):
    texts = ["The caf&eacute; cat, two  Herons!", "ﬁne HORSES"]
    found = lexicon.match(texts)
    surfaces = [texts[t][s:e] for t, s, e in zip(found.text, found.start, found.end, strict=True)]
    assert surfaces == ["cat", "Herons", "HORSES"]


def test_matches_have_the_types_that_others_build_on(lexicon):
    for texts in (["a heron"], [], pa.array(["a heron", None]), pa.chunked_array([["a heron"], ["cat"]])):
        found = lexicon.match(texts)
        assert [column.dtype for column in found] == [np.int64, np.int32, np.int32, np.int32, np.float32, np.int8, bool]
        assert len(found.outcome) == len(texts)


def test_batches_do_not_matter(lexicon, monkeypatch):
    texts = ["a heron", "", "a cat and a horse", "crane in the marsh, heron", "birds of prey"] * 3
    whole = lexicon.match(texts)
    monkeypatch.setattr("openjft.taxonomy.lexicon.lexicon.BATCH_TEXTS", 2)
    parts = lexicon.match(texts)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pickled_lexicon_matches_alike(lexicon):
    lexicon.match(["a heron"])
    copy = pickle.loads(pickle.dumps(lexicon))
    assert ids(copy, "a heron and a cat") == ids(lexicon, "a heron and a cat")


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "\x00\x1b[31m dog", "\u202eheron\u202c", "h̷e̷r̷o̷n̷", "&#0;" * 999, "\ud800 heron", "." * 5000],
)
def test_hostile_text_does_no_harm(lexicon, text):
    found = lexicon.match([text, "a heron"])
    assert found.label[-1] == lexicon.inventory.graph.index_of("heron")
    assert found.capped.tolist() == [len(text) > MAX_TEXT_CHARS, False]


def test_only_the_beginning_of_a_long_text_is_read(lexicon):
    found = lexicon.match(["a heron, " * 1_000])
    assert found.capped.all()
    assert found.end.max() <= MAX_TEXT_CHARS


@pytest.mark.parametrize("probability", [0, -1, 1.5])
def test_a_probability_outside_its_range_is_an_error(lexicon, probability):
    with pytest.raises(ValueError, match="min_probability"):
        lexicon.match(["x"], min_probability=probability)


def test_an_unknown_language_is_an_error(world):
    with pytest.raises(ValueError, match="'en' or 'none'"):
        Lexicon.build(world, language="fr")


def test_explanations_name_the_word_that_decided():
    lexicon = Lexicon.build(taxonomy(["tortoise", "glasses"]))
    first, second = lexicon.explain("tortoise shell glasses")
    assert (first.surface, first.status, first.because) == ("tortoise", Status.MODIFIER, "shell")
    assert (second.surface, second.status, second.probability) == ("glasses", Status.MATCHED, 1.0)
    assert [sense.name for sense in second.senses] == ["glasses"]
