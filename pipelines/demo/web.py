"""Draws the whole demo: a small web with known truth, evaluation sets, pair files, gold, configuration.

In: a folder and a seed. Out, below the folder:

    categories.csv  pairs/  gold.csv  openjft.toml      what a data engineer would have
    web/                                                what the server serves
    eval/                                               COCO, VOC and ImageNet, as unpacked
    truth/labels.parquet copies.parquet fates.parquet texts.parquet   what nobody would have
    web.json                                            how it was drawn; written last

Source: METHODS.md, section 6, in miniature. Equal arguments give equal bytes; a folder that holds the web that is
asked for is left as it is.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..errors import PipelineError
from .copies import TRANSFORMS
from .formats import choose_format, encode, ending, html_page, huge_png, truncated
from .hierarchy import Leaf, leaves, write_hierarchy
from .layouts import LAYOUTS, EvalPicture, choose_leaves, jpeg_bytes, write_layout
from .pairs import write_pairs
from .pictures import draw_picture
from .plan import FATES, KINDS, SMALLEST_WEB, Fate, find_originals, is_strong, make_uris, plan_fates
from .server import DEFAULT_PORT
from .settings import config_file_text
from .signals import CORRECT, STATES, Signals, class_sizes, draw_signals
from .texts import draw_texts

DRAWING_VERSION: Final = 2  # raise it when the same arguments give other bytes
GOLD_SIZE: Final = 800
GOLD_SHARE: Final = 0.25  # of the candidates, at most
_WEB, _EVAL, _SIGNALS, _COPIES, _TEXTS = 1, 2, 3, 4, 5  # streams of random numbers

OnProgress = Callable[[int, int], None]  # pictures done, pictures in all

TRUTH: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("state", pa.string(), nullable=False),  # one of signals.STATES
        pa.field("gold", pa.bool_(), nullable=False),  # shown to the filter: not for judging it
    ]
)
COPIES: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("eval_set", pa.string(), nullable=False),
        pa.field("eval_id", pa.string(), nullable=False),
        pa.field("transform", pa.string(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class DemoWeb:
    """A drawn web: where it lies, how it was drawn, and what ingest must find in its pair files."""

    folder: Path
    port: int
    seed: int
    images: int
    eval_images: int
    rows: int  # of all pair files, bad ones too
    rejects: dict[str, int]  # of the rows, by reason
    version: int = DRAWING_VERSION

    @property
    def config_path(self) -> Path:
        """The configuration of the build."""
        return self.folder / "openjft.toml"

    def truth(self) -> pa.Table:
        """Every candidate pair, with the schema `TRUTH`."""
        return pq.read_table(self.folder / "truth/labels.parquet")

    def copies(self) -> pa.Table:
        """Every planted copy, with the schema `COPIES`."""
        return pq.read_table(self.folder / "truth/copies.parquet")

    def fates(self) -> pa.Table:
        """Every address, with the schema `plan.FATES`."""
        return pq.read_table(self.folder / "truth/fates.parquet")

    def texts(self) -> pa.Table:
        """Every alternative text and what it means, with the schema `texts.TEXTS`."""
        return pq.read_table(self.folder / "truth/texts.parquet")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A web that was drawn before.

        Raises:
            PipelineError: there is none, or it was left half drawn.
        """
        folder = Path(folder)
        try:
            value = json.loads((folder / "web.json").read_text(encoding="utf-8"))
            return cls(folder=folder, **value)
        except (OSError, ValueError, TypeError) as error:
            raise PipelineError(f"{folder}: expected a drawn web with a web.json, found none ({error})") from None

    def save(self) -> None:
        """Writes web.json, which marks the web as whole."""
        value: dict[str, Any] = dataclasses.asdict(self)
        del value["folder"]
        (self.folder / "web.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def draw_web(
    folder: str | Path,
    *,
    seed: int,
    images: int = 3000,
    eval_images: int | None = None,
    port: int = DEFAULT_PORT,
    on_progress: OnProgress | None = None,
) -> DemoWeb:
    """Draws the web, unless the folder holds just this one.

    Args:
        folder: made if need be; what an earlier drawing left in it is removed, nothing else.
        seed: of everything.
        images: addresses of pictures, dead ones and copies too; at least 50.
        eval_images: pictures of each evaluation set; none: a tenth of `images`, 8 to 120.
        port: where it will be served; it stands in every address.
        on_progress: told now and then of the pictures drawn.

    Raises:
        PipelineError: fewer than 50 images.
    """
    if images < SMALLEST_WEB:
        raise PipelineError(f"images: expected at least {SMALLEST_WEB}, so that every kind occurs, found {images}")
    folder = Path(folder)
    eval_images = min(120, max(8, images // 10)) if eval_images is None else eval_images
    asked = DemoWeb(folder, port, seed, images, eval_images, 0, {})
    if (found := _already(asked)) is not None:
        return found
    _clear(folder)
    return _Drawing(asked, on_progress or (lambda *_: None)).draw()


def _already(asked: DemoWeb) -> DemoWeb | None:
    try:
        found = DemoWeb.load(asked.folder)
    except PipelineError:
        return None
    return found if dataclasses.replace(found, rows=0, rejects={}) == asked else None


def _clear(folder: Path) -> None:
    (folder / "web.json").unlink(missing_ok=True)
    for name in ("web", "pairs", "eval", "truth"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("web", "truth"):
        (folder / name).mkdir(parents=True)


class _Drawing:
    """One drawing: the steps share the folder, the seed and the count of pictures."""

    def __init__(self, web: DemoWeb, on_progress: OnProgress) -> None:
        self.web, self.folder, self.on_progress = web, web.folder, on_progress
        self.total = web.images + web.eval_images * len(LAYOUTS)
        self.done = 0

    def rng(self, *stream: int) -> np.random.Generator:
        """Random numbers that depend on nothing drawn before."""
        return np.random.default_rng([self.web.seed, *stream])

    def tick(self) -> None:
        """One picture more."""
        self.done += 1
        if self.done % 20 == 0 or self.done == self.total:
            self.on_progress(self.done, self.total)

    def draw(self) -> DemoWeb:
        """All files; web.json last."""
        write_hierarchy(self.folder / "categories.csv")
        eval_pictures = self.draw_eval_sets()
        rng = self.rng(_SIGNALS)
        fates = plan_fates(self.web.images)
        strong = [fate for fate in fates if is_strong(fate)]
        originals = [
            eval_pictures[i]
            for i in rng.permutation(len(eval_pictures)).repeat(1 + len(strong) // len(eval_pictures)).tolist()
        ]
        copied = {i: originals[i] for i, fate in enumerate(fates) if fate.kind == "copy"}
        signals = draw_signals(rng, self.web.images, strong_leaves=_strong_leaves(rng, fates, copied))
        repeats = find_originals(fates, signals.leaf, rng)
        names = [self.format_of(i, fate, repeats) for i, fate in enumerate(fates)]
        uris = make_uris(fates, [ending(name) for name in names], self.web.port, rng)
        self.draw_pictures(fates, names, uris, signals, copied, repeats)
        self.write_truth(fates, uris, signals, copied, repeats)
        self.write_gold(uris, signals, rng)
        texts = draw_texts(signals, uris, self.rng(_TEXTS))
        pq.write_table(texts, self.folder / "truth/texts.parquet")
        rows, rejects = write_pairs(self.folder / "pairs", signals, uris, texts, rng)
        self.web.config_path.write_text(config_file_text(), encoding="utf-8")
        drawn = dataclasses.replace(self.web, rows=rows, rejects=dict(sorted(rejects.items())))
        drawn.save()
        return drawn

    def draw_eval_sets(self) -> list[EvalPicture]:
        """All evaluation pictures, set by set."""
        pictures = []
        for number, layout in enumerate(LAYOUTS):

            def draw(leaf: Leaf, i: int, number: int = number) -> Image.Image:
                self.tick()
                return draw_picture(leaf, self.rng(_EVAL, number, i))

            shown = choose_leaves(self.rng(_EVAL, number), self.web.eval_images)
            pictures += write_layout(layout, self.folder, shown, draw)
        return pictures

    def format_of(self, i: int, fate: Fate, repeats: dict[int, int]) -> str:
        """The format of a picture's file: any for plain pictures and their duplicates, else JPEG but the huge PNG."""
        if fate.kind == "huge":
            return "png_rgba"
        if fate.kind in {"plain", "duplicate"}:
            return choose_format(self.rng(_WEB, repeats.get(i, i), 1))
        return "jpeg"

    def draw_pictures(
        self,
        fates: Sequence[Fate],
        formats: Sequence[str],
        uris: Sequence[str],
        signals: Signals,
        copied: dict[int, EvalPicture],
        repeats: dict[int, int],
    ) -> None:
        """The files of all addresses that have one."""
        for i, fate in enumerate(fates):
            data = self.file_of(i, fate, formats, signals, copied, repeats)
            if data is not None:
                (self.folder / "web" / uris[i].rpartition("/")[2]).write_bytes(data)
            self.tick()

    def file_of(
        self,
        i: int,
        fate: Fate,
        formats: Sequence[str],
        signals: Signals,
        copied: dict[int, EvalPicture],
        repeats: dict[int, int],
    ) -> bytes | None:
        """What the server sends for an address; None where there is no file."""
        if fate.kind in {"gone", "broken", "closed", "slow", "loop"}:
            return None
        if fate.kind in {"html", "empty", "huge"}:
            return {"html": html_page, "empty": bytes, "huge": huge_png}[fate.kind]()
        if fate.kind == "copy":
            assert fate.transform is not None
            return jpeg_bytes(TRANSFORMS[fate.transform](copied[i].picture, self.rng(_COPIES, i)))
        shown = repeats.get(i, i)
        picture = draw_picture(leaves()[signals.leaf[shown]], self.rng(_WEB, shown))
        if fate.kind == "recompressed" and shown != i:
            return jpeg_bytes(picture, quality=40)
        data = encode(picture, formats[shown])
        return truncated(data) if fate.kind == "truncated" else data

    def write_truth(
        self,
        fates: Sequence[Fate],
        uris: Sequence[str],
        signals: Signals,
        copied: dict[int, EvalPicture],
        repeats: dict[int, int],
    ) -> None:
        """truth/fates.parquet and truth/copies.parquet."""
        kinds = ["plain" if f.kind in {"duplicate", "recompressed"} and i not in repeats else f.kind
                 for i, f in enumerate(fates)]  # fmt: skip
        table = pa.table(
            {
                "uri": uris,
                "kind": kinds,
                "leaf": [leaves()[leaf].id for leaf in signals.leaf],
                "status": [KINDS[kind].status for kind in kinds],
                "http_status": [KINDS[kind].http_status for kind in kinds],
                "same_as": [uris[repeats[i]] if i in repeats else None for i in range(len(fates))],
            },
            schema=FATES,
        )
        pq.write_table(table, self.folder / "truth/fates.parquet")
        copies = [(uris[i], c.eval_set, c.id, fates[i].transform) for i, c in sorted(copied.items())]
        columns = dict(zip(COPIES.names, map(list, zip(*copies, strict=True)), strict=True))
        pq.write_table(pa.table(columns, schema=COPIES), self.folder / "truth/copies.parquet")

    def write_gold(self, uris: Sequence[str], signals: Signals, rng: np.random.Generator) -> None:
        """truth/labels.parquet, and gold.csv: a uniform sample of the candidates."""
        count = len(signals.label)
        gold = np.zeros(count, bool)
        gold[rng.choice(count, min(GOLD_SIZE, int(count * GOLD_SHARE)), replace=False)] = True
        columns = {
            "uri": [uris[i] for i in signals.picture.tolist()],
            "label": [leaves()[i].id for i in signals.label.tolist()],
            "correct": signals.state == CORRECT,
            "state": [STATES[i] for i in signals.state.tolist()],
            "gold": gold,
        }
        table = pa.table(columns, schema=TRUTH)
        pq.write_table(table, self.folder / "truth/labels.parquet")
        with (self.folder / "gold.csv").open("w", newline="", encoding="utf-8") as sink:
            writer = csv.writer(sink, lineterminator="\n")
            writer.writerow(("uri", "label", "correct"))
            for row in table.filter(pa.array(gold)).to_pylist():
                writer.writerow((row["uri"], row["label"], int(row["correct"])))


def _strong_leaves(
    rng: np.random.Generator, fates: Sequence[Fate], copied: dict[int, EvalPicture]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """What the pictures with strong evidence show: copies what their original shows, the others anything."""
    place = {leaf.id: i for i, leaf in enumerate(leaves())}
    count = sum(is_strong(fate) for fate in fates)
    shown = rng.choice(len(place), count, p=class_sizes(len(place)))
    for i, original in copied.items():
        shown[i] = place[original.leaf.id]
    return shown
