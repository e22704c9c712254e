"""Text to tokens, the same way for names and for strangers' text, with offsets into the text as it was given.

In: any str. Out: `Token`s: a normal form, where it stands, how it was capitalised; breaks are tokens with an empty
form, which no name and no compound crosses.

The normal form is NFKC, casefolded, without the combining marks of Latin letters, invisible characters or
typographic apostrophes. '-' and '_' between words part them like a space (a hyphen with spaces around it is a dash,
except in text all in lower case, where some corpora write their hyphens so). A possessive 's is a token of its own.
HTML entities are resolved; addresses and @mentions are breaks; a #hashtag is its words, camel case parted. A run of
characters that are written without spaces (Han, kana, Thai, ...) is parted into single characters. It stems nothing.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final, NamedTuple

MAX_TEXT_CHARS: Final = 2_000  # alt text is short; a longer text is a page, and its beginning says what it is about
MAX_WORD_CHARS: Final = 64
LOWER, INITIAL, CAPITALS, MIXED = 0, 1, 2, 3

_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0900-\u0903\u093a-\u094f\u0951-\u0957"
    "\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc\u0abe-\u0acd\u0b01-"
    "\u0b03\u0b3c\u0b3e-\u0b4d\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c4d\u0c81-\u0c83\u0cbc\u0cbe-\u0ccd\u0d00-\u0d03"
    "\u0d3e-\u0d4d\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f"
)
_INVISIBLE: Final = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_APOSTROPHES: Final = "'\u2018\u2019\u02bc\u2032\uff07"
_LETTER: Final = rf"[^\W_{_APOSTROPHES}]"
_WORD: Final = rf"(?:{_LETTER}|[{_MARKS}{_INVISIBLE}])+"
_WORDS: Final = rf"(?:[^\W\d_]\.){{2,}}|{_WORD}(?:[{_APOSTROPHES}]{_WORD})*|[{_APOSTROPHES}](?:s|re|ll|d|ve|m|t)\b"
_BREAK: Final = rf"[^\w\s\-{_APOSTROPHES}{_MARKS}{_INVISIBLE}]+|[\n\r\t\v\f\x00-\x08]+|(?<=\s)-+(?=\s)|--+"
_ADDRESS: Final = r"(?:https?://|www\.)\S+|[\w.+\-]{1,64}@[\w\-]{1,64}\.[\w.\-]+|@\w+"
_PLAIN: Final = re.compile(rf"({_WORDS})|{_BREAK}", re.IGNORECASE)
_FULL: Final = re.compile(rf"(?!{_ADDRESS})({_WORDS})|(?:{_ADDRESS})|{_BREAK}", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NOISE: Final = re.compile(rf"[{_INVISIBLE}]")
_APOSTROPHE: Final = re.compile(rf"[{_APOSTROPHES}]")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002fa1f]"
)
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\WA-Za-z\d_]+")
_ABBREVIATIONS: Final = frozenset(("st", "mt", "dr", "mr", "mrs", "ms", "jr", "sr", "ft", "vs", "no"))


class Token(NamedTuple):
    """One word, or a break where `form` is empty.

    Attributes:
        form: normal form.
        start: offset of its first character in the text.
        end: offset behind its last character.
        case: LOWER, INITIAL, CAPITALS (two letters or more) or MIXED, as it was written.
    """

    form: str
    start: int
    end: int
    case: int


def normal_form(word: str) -> str:
    """The normal form of one word; '' where nothing visible is left."""
    folded = unicodedata.normalize("NFKC", _NOISE.sub("", word)).casefold()
    if not folded.isascii():
        kept: list[str] = []
        for char in unicodedata.normalize("NFD", folded):
            if unicodedata.category(char) != "Mn" or not kept or not _is_latin(kept[-1]):
                kept.append(char)
        folded = unicodedata.normalize("NFC", "".join(kept))
        folded = _APOSTROPHE.sub("'", folded)
    return folded.replace("\u0131", "i")


def _is_latin(char: str) -> bool:
    return char.isascii() or unicodedata.name(char, "").startswith("LATIN")


def case_of(word: str) -> int:
    """How a word is capitalised."""
    if word.islower() or not word[:1].isalpha():
        return LOWER
    if word.isupper():
        return CAPITALS if len(word) > 1 else INITIAL
    if word[0].isupper():
        return INITIAL if word[1:].islower() else MIXED
    return LOWER if word.lower() == word else MIXED


def split_word(word: str, *, hashtag: bool = False) -> list[Token]:
    """The tokens of one run of word characters; offsets count from its beginning."""
    if len(word) > MAX_WORD_CHARS:
        return [Token("\ufffd", 0, len(word), LOWER)]
    if hashtag and case_of(word) == MIXED:
        return [_token(m.group(), m.start()) for m in _CAMEL.finditer(word)]
    if _UNSPACED.search(word):
        return [_token(char, i) for i, char in enumerate(word) if unicodedata.category(char)[0] in "LN"]
    if len(word) > 2 and word[-1] in "sS" and _APOSTROPHE.match(word[-2]):
        return [_token(word[:-2], 0), Token("'s", len(word) - 2, len(word), LOWER)]
    return [_token(word, 0)]


def _token(word: str, start: int) -> Token:
    return Token(normal_form(word), start, start + len(word), case_of(word))


def scan(text: str) -> list[tuple[str, int, int]]:
    """The runs of word characters and the breaks of a text: (run, start, end).

    A break is '' and a hashtag's run begins with '#'; `split_word` makes tokens of the others. Offsets are those of
    `text` as given, also where it has HTML entities.
    """
    given, places = text, None
    if "&" in text and _ENTITY.search(text):
        text, places = _resolve_entities(text)
    full = "@" in text or "//" in text or "www." in text.lower()
    found: list[tuple[str, int, int]] = []
    hashtag = -1  # where a '#' ended last
    for match in (_FULL if full else _PLAIN).finditer(text):
        start, end = match.span()
        if match.lastindex:
            if start != hashtag:
                found.append((match.group(), start, end))
            else:
                found += (("#" + match.group(), start, end), ("", end, end))
        else:
            mark = match.group()
            if mark == "&":
                found.append(("and", start, end))
            elif not _is_joint(mark, text, found, start):
                found.append(("", start, end))
            hashtag = end if mark[-1] == "#" else -1
    if places is None:
        return found
    ends = [place + _length_at(given, place) for place in places]
    return [(run, places[start] if start < end else ends[end - 1], ends[end - 1]) for run, start, end in found]


def _is_joint(mark: str, text: str, found: list[tuple[str, int, int]], start: int) -> bool:
    """Whether a mark parts nothing: the point of an abbreviation, the spaced hyphen of a lower-case corpus."""
    if mark == "-":
        return text.islower()
    if mark == "." and found:
        run, _, end = found[-1]
        return end == start and ((len(run) == 1 and run.isupper()) or run.lower() in _ABBREVIATIONS)
    return False


def _resolve_entities(text: str) -> tuple[str, list[int]]:
    """The text without HTML entities, and where each of its characters stands in the given one."""
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for match in _ENTITY.finditer(text):
        parts.append(text[at : match.start()])
        places += range(at, match.start())
        resolved = html.unescape(match.group())
        parts.append(resolved)
        places += [match.start()] * len(resolved)
        at = match.end()
    parts.append(text[at:])
    places += range(at, len(text))
    return "".join(parts), places


def _length_at(text: str, place: int) -> int:
    match = _ENTITY.match(text, place)
    return len(match.group()) if match else 1


def tokenise(text: str) -> list[Token]:
    """The tokens and breaks of a text, in order; see the module's docstring."""
    tokens = []
    for run, start, end in scan(text):
        if not run:
            tokens.append(Token("", start, end, LOWER))
            continue
        tokens += place_tokens(run_tokens(run), start, end)
    return tokens


def run_tokens(run: str) -> list[Token]:
    """The tokens of a run that `scan` found; offsets count from the word's beginning."""
    return split_word(run[1:], hashtag=True) if run[0] == "#" else split_word(run)


def place_tokens(tokens: list[Token], start: int, end: int) -> list[Token]:
    """Tokens of one run at their place; where entities made the run longer than it looks, they share its place."""
    if len(tokens) == 1 or tokens[-1].end > end - start:
        return [token._replace(start=start, end=end) for token in tokens]
    return [token._replace(start=start + token.start, end=start + token.end) for token in tokens]
