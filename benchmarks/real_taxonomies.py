"""Real hierarchies: does each load, are its ancestors those of NetworkX, and does expansion close real label lists?

    python benchmarks/real_taxonomies.py DATA_FOLDER

Reads every file below DATA_FOLDER/taxonomies that is a hierarchy by its content (`read_taxonomy`, format auto),
compares the ancestors of every category with `networkx.ancestors`, and prints one row of Markdown for each; files that
are none are listed with the reader's words. Then Tencent ML-Images' sample lists, in
DATA_FOLDER/noisy_pairs/tencent_ml_images, lines `URL_OR_FILE<TAB>index:confidence<TAB>...`: how many images are closed
under parents before and after expansion, and whether what was asserted is untouched. Exits 1 where an answer is no.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import networkx as nx
import numpy as np

from openjft.taxonomy import (
    Closure,
    Taxonomy,
    TaxonomyError,
    ancestor_closure,
    expand_labels,
    read_taxonomy,
    statistics,
)

TENCENT = "tencent_ml_images"


def same_as_networkx(taxonomy: Taxonomy, closure: Closure) -> bool:
    """Ancestors of every category, node by node."""
    graph = taxonomy.to_networkx()
    label_of = {category_id: label for label, category_id in enumerate(taxonomy.ids)}
    return all(
        closure.of(label).tolist() == sorted(label_of[i] for i in nx.ancestors(graph, category_id))
        for category_id, label in label_of.items()
    )


def check_file(path: Path, root: Path) -> tuple[str, bool, Taxonomy | None]:
    """A row of the table, or the reader's words for a file that is no hierarchy; whether all is well."""
    start = time.perf_counter()
    try:
        taxonomy = read_taxonomy(str(path))
    except TaxonomyError as error:
        said = str(error).replace(f"{root}/", "")
        return f"{said.splitlines()[0]} [...] {said.splitlines()[-1]}", True, None
    loaded = time.perf_counter()
    closure = ancestor_closure(taxonomy)
    closed = time.perf_counter()
    shape, equal = statistics(taxonomy, closure), same_as_networkx(taxonomy, closure)
    cells = [
        str(path.relative_to(root)),
        *(f"{n:,}" for n in (shape.categories, shape.edges, shape.roots, shape.depth, shape.largest_fan_out)),
        f"{shape.several_parents:,}",
        f"{shape.mean_ancestors:.2f}",
        f"{loaded - start:.3f}",
        f"{closed - loaded:.4f}",
        "yes" if equal else "**no**",
    ]
    return f"| {' | '.join(cells)} |", equal, taxonomy


def read_lists(path: Path, taxonomy: Taxonomy) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the images, and (image, label, probability) rows; a label that an image has twice keeps the higher."""
    names, best = [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        name, *items = line.split("\t")
        for index, confidence in (item.split(":") for item in items if item):
            key = len(names), taxonomy.index_of(index)
            best[key] = max(best.get(key, 0.0), float(confidence))
        names.append(name)
    rows = sorted((*key, p) for key, p in best.items())
    image, label, p = zip(*rows, strict=True)
    return names, np.array(image, np.int64), np.array(label, np.int32), np.array(p, np.float32)


def missing_parents(taxonomy: Taxonomy, image: np.ndarray, label: np.ndarray) -> list[tuple[int, int]]:
    """(image, parent) for each label of an image and each direct parent of it that the image does not have."""
    found = set(zip(image.tolist(), label.tolist(), strict=True))
    wanted = [(i, parent) for i, child in found for parent in taxonomy.parents.of(child).tolist()]
    return sorted(pair for pair in wanted if pair not in found)


def check_lists(path: Path, taxonomy: Taxonomy, closure: Closure) -> tuple[str, bool]:
    """A row of the table, and whether all is well."""
    names, image, label, p = read_lists(path, taxonomy)
    before = missing_parents(taxonomy, image, label)
    result = expand_labels(image, label, p, closure)
    after = missing_parents(taxonomy, result.image_index, result.label)
    asserted = result.asserted
    kept = np.array_equal(result.image_index[asserted], image) and np.array_equal(result.label[asserted], label)
    lowered = int(np.count_nonzero(result.probability[asserted] < p))
    lifted = int(np.count_nonzero(result.probability[asserted] > p))
    added = set(zip(result.image_index[~asserted].tolist(), result.label[~asserted].tolist(), strict=True))
    good = not after and kept and lowered == 0 and set(before) <= added
    closed = [len(names) - len({i for i, _ in missing}) for missing in (before, after)]
    cells = (
        *(path.name, f"{len(names):,}", f"{len(label):,}", f"{closed[0]:,}", f"{closed[1]:,}"),
        *(f"{len(before):,}", f"{len(added):,}", "yes" if kept and not lowered else "**no**", f"{lifted:,}"),
    )
    return f"| {' | '.join(cells)} |", good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with taxonomies/ and noisy_pairs/")
    options = parser.parse_args()
    root = options.data / "taxonomies"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        parser.error(f"expected hierarchy files below {root}, found none")
    good, others, tencent = True, [], None
    print(
        "| file | categories | edges | roots | depth | largest fan-out | several parents | mean ancestors | load s "
        "| closure s | equal to NetworkX |\n" + "|---" * 11 + "|"
    )
    for path in files:
        text, fine, taxonomy = check_file(path, root)
        good &= fine
        if taxonomy is None:
            others.append(text)
            continue
        print(text, flush=True)
        if path.parent.name == TENCENT:
            tencent = taxonomy
    if others:
        print("\nNo hierarchy by itself:\n" + "\n".join(f"- {text}" for text in others))
    lists = sorted((options.data / "noisy_pairs" / TENCENT).glob("*.txt"))
    if tencent is not None and lists:
        closure = ancestor_closure(tencent)
        print(
            "\n| list | images | labels | closed under parents before | after | parents missing before | labels added "
            "| asserted untouched, none lowered | asserted ones lifted |\n" + "|---" * 9 + "|"
        )
        for path in lists:
            text, fine = check_lists(path, tencent, closure)
            good &= fine
            print(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
