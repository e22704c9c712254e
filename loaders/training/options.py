"""What a training run and an evaluation may be told, validated whole when it is built.

Every field's `metadata["help"]` is its line for the command line. Fields marked `recipe` decide the weights: a
checkpoint of another recipe is not gone on with. The others (device, threads, length, logging) may change between
a run and its continuation.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final, Literal

import torch

from openjft.loaders.errors import LoaderError

from .models import ARCHS

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Split = Literal["holdout", "all"]

DEFAULT_EPOCHS: Final = 4  # the paper's; 10 is "full" there


def _help(text: str, *, recipe: bool = False) -> dict[str, Any]:
    return {"help": text, "recipe": recipe}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """A training run. The defaults are the recipe of Sun et al. 2017; raises `LoaderError` with every mistake."""

    data: str = dataclasses.field(metadata=_help("folder or URI of a finished dataset (the build's dataset/)"))
    output: Path = dataclasses.field(metadata=_help("folder for checkpoints/ and metrics.jsonl"))
    arch: str = dataclasses.field(default="resnet50", metadata=_help(f"network: {', '.join(ARCHS)}", recipe=True))
    epochs: int | None = dataclasses.field(
        default=None, metadata=_help(f"passes over the training images; {DEFAULT_EPOCHS} if steps is not given either")
    )
    steps: int | None = dataclasses.field(default=None, metadata=_help("length in batches, instead of epochs"))
    batch_size: int = dataclasses.field(default=32, metadata=_help("images of a step", recipe=True))
    image_size: int | None = dataclasses.field(
        default=None, metadata=_help("the loader resizes to this many pixels a side; none: as stored", recipe=True)
    )
    crop_size: int = dataclasses.field(
        default=299, metadata=_help("random crop in pixels, at most the image's size (paper: 299 of 340)", recipe=True)
    )
    lr: float = dataclasses.field(default=1e-3, metadata=_help("initial learning rate", recipe=True))
    lr_decay: float = dataclasses.field(
        default=0.9, metadata=_help("factor on the learning rate every lr_decay_images", recipe=True)
    )
    lr_decay_images: int = dataclasses.field(
        default=96_000_000, metadata=_help("training images between two decays (paper: 3M steps of 32)", recipe=True)
    )
    weight_decay: float = dataclasses.field(
        default=1e-4,
        metadata=_help("coupled L2 on filters and head weights, not on batch norm and biases", recipe=True),
    )
    momentum: float = dataclasses.field(default=0.9, metadata=_help("RMSProp: share of the old update", recipe=True))
    rho: float = dataclasses.field(default=0.9, metadata=_help("RMSProp: share of the old mean square", recipe=True))
    epsilon: float = dataclasses.field(
        default=1e-3, metadata=_help("RMSProp: added to the mean square, inside the root", recipe=True)
    )
    seed: int = dataclasses.field(default=17, metadata=_help("of initial weights, order and crops", recipe=True))
    precision: Precision = dataclasses.field(
        default="fp32", metadata=_help("fp32, or bf16 (autocast; weights stay fp32)", recipe=True)
    )
    subset: float = dataclasses.field(
        default=1.0, metadata=_help("share of the training images that is used, a nested uniform sample", recipe=True)
    )
    holdout: float = dataclasses.field(
        default=0.0, metadata=_help("last share of the images (by key) that is never trained on", recipe=True)
    )
    device: Device = dataclasses.field(default="auto", metadata=_help("auto takes a CUDA device where there is one"))
    num_threads: int | None = dataclasses.field(
        default=None, metadata=_help("threads that decode; none: the loader's own choice")
    )
    checkpoint_every_steps: int = dataclasses.field(
        default=1_000, metadata=_help("steps between two checkpoints; the last two are kept")
    )
    log_every: int = dataclasses.field(default=20, metadata=_help("steps between two lines of metrics.jsonl"))
    resume: bool = dataclasses.field(
        default=True, metadata=_help("go on from the last checkpoint in output, if there is one")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", str(self.data))
        object.__setattr__(self, "output", Path(self.output))
        _raise_all("training options", [*self._length_mistakes(), *self._number_mistakes()])

    def _length_mistakes(self) -> list[str]:
        if self.epochs is not None and self.steps is not None:
            return [f"epochs, steps: expected one of them, found both ({self.epochs}, {self.steps})"]
        return [
            *_check("epochs", self.epochs, "at least 1", self.epochs is None or self.epochs >= 1),
            *_check("steps", self.steps, "at least 1", self.steps is None or self.steps >= 1),
        ]

    def _number_mistakes(self) -> list[str]:
        s = self
        threads_ok = s.num_threads is None or s.num_threads >= 1
        size_ok = s.image_size is None or s.image_size >= s.crop_size
        return [
            *_check("arch", s.arch, f"one of {', '.join(ARCHS)}", s.arch in ARCHS),
            *_check("batch_size", s.batch_size, "at least 2 (batch norm)", s.batch_size >= 2),
            *_check("image_size", s.image_size, f"at least crop_size, {s.crop_size}", size_ok),
            *_check("crop_size", s.crop_size, "at least 32 (the network halves five times)", s.crop_size >= 32),
            *_check("lr", s.lr, "above 0 and finite", 0 < s.lr < float("inf")),
            *_check("lr_decay", s.lr_decay, "in (0, 1]", 0 < s.lr_decay <= 1),
            *_check("lr_decay_images", s.lr_decay_images, "at least 1", s.lr_decay_images >= 1),
            *_check("weight_decay", s.weight_decay, "in [0, 1)", 0 <= s.weight_decay < 1),
            *_check("momentum", s.momentum, "in [0, 1)", 0 <= s.momentum < 1),
            *_check("rho", s.rho, "in [0, 1)", 0 <= s.rho < 1),
            *_check("epsilon", s.epsilon, "above 0 and finite", 0 < s.epsilon < float("inf")),
            *_check("seed", s.seed, "in [0, 2^63)", 0 <= s.seed < 2**63),
            *_check("precision", s.precision, "fp32 or bf16", s.precision in ("fp32", "bf16")),
            *_check("subset", s.subset, "in (0, 1]", 0 < s.subset <= 1),
            *_check("holdout", s.holdout, "in [0, 1)", 0 <= s.holdout < 1),
            *_device_mistakes(s.device),
            *_check("num_threads", s.num_threads, "at least 1", threads_ok),
            *_check("checkpoint_every_steps", s.checkpoint_every_steps, "at least 1", s.checkpoint_every_steps >= 1),
            *_check("log_every", s.log_every, "at least 1", s.log_every >= 1),
        ]

    def recipe(self) -> dict[str, Any]:
        """The fields that decide the weights, as plain values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["recipe"]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """An evaluation of one checkpoint; raises `LoaderError` with every mistake."""

    data: str = dataclasses.field(metadata=_help("folder or URI of a dataset with the checkpoint's vocabulary"))
    checkpoint: Path = dataclasses.field(metadata=_help("checkpoint file, or a training's output folder (its last)"))
    split: Split = dataclasses.field(
        default="holdout",
        metadata=_help("holdout: the images that the training left out; all: every image, trained on or not"),
    )
    subset: float = dataclasses.field(
        default=1.0, metadata=_help("share of the split that is scored, the first by key")
    )
    batch_size: int = dataclasses.field(default=64, metadata=_help("images of a step"))
    k: int = dataclasses.field(default=100, metadata=_help("classes of an image that count"))
    class_weight_alpha: float = dataclasses.field(
        default=0.0, metadata=_help("class weights are (frequency + alpha)^gamma")
    )
    class_weight_gamma: float = dataclasses.field(
        default=1.0, metadata=_help("0 weighs all classes alike, 1 by their frequency in the dataset")
    )
    device: Device = dataclasses.field(default="auto", metadata=_help("auto takes a CUDA device where there is one"))
    precision: Precision = dataclasses.field(default="fp32", metadata=_help("fp32, or bf16 (many equal scores)"))
    num_threads: int | None = dataclasses.field(
        default=None, metadata=_help("threads that decode; none: the loader's own choice")
    )
    per_class: Path | None = dataclasses.field(
        default=None, metadata=_help("writes each class's average precision to this .csv or .parquet file")
    )

    clean: tuple[Path, ...] | None = dataclasses.field(
        default=None, metadata=_help("lists of clean images, hex keys: the score is compared with that on each list")
    )
    allow_unknown_ids: bool = dataclasses.field(
        default=False, metadata=_help("ids of a clean list that the dataset does not have are counted, not an error")
    )
    resamples: int = dataclasses.field(
        default=1_000, metadata=_help("bootstrap resamples, and random removals, of a comparison")
    )
    seed: int = dataclasses.field(default=17, metadata=_help("of the resamples"))
    table: Path | None = dataclasses.field(
        default=None, metadata=_help("writes the comparison with the clean lists to this .md or .csv file")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", str(self.data))
        for name in ("checkpoint", "per_class", "table"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        object.__setattr__(self, "clean", tuple(Path(path) for path in self.clean or ()) or None)
        _raise_all("evaluation options", self._mistakes())

    def _mistakes(self) -> list[str]:
        s = self
        finite = float("inf")
        threads_ok = s.num_threads is None or s.num_threads >= 1
        table_ok = s.table is None or (s.table.suffix in (".md", ".csv") and s.clean is not None)
        ending_ok = s.per_class is None or s.per_class.suffix in (".csv", ".parquet")
        return [
            *_check("split", s.split, "holdout or all", s.split in ("holdout", "all")),
            *_check("subset", s.subset, "in (0, 1]", 0 < s.subset <= 1),
            *_check("batch_size", s.batch_size, "at least 1", s.batch_size >= 1),
            *_check("k", s.k, "at least 1", s.k >= 1),
            *_check("class_weight_alpha", s.class_weight_alpha, "0 or more", 0 <= s.class_weight_alpha < finite),
            *_check("class_weight_gamma", s.class_weight_gamma, "finite", abs(s.class_weight_gamma) < finite),
            *_device_mistakes(s.device),
            *_check("precision", s.precision, "fp32 or bf16", s.precision in ("fp32", "bf16")),
            *_check("num_threads", s.num_threads, "at least 1", threads_ok),
            *_check("per_class", str(s.per_class), "a path that ends in .csv or .parquet", ending_ok),
            *_check("resamples", s.resamples, "at least 100 (its 95 % range)", s.resamples >= 100),
            *_check("seed", s.seed, "in [0, 2^63)", 0 <= s.seed < 2**63),
            *_check("table", str(s.table), "a path that ends in .md or .csv, with lists in `clean`", table_ok),
        ]


def _check(name: str, value: object, expected: str, ok: bool) -> list[str]:
    return [] if ok else [f"{name}: expected {expected}, found {value!r}"]


def _device_mistakes(device: str) -> list[str]:
    if device == "cuda" and not torch.cuda.is_available():
        return ["device: expected a CUDA device, since 'cuda' was asked for, and torch sees none; say 'cpu' or 'auto'"]
    return _check("device", device, "auto, cpu or cuda", device in ("auto", "cpu", "cuda"))


def _raise_all(what: str, mistakes: list[str]) -> None:
    if mistakes:
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise LoaderError(f"{what}: {len(mistakes)} {noun}\n" + "\n".join(f"  {line}" for line in mistakes))


def choose_device(device: Device) -> torch.device:
    """The device that the word means on this machine."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
