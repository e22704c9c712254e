"""What an evaluation may be told, validated whole when it is built.

Every field's `metadata["help"]` is its line for the command line.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from openjft.loaders.checks import Device, Precision, check, option, raise_all
from openjft.loaders.storage.options import CacheFields
from openjft.loaders.training.checkpoint import WeightsChoice
from openjft.loaders.training.device_choice import device_mistakes
from openjft.loaders.training.label_options import JoinOptions

Split = Literal["holdout", "all"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(JoinOptions, CacheFields):
    """An evaluation of one checkpoint; raises `LoaderError` with every mistake.

    The labels and classes that it joins are the network's: of the images that are scored or, with judgements, of those
    that were trained on.
    """

    data: str = dataclasses.field(
        metadata=option("images, as in training: a dataset, tars, class folders; with judgements a folder of images")
    )
    checkpoint: Path = dataclasses.field(metadata=option("checkpoint file, or a training's output folder (its last)"))
    split: Split | None = dataclasses.field(
        default=None,
        metadata=option(
            "holdout: the images that the training left out; all: every image, trained on or not; none: holdout, of a "
            "folder all"
        ),
    )
    judgements: Path | None = dataclasses.field(
        default=None,
        metadata=option("of the images in the folder data: .csv or .parquet, wide or file, label, value"),
    )
    frequencies: str | None = dataclasses.field(
        default=None,
        metadata=option("what was trained on: ids of the classes, and their frequencies for the weights"),
    )
    weights: WeightsChoice = dataclasses.field(
        default="auto", metadata=option("raw, ema (the running mean of the weights), or auto: ema where there is one")
    )
    image_size: int | None = dataclasses.field(
        default=None, metadata=option("side to which a folder's images are cut and resized; none: as in training")
    )
    allow_unknown_classes: bool = dataclasses.field(
        default=False, metadata=option("classes of the table that the network does not have are counted, not an error")
    )
    subset: float = dataclasses.field(
        default=1.0, metadata=option("share of the split that is scored, the first by key")
    )
    batch_size: int = dataclasses.field(default=64, metadata=option("images of a step"))
    k: int = dataclasses.field(default=100, metadata=option("classes of an image that count"))
    class_weight_alpha: float = dataclasses.field(
        default=0.0, metadata=option("class weights are (frequency + alpha)^gamma")
    )
    class_weight_gamma: float = dataclasses.field(
        default=1.0, metadata=option("0 weighs all classes alike, 1 by their frequency in the dataset")
    )
    device: Device = dataclasses.field(default="auto", metadata=option("auto takes a CUDA device where there is one"))
    precision: Precision = dataclasses.field(default="fp32", metadata=option("fp32, or bf16 (many equal scores)"))
    num_threads: int | None = dataclasses.field(
        default=None, metadata=option("threads that decode; none: the loader's own choice")
    )
    per_class: Path | None = dataclasses.field(
        default=None, metadata=option("writes each class's average precision to this .csv or .parquet file")
    )

    clean: tuple[Path, ...] | None = dataclasses.field(
        default=None, metadata=option("lists of clean images, hex keys: the score is compared with that on each list")
    )
    allow_unknown_ids: bool = dataclasses.field(
        default=False, metadata=option("ids of lists and tables that name no image are counted, not an error")
    )
    resamples: int = dataclasses.field(
        default=1_000, metadata=option("bootstrap resamples, and random removals, of a comparison")
    )
    seed: int = dataclasses.field(default=17, metadata=option("of the resamples"))
    table: Path | None = dataclasses.field(
        default=None, metadata=option("writes the comparison with the clean lists to this .md or .csv file")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", str(self.data))
        self._as_paths("checkpoint", "per_class", "table", "judgements", "classes", "label_cache", "cache")
        object.__setattr__(self, "clean", tuple(Path(path) for path in self.clean or ()) or None)
        mistakes = [*self._mistakes(), *self._join_mistakes(), *self._folder_mistakes()]
        if self.split is None:
            object.__setattr__(self, "split", "holdout" if self.judgements is None else "all")
        raise_all("evaluation options", mistakes)

    def _folder_mistakes(self) -> list[str]:
        folder = self.judgements is not None
        size_ok = self.image_size is None or (folder and self.image_size >= 1)
        given = "what was trained on, since judgements is given (it has the network's class ids)"
        return [
            *check("split", self.split, "all, since judgements is given", not (folder and self.split == "holdout")),
            *check("frequencies", self.frequencies, given, not folder or self.frequencies is not None),
            *check("weights", self.weights, "auto, raw or ema", self.weights in ("auto", "raw", "ema")),
            *check("image_size", self.image_size, "at least 1, and a folder with judgements", size_ok),
            *check(
                "allow_unknown_classes",
                self.allow_unknown_classes,
                "a folder with judgements",
                folder or not self.allow_unknown_classes,
            ),
        ]

    def _mistakes(self) -> list[str]:
        s = self
        finite = float("inf")
        threads_ok = s.num_threads is None or s.num_threads >= 1
        table_ok = s.table is None or (s.table.suffix in (".md", ".csv") and s.clean is not None)
        ending_ok = s.per_class is None or s.per_class.suffix in (".csv", ".parquet")
        return [
            *check("split", s.split, "holdout or all", s.split in ("holdout", "all", None)),
            *check("subset", s.subset, "in (0, 1]", 0 < s.subset <= 1),
            *check("batch_size", s.batch_size, "at least 1", s.batch_size >= 1),
            *check("k", s.k, "at least 1", s.k >= 1),
            *check("class_weight_alpha", s.class_weight_alpha, "0 or more", 0 <= s.class_weight_alpha < finite),
            *check("class_weight_gamma", s.class_weight_gamma, "finite", abs(s.class_weight_gamma) < finite),
            *s._cache_mistakes(),
            *device_mistakes(s.device),
            *check("precision", s.precision, "fp32 or bf16", s.precision in ("fp32", "bf16")),
            *check("num_threads", s.num_threads, "at least 1", threads_ok),
            *check("per_class", str(s.per_class), "a path that ends in .csv or .parquet", ending_ok),
            *check("resamples", s.resamples, "at least 100 (its 95 % range)", s.resamples >= 100),
            *check("seed", s.seed, "in [0, 2^63)", 0 <= s.seed < 2**63),
            *check("table", str(s.table), "a path that ends in .md or .csv, with lists in `clean`", table_ok),
        ]
