"""Parts of speech: one class for each word from a lexicon, mended by its neighbours.

In: normal forms. Out: int8 classes. The lexicon is that of Brill's tagger as TextBlob carries it (94k English words,
the most frequent tag of each in the Penn Treebank and Brown; no download), its morphology rules for unknown words.
The neighbours' rules are in `kernels.mend_tags`. Without a language every word is a noun.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, Final

from . import grammar

(
    BREAK, NOUN, PLURAL, ADJECTIVE, VERB, VERB_S, PAST, GERUND, PARTICIPLE, DETERMINER, SUBJECT, MODAL, TO,
    PREPOSITION, POSSESSIVE, NUMBER, AUXILIARY, CONJUNCTION, OTHER,
) = range(19)  # fmt: skip
TAG_NAMES: Final = (
    "break", "noun", "plural noun", "adjective", "verb", "verb", "verb", "gerund", "participle", "determiner",
    "pronoun", "modal", "to", "preposition", "possessive", "number", "auxiliary", "conjunction", "other",
)  # fmt: skip
TAG_BITS: Final = 5  # a tag byte holds the class, and above it:
CAN_BE_VERB: Final = 1 << 5
CAN_BE_NOUN: Final = 1 << 6

_PENN: Final = {
    "NN": NOUN, "NNP": NOUN, "FW": NOUN, "NNS": PLURAL, "NNPS": PLURAL, "JJ": ADJECTIVE, "JJR": ADJECTIVE,
    "JJS": ADJECTIVE, "VB": VERB, "VBP": VERB, "VBZ": VERB_S, "VBD": PAST, "VBG": GERUND, "VBN": PARTICIPLE,
    "CD": NUMBER, "MD": MODAL, "IN": PREPOSITION, "CC": CONJUNCTION,
}  # fmt: skip


def _closed_classes() -> dict[str, int]:
    found = dict.fromkeys(grammar.CLOSED_CLASS, OTHER)
    for words, tag in (
        (grammar.PREPOSITIONS, PREPOSITION),
        (grammar.CONJUNCTIONS, CONJUNCTION),
        (grammar.DETERMINERS | grammar.POSSESSIVES, DETERMINER),
        (grammar.AUXILIARIES, AUXILIARY),
        (grammar.MODALS | grammar.CLITICS, MODAL),
        (grammar.SUBJECTS, SUBJECT),
        (("to",), TO),
        ((grammar.POSSESSIVE_S,), POSSESSIVE),
    ):
        found.update(dict.fromkeys(words, tag))
    return found


class Tagger:
    """Classes of English words; for another language every word is a noun.

    Args:
        english: False switches it off.
        nouns: last words of names, each a noun where the lexicon does not know it.
        plurals: those of them that were made plural.
    """

    def __init__(
        self, *, english: bool, nouns: frozenset[str] = frozenset(), plurals: frozenset[str] = frozenset()
    ) -> None:
        self.english, self.nouns, self.plurals = english, nouns, plurals
        self._closed = _closed_classes() if english else {}

    def __call__(self, form: str) -> int:
        """The class of a normal form, with `CAN_BE_VERB` and `CAN_BE_NOUN`."""
        if not form:
            return BREAK
        if not self.english:
            return NOUN | CAN_BE_NOUN
        noun = CAN_BE_NOUN if form in self.nouns else 0
        if form in self._closed:
            return self._closed[form] | noun
        tag = self._open_class(form)
        verb = can_be_verb(form) and (tag != PLURAL or form.endswith("s"))  # people are peopled, but do not "people"
        return tag | noun | (CAN_BE_VERB if verb else 0)

    def _open_class(self, form: str) -> int:
        tag = english_lexicon().get(form)
        if tag is not None:
            return _PENN.get(tag.split("|")[0], OTHER)
        if form[0].isdigit():
            return NUMBER if form.rstrip("stndrhx").isdigit() else NOUN
        if form in self.plurals:
            return PLURAL
        if form in self.nouns:
            return NOUN
        _, tag = english_lexicon().morphology.apply([form, "NN"])
        return PLURAL if tag == "NN" and form.endswith("s") else _PENN.get(tag, OTHER)


@functools.cache
def english_lexicon() -> Any:
    """TextBlob's lexicon of words and tags, loaded."""
    from textblob.en import lexicon  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # TextBlob leaves its files for the collector to close
        len(lexicon), len(lexicon.morphology)  # both load when they are first asked
    return lexicon


@functools.lru_cache(1 << 18)
def can_be_verb(form: str) -> bool:
    """Whether a word has the forms of a verb: 'park' does (parked), 'tortoise' does not; also of parks, parking."""
    stems = {form}
    if form.endswith("s") and len(form) > 3:
        stems |= {form[:-1], form[:-2]} if form.endswith("es") else {form[:-1]}
    elif form.endswith("ing") and len(form) > 5:
        stems |= {form[:-3], form[:-3] + "e"} | ({form[:-4]} if form[-4] == form[-5] else set())
    return any(map(_is_verb, stems))


def _is_verb(stem: str) -> bool:
    lexicon = english_lexicon()
    if lexicon.get(stem, "").startswith("VB"):
        return not stem.endswith("ing")
    root = stem.removesuffix("e")
    if len(root) < 2:
        return False
    past = {stem + "d"} if stem.endswith("e") else {stem + "ed", stem + stem[-1] + "ed"}
    gerunds = {root + "ing", stem + stem[-1] + "ing"}
    return any(lexicon.get(word) in {"VBD", "VBN"} for word in past) or any(lexicon.get(w) == "VBG" for w in gerunds)


def is_plural(form: str) -> bool:
    """Whether an English noun is plural already, so that no plural is made of it: glasses, people, scissors."""
    tag = english_lexicon().get(form)
    if tag is not None and tag.startswith("NN"):
        return bool(tag.startswith(("NNS", "NNPS")))
    return form.endswith("s") and not form.endswith(("ss", "us", "is"))
