"""Draws texts for a person to judge, and scores the judgement.

    python benchmarks/review_matches.py vocabulary.tsv captions.tsv.gz --background wordnet.tsv.gz -o review.csv
    python benchmarks/review_matches.py --score review.csv

The draw is by hash: the same texts whatever the order of the file, each distinct text once. `--least` and `--below`
cut the first byte of a text's sha256, to keep a part of the file for the judgement that was not looked at before.
Write y (right), n (wrong) or ? (cannot tell, left out and counted) into the column `verdict`. A match is right where
the text really speaks of that kind of thing, in that sense, as a thing. Rows without a match are there to be read:
leave their verdict empty.

The score has intervals of Clopper and Pearson by match and by text (a text is right if all its matches are).
Matches of one text are not independent, so the one by text is the safer.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
from pathlib import Path

from openjft.dedup.interval import clopper_pearson
from openjft.taxonomy import Taxonomy, read_taxonomy
from openjft.taxonomy.lexicon import OUTCOMES, Lexicon

COLUMNS = ("caption", "surface", "id", "name", "probability", "outcome", "verdict")


def draw_texts(path: Path, number: int, *, least: int, below: int, seed: str) -> list[str]:
    """Distinct texts of the first column, in order of their hash with the seed."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        texts = {line.rstrip("\n").split("\t")[0] for line in lines}
    kept = [text for text in texts if least <= hashlib.sha256(text.encode()).digest()[0] < below]
    return sorted(kept, key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest())[:number]


def plain_matches(taxonomy: Taxonomy, texts: list[str]) -> list[list[tuple[object, ...]]]:
    """What a dictionary finds: the longest name, with or without an s, and the first category that bears it."""
    import ahocorasick_rs

    names: dict[str, int] = {}
    for label in range(taxonomy.num_categories):
        for name in (taxonomy.names[label], *taxonomy.synonyms[label]):
            for form in (name.casefold(), f"{name.casefold()}s"):
                names.setdefault(f" {'  '.join(form.split())} ", label)
    patterns = list(names)
    automaton = ahocorasick_rs.AhoCorasick(patterns, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
    rows = []
    for text in texts:
        padded = f" {'  '.join(text.casefold().split())} "  # two spaces between words: each name takes one on each side
        found = [patterns[pattern] for pattern, _, _ in automaton.find_matches_as_indexes(padded)]
        own = [(name.strip(), names[name]) for name in found]
        rows.append([(text, name, taxonomy.ids[i], taxonomy.names[i], "", "matched", "") for name, i in own])
    return rows


def write_review(args: argparse.Namespace) -> None:
    taxonomy = read_taxonomy(args.taxonomy)
    texts = draw_texts(args.texts, args.number, least=args.least, below=args.below, seed=args.seed)
    if args.plain:
        plain = plain_matches(taxonomy, texts)
        _write(args.output, [row for rows in plain for row in rows])
        print(json.dumps({"texts": len(texts), "matches": sum(map(len, plain))}))
        return
    background = read_taxonomy(args.background) if args.background else None
    found = Lexicon.build(taxonomy, background=background).match(texts, min_probability=args.min_probability)
    rows: list[list[tuple[object, ...]]] = [[] for _ in texts]
    for t, start, end, label, p in zip(*(column.tolist() for column in found[:5]), strict=True):
        name = ", ".join((taxonomy.names[label], *taxonomy.synonyms[label][:3]))
        rows[t].append((texts[t], texts[t][start:end], taxonomy.ids[label], name, f"{p:.2f}", "matched", ""))
    told = zip(texts, found.outcome.tolist(), rows, strict=True)
    _write(args.output, [row for t, o, own in told for row in own or [(t, "", "", "", "", OUTCOMES[o], "")]])
    print(json.dumps({"texts": len(texts), "matches": len(found.label), **found.counts()}))


def _write(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def score(path: Path) -> dict[str, object]:
    """Precision by match and by text, with 95 % intervals."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["id"]]
    verdicts = [row["verdict"].strip().lower() for row in rows]
    strange = sorted(set(verdicts) - {"y", "n", "?"})
    if strange:
        raise SystemExit(f"{path}: expected y, n or ? as the verdict of each match, found {strange}")
    texts: dict[str, bool] = {}
    right = judged = 0
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict != "?":
            judged += 1
            right += verdict == "y"
            texts[row["caption"]] = texts.get(row["caption"], True) and verdict == "y"
    good = sum(texts.values())
    return {
        "matches": {"right": right, "judged": judged, "precision": right / max(judged, 1),
                    "interval_95": clopper_pearson(right, judged, confidence=0.95)},
        "texts": {"right": good, "judged": len(texts), "precision": good / max(len(texts), 1),
                  "interval_95": clopper_pearson(good, len(texts), confidence=0.95)},
        "cannot_tell": verdicts.count("?"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taxonomy", nargs="?")
    parser.add_argument("texts", nargs="?", type=Path)
    parser.add_argument("--background")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--least", type=int, default=0, help="first byte of the hash at least")
    parser.add_argument("--below", type=int, default=256, help="first byte of the hash below")
    parser.add_argument("--seed", default="review")
    parser.add_argument("--min-probability", type=float, default=0.5)
    parser.add_argument("--plain", action="store_true", help="the peer: a dictionary of names, nothing else")
    parser.add_argument("--output", "-o", type=Path, default=Path("review.csv"))
    parser.add_argument("--score", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.score:
        print(json.dumps(score(args.score), indent=1))
    elif args.taxonomy and args.texts:
        write_review(args)
    else:
        parser.error("expected a taxonomy and a file of texts, or --score FILE")


if __name__ == "__main__":
    main()
