"""Lists of English words that grammar, not a data set, tells us: closed classes, partitives, representations.

In: nothing. Out: frozen sets of normal forms. Closed classes after Quirk et al., A Comprehensive Grammar of the
English Language; tags are those of the Penn Treebank. Nothing here was fitted to captions.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS: Final = _words(
    "a an the this that these those each every either neither some any no all both half another such what which "
    "whose other many few several most more less much"
)
POSSESSIVES: Final = _words("my your his her its our their whose")
SUBJECTS: Final = _words("i you he she it we they who")
PRONOUNS: Final = SUBJECTS | _words(
    "me him us them myself yourself himself herself itself ourselves yourselves themselves mine yours hers ours "
    "theirs whom someone somebody something anyone anybody anything everyone everybody everything nobody nothing "
    "none one ones there here"
)
MODALS: Final = _words("can could may might must shall should will would ought cannot wo ca")
AUXILIARIES: Final = _words("be am is are was were been being do does did done have has had having")
PREPOSITIONS: Final = _words(
    "aboard about above across after against along alongside amid amidst among amongst around as at atop before "
    "behind below beneath beside besides between beyond by despite down during except for from in inside into like "
    "near of off on onto out outside over past per since than through throughout till toward towards under "
    "underneath until unto up upon via with within without versus vs"
)
CONJUNCTIONS: Final = _words("and or but nor so yet if because while although though unless whereas")
ADVERBS: Final = _words(
    "not n't very too also just only then when where why how again ever never now soon still even else away back "
    "least well today tomorrow yesterday tonight"
)
CLITICS: Final = _words("'re 'll 'd 've 'm n't 't")
POSSESSIVE_S: Final = "'s"
CLOSED_CLASS: Final = (
    DETERMINERS | POSSESSIVES | PRONOUNS | MODALS | AUXILIARIES | PREPOSITIONS | CONJUNCTIONS | ADVERBS | CLITICS
) | {"to", POSSESSIVE_S}

# 'X of Y' where X only counts or cuts Y, or says how Y is seen: X is no thing of its own.
PARTITIVES: Final = _words(
    "kind kinds sort sorts type types form forms lot lots number numbers pair pairs couple couples bit bits piece "
    "pieces part parts host range variety series array handful dozen dozens hundreds thousands millions sea wealth "
    "amount amounts majority plenty portion rest touch "
    "photo photos photograph photographs picture pictures image images pic pics view views shot shots scene scenes "
    "footage video clip portrait portraits closeup snapshot detail details "
    "front top bottom back side sides end edge middle center centre heart member members"
)
# 'X of Y' where X stands for Y: flat ones show what Y looks like, solid ones are another thing in its shape.
FLAT_REPRESENTATIONS: Final = _words(
    "painting paintings drawing drawings illustration illustrations sketch sketches cartoon cartoons print prints "
    "engraving engravings mural murals poster posters watercolor watercolour vector vectors clipart animation "
    "artwork art silhouette silhouettes icon icons depiction rendering reproduction etching mosaic"
)
SOLID_REPRESENTATIONS: Final = _words(
    "statue statues sculpture sculptures bust figurine figurines figure figures toy toys doll dolls puppet puppets "
    "model models replica replicas mask masks costume costumes cake cakes logo logos symbol symbols emblem emblems "
    "sign signs badge badges tattoo tattoos effigy mascot balloon statuette carving carvings smell taste sound "
    "sounds lack absence dream dreams idea theory concept history story stories name names"
)
# Before a noun they make it an imitation: a toy dog is no dog.
IMITATION_MODIFIERS: Final = _words(
    "toy plush stuffed cartoon inflatable origami lego fake faux imitation mock pretend playmobil plasticine "
    "gingerbread papercraft"
)
# General nouns (Halliday and Hasan, Cohesion in English, 1976, 6.1), those of them that name no kind of thing.
GENERAL_NOUNS: Final = _words("thing things stuff affair affairs matter matters question questions way ways")
# Fixed phrases whose nouns mean nothing of their own; they take part in the longest match and match nothing.
IDLE_PHRASES: Final = (
    "in front of", "on top of", "at the top of", "at the bottom of", "on the side of", "at the end of",
    "in the middle of", "in the center of", "in the centre of", "in the heart of", "in the back of", "in back of",
    "at the back of", "on behalf of", "in case of", "in spite of", "in terms of", "in place of", "in favor of",
    "in favour of", "in light of", "in need of", "in search of", "in honor of", "in honour of", "in memory of",
    "in celebration of", "in support of", "in charge of", "in view of", "in the face of", "by means of", "by way of",
    "by the way",
    "at the hands of", "at the foot of", "of course", "in order to", "in a row", "in line", "in line with",
    "on the way", "on their way", "on his way", "on her way", "on its way", "on the other hand", "at hand", "by hand",
    "in hand", "on hand", "in person", "at least", "at last", "at first", "at home", "at work", "at night", "at play",
    "in love", "on fire", "on sale", "for sale", "for rent", "for example", "for instance", "for free", "in action",
    "in general", "in particular", "in fact", "in turn", "in time", "on time", "full of", "as well", "so far",
    "all over", "next to", "close to", "close up", "closeup", "close ups", "up close", "in the air", "on the air",
    "on air", "hand in hand", "arm in arm", "side by side", "face to face", "head to toe", "head to head",
    "back to back", "step by step", "one of", "some of", "a lot", "a bit", "a few", "a little",
    "stock photo", "stock photos", "stock image", "stock images", "stock vector", "stock photography",
    "stock illustration", "stock footage", "royalty free", "black and white", "slow motion", "time lapse",
    "high resolution", "file photo", "by the time", "time of day", "place to be", "take place", "takes place",
    "taking place", "took place", "take part", "takes part", "taking part", "took part", "look like", "looks like",
    *(f"{verb} {whose} way" for verb in ("make", "makes", "making", "made", "find", "work")
      for whose in ("my", "your", "his", "her", "its", "our", "their")),
)  # fmt: skip
