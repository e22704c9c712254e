"""The page on which a person judges labels: one HTML file, one question at a time, answered from the keyboard.

In: questions with their pictures. Out: the page as text, everything inside: nothing is loaded from elsewhere, nothing
is sent anywhere, and the policy in its head forbids both. Answers live in the browser's storage and leave it as a file
that `answers.read_answers` reads. Equal input gives equal bytes.

The judge is blind: neither probabilities nor sources of a label are on the page. Texts come from strangers: they
travel as JSON that cannot end its element, and the scripts set them as text only. Each picture stands once, after
everything else, in an element of its own that nothing parses before it is needed: of 5,000 pictures (250 MB) the first
can be judged while the browser still reads the file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from openjft.taxonomy.draw.embed import filled_page

from .answers import ANSWER_ID, MAX_NAME_CHARS, SAMPLE_DIGEST

SCRIPTS: Final = (
    "model.js", "pictures.js", "stage.js", "exchange.js", "storage.js", "progress.js", "view.js", "keys.js", "main.js",
)  # fmt: skip
INSTRUCTIONS: Final = (
    "Answer yes if what is asked for can be seen in the picture: also when it is small, cut off, partly hidden, or one "
    "thing among many. A drawing, a model or a toy of it does not count, unless that is what is asked for.\n"
    "Answer no if it cannot be seen, even where you would expect it nearby. Answer unsure if you cannot tell, for "
    "example between two similar kinds.\n"
    "Judge by the definition, which may mean something else than the name's first sense. You are not told what the "
    "machine thinks of a label: that would sway you."
)

_PICTURE: Final = re.compile(r"data:image/(?:jpeg|png|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclasses.dataclass(frozen=True)
class Question:
    """One (image, label) to judge.

    Attributes:
        id: 32 hex digits of the image's key, '/', external id of the label.
        picture: a data: URI of a JPEG, PNG or WebP; None where there is no picture to show.
        category: name of the label.
        definition: what the name means here; may be empty.
        synonyms: other names.
        path: names of the ancestors, the nearest first.
        uri: where the picture came from.
    """

    id: str
    picture: str | None
    category: str
    definition: str
    synonyms: tuple[str, ...]
    path: tuple[str, ...]
    uri: str


def render_audit_page(
    questions: Sequence[Question],
    *,
    title: str,
    sample: str,
    purpose: Literal["audit", "gold"],
    instructions: str = INSTRUCTIONS,
) -> str:
    """The page.

    Args:
        questions: in the order in which they are asked.
        title: heading of the page, any text.
        sample: digest of the drawn sample, 12 to 128 hex digits: names the answers in the browser and in the export.
        purpose: of the answers; goes into the export.
        instructions: how to judge, for the judge to read first; each line is a paragraph.

    Raises:
        ValueError: no questions, an id that is malformed or asked twice, a picture that is not a data: URI of an
            image, or a malformed digest.
    """
    _check(questions, sample, purpose)
    pictures = list(dict.fromkeys(q.picture for q in questions if q.picture is not None))
    head = filled_page(
        __package__,
        SCRIPTS,
        _columns(questions, pictures, title, sample, purpose),
        title=title,
        instructions=[line for line in instructions.splitlines() if line.strip()],
        purpose=purpose,
        total=len(questions),
        total_words=f"{len(questions):,} label{'' if len(questions) == 1 else 's'}",
    )
    # The pictures are base64, checked above: they need no escape, and no second copy of 200 MB for it.
    holders = (f'<script type="text/plain" id="p{i}">{picture}</script>\n' for i, picture in enumerate(pictures))
    return "".join((head, *holders, '<p id="end" hidden></p>\n</body>\n</html>\n'))


def _check(questions: Sequence[Question], sample: str, purpose: str) -> None:
    if not SAMPLE_DIGEST.fullmatch(sample):
        raise ValueError(f"expected the sample's digest as 12 to 128 hex digits in lower case, found {sample!r}")
    if purpose not in {"audit", "gold"}:
        raise ValueError(f"expected the purpose 'audit' or 'gold', found {purpose!r}")
    if not questions:
        raise ValueError("expected questions to ask, found none. Draw a larger sample")
    seen: set[str] = set()
    for question in questions:
        if not ANSWER_ID.fullmatch(question.id):
            raise ValueError(
                f"expected an id of 32 hex digits, '/' and the label's id (512 characters at most, no control "
                f"characters), found {question.id!r}"
            )
        if question.id in seen:
            raise ValueError(f"expected each id once, found {question.id!r} twice. Which answer would count?")
        seen.add(question.id)
        if question.picture is not None and not _PICTURE.fullmatch(question.picture):
            raise ValueError(
                f"{question.id}: expected a picture as data:image/jpeg, png or webp;base64,..., found "
                f"{question.picture[:60]!r}. The page may load nothing from elsewhere"
            )


def _columns(
    questions: Sequence[Question], pictures: Sequence[str], title: str, sample: str, purpose: str
) -> dict[str, Any]:
    """The page's data: each category once, each question as [id, position of its category, of its picture, address].

    -1 stands for a picture that there is not.
    """
    categories = {_meaning(q): 0 for q in questions}
    place = {meaning: i for i, meaning in enumerate(categories)}
    holder = {picture: i for i, picture in enumerate(pictures)}
    return {
        "title": title,
        "sample": sample,
        "purpose": purpose,
        "max_name_chars": MAX_NAME_CHARS,
        "categories": [list(meaning) for meaning in categories],
        "questions": [
            [q.id, place[_meaning(q)], -1 if q.picture is None else holder[q.picture], q.uri] for q in questions
        ],
    }


def _meaning(question: Question) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    return question.category, question.definition, question.synonyms, question.path
