"""WordNet as ImageNet ships it, and lists of its synsets.

- `wordnet.is_a.txt`: 'parent child' a line, both WordNet ids. Or the folder that holds it: one file with 'is_a' in
  its name.
- Lists without edges. Their order is that of a network's outputs, so the position, from 0, becomes an alias:
  `imagenet_synsets.txt` (an id a line, also as folder names) and `LOC_synset_mapping.txt` or `synset_words.txt`
  ('n01440764 tench, Tinca tinca').
- `words.txt` or `imagenet_synset_to_lemma.txt` (id, tab, names): the categories that it names, without edges. It
  holds more synsets than any network has outputs, so a position in it is no alias.

Names come from `options.names`, or from a file beside it with 'words', 'lemma' or 'synset_mapping' in its name;
definitions from one with 'gloss' or 'definition'. A category without a name there is named by its id. Words of ids
that stand in no edge or list are not taken: `words.txt` has all 82 thousand synsets of WordNet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..draft import Category, Draft, Edge
from ..errors import TaxonomyError
from .lines import numbered_lines, sample, split_names
from .reader import Reader, ReadOptions
from .source import Source

_ID: Final = r"[navrs]\d{8}"  # part of speech and offset of a WordNet synset
_KINDS: Final = {
    "edges": re.compile(rf"{_ID}[ \t]+{_ID}\s*"),
    "ids": re.compile(rf"{_ID}/?\s*"),
    "words": re.compile(rf"{_ID}\t\s*\S.*"),
    "mapping": re.compile(rf"{_ID} +\S.*"),
}
_TREE_LINE: Final = re.compile(rf"{_ID}[ \t]+-?\d+\s*")  # of YOLO9000
_ID_AND_TEXT: Final = re.compile(r"(\S+)\s+(\S.*)")
_NAME_FILES: Final = ("words", "lemma", "synset_mapping")  # the first that is there counts
_DEFINITION_FILES: Final = ("gloss", "definition")


def recognise(source: Source) -> bool:
    """By WordNet ids at the beginning of each line, or a folder with one is_a file."""
    if source.is_folder:
        edges = _edge_files(source)
        return len(edges) == 1 and _kind(source.file(edges[0])) == "edges"
    return _kind(source) is not None


def read(source: Source, options: ReadOptions) -> Draft:
    """The synsets of a file, or of a folder's is_a file."""
    if source.is_folder:
        edges = _edge_files(source)
        if len(edges) != 1:
            raise TaxonomyError(
                f"{source}: expected one file with 'is_a' in its name, such as wordnet.is_a.txt, found "
                f"{', '.join(edges) or 'none'}. Name the file itself"
            )
        source = source.file(edges[0])
    kind = _kind(source)
    if kind is None:
        raise TaxonomyError(
            f"{source}: expected lines 'parent child', a list of ids, or ids with names, the ids as n01440764, found "
            f"{source.first_line[:80]!r}. Is it another format?"
        )
    if kind == "edges":
        return _from_edges(source, options)
    return _from_list(source, options, kind)


def _from_edges(source: Source, options: ReadOptions) -> Draft:
    edges = []
    for line, text in numbered_lines(source):
        if len(ids := text.split()) != 2:
            raise TaxonomyError(f"{source}:{line}: expected 'parent child', found {text[:80]!r}. Mend the line")
        edges.append(Edge(child=ids[1], parent=ids[0], line=line))
    ids = list(dict.fromkeys(category_id for edge in edges for category_id in (edge.parent, edge.child)))
    names, definitions = _texts(source, options)
    # No line: a category has none of its own here.
    categories = [Category(i, *split_names(names.get(i, "")), definitions.get(i)) for i in ids]
    return Draft(tuple(categories), tuple(edges), str(source))


def _from_list(source: Source, options: ReadOptions, kind: str) -> Draft:
    names, definitions = _texts(source, options, own=kind != "ids")
    categories = []
    for position, (line, text) in enumerate(numbered_lines(source)):
        if kind == "ids" and len(text.split()) != 1:
            raise TaxonomyError(f"{source}:{line}: expected one id, found {text[:80]!r}. Mend the line")
        category_id = text.split()[0].rstrip("/")  # `ls -p` of ImageNet's folder ends each in '/'
        aliases = () if kind == "words" else (str(position),)
        name, synonyms = split_names(names.get(category_id, ""))
        categories.append(Category(category_id, name, synonyms, definitions.get(category_id), aliases, line))
    return Draft(tuple(categories), (), str(source))


def _kind(source: Source) -> str | None:
    """What the lines of a file are; None if they differ, or are something else."""
    lines = sample(source)
    if not lines or all(_TREE_LINE.fullmatch(line) for line in lines):
        return None
    return next((kind for kind, form in _KINDS.items() if all(form.fullmatch(line) for line in lines)), None)


def _edge_files(folder: Source) -> list[str]:
    return [name for name in folder.files() if "is_a" in name]


def _texts(source: Source, options: ReadOptions, *, own: bool = False) -> tuple[dict[str, str], dict[str, str]]:
    """(names, definitions) by id; `own`: the names stand in the hierarchy's file itself."""
    names: Source | None = source
    if options.names is not None:
        names = Source(options.names)
    elif not own:
        names = _beside(source, _NAME_FILES)
    definitions = _beside(source, _DEFINITION_FILES)
    return _by_id(names) if names else {}, _by_id(definitions) if definitions else {}


def _beside(source: Source, parts: Iterable[str]) -> Source | None:
    """The first file of ids and texts beside it, by part and then by name, that has the part in its name."""
    files = source.files()
    for part in parts:
        for name in files:
            found = source.file(name)
            if part in name and found.name != source.name and _kind(found) in {"words", "mapping"}:
                return found
    return None


def _by_id(source: Source) -> dict[str, str]:
    """The text after each id."""
    found: dict[str, str] = {}
    for line, text in numbered_lines(source):
        match = _ID_AND_TEXT.fullmatch(text.strip())
        if match is None:
            raise TaxonomyError(
                f"{source}:{line}: expected an id and, after a tab or a space, a text, found {text[:80]!r}. "
                "Mend the line"
            )
        if found.setdefault(match[1], match[2]) != match[2]:
            raise TaxonomyError(
                f"{source}:{line}: {match[1]!r} is {match[2][:40]!r} here and {found[match[1]][:40]!r} before. "
                "Remove one of the lines"
            )
    return found


READER = Reader("imagenet", "WordNet as ImageNet ships it: is_a, words, gloss, synset lists", recognise, read)
