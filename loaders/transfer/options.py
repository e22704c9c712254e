"""What a transfer may be told, validated whole when it is built.

Every field's `metadata["help"]` is its line for the command line; fields marked `recipe` decide the weights.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final, Literal

from openjft.loaders.checks import Device, Precision, check, option, raise_all
from openjft.loaders.training.checkpoint import WeightsChoice
from openjft.loaders.training.device_choice import device_mistakes
from openjft.loaders.training.export import content_sha256
from openjft.loaders.training.models import ARCHS

Mode = Literal["finetune", "freeze"]
RANDOM: Final = "random"
EPOCHS: Final = {"finetune": 30, "freeze": 100}
RATES: Final = {"finetune": 0.03, "freeze": 0.1}
WARMUP_SHARE: Final = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """A transfer to class folders; raises `LoaderError` with every mistake."""

    weights: str = dataclasses.field(
        metadata=option("file of `openjft export`, a checkpoint, or 'random': the same training from a random start")
    )
    data: Path = dataclasses.field(metadata=option("folder with train/ and val/, in them a folder for each class"))
    output: Path = dataclasses.field(metadata=option("folder for result.json, predictions.parquet, checkpoints/"))
    mode: Mode = dataclasses.field(
        default="finetune",
        metadata=option("finetune: all weights; freeze: a linear classifier on the network's features", recipe=True),
    )
    which: WeightsChoice = dataclasses.field(
        default="auto", metadata=option("of a checkpoint: raw, ema, or auto (ema where there is one)", recipe=True)
    )
    arch: str | None = dataclasses.field(
        default=None, metadata=option("network; none: that of the weights, resnet50 for 'random'", recipe=True)
    )
    epochs: int | None = dataclasses.field(
        default=None, metadata=option(f"passes over the training images; none: {EPOCHS}", recipe=True)
    )
    batch_size: int = dataclasses.field(default=64, metadata=option("images of a step", recipe=True))
    image_size: int = dataclasses.field(
        default=256, metadata=option("images are cut to the middle square and resized to this side", recipe=True)
    )
    crop_size: int = dataclasses.field(
        default=224, metadata=option("random crop to train on, middle crop to score, pixels", recipe=True)
    )
    lr: float | None = dataclasses.field(
        default=None, metadata=option(f"highest learning rate; none: {RATES}", recipe=True)
    )
    momentum: float = dataclasses.field(default=0.9, metadata=option("of SGD, in Nesterov's form", recipe=True))
    weight_decay: float = dataclasses.field(
        default=1e-4, metadata=option("L2 on filters and matrices, not on norms and biases", recipe=True)
    )
    warmup_images: int | None = dataclasses.field(
        default=None,
        metadata=option("images over which the rate rises; none: a twentieth of all; then a cosine to 0", recipe=True),
    )
    label_smoothing: float = dataclasses.field(
        default=0.0, metadata=option("share of the target that is spread over all classes", recipe=True)
    )
    seed: int = dataclasses.field(default=17, metadata=option("of initial weights, order and crops", recipe=True))
    precision: Precision = dataclasses.field(default="fp32", metadata=option("fp32, or bf16 autocast", recipe=True))
    train: str = dataclasses.field(default="train", metadata=option("name of the folder that is trained on"))
    val: str = dataclasses.field(default="val", metadata=option("name of the folder that is scored on"))
    train_list: Path | None = dataclasses.field(
        default=None, metadata=option("train on the images of this list only: paths below train/, or names")
    )
    val_list: Path | None = dataclasses.field(
        default=None, metadata=option("score on the images of this list only: paths below val/, or names")
    )
    clean: tuple[Path, ...] | None = dataclasses.field(
        default=None, metadata=option("lists of clean val images: the score is compared with that on each list")
    )
    allow_unknown_ids: bool = dataclasses.field(
        default=False, metadata=option("ids of lists that name no image are counted, not an error")
    )
    resamples: int = dataclasses.field(
        default=1_000, metadata=option("bootstrap resamples, and random removals, of a comparison")
    )
    table: Path | None = dataclasses.field(
        default=None, metadata=option("writes the comparison with the clean lists to this .md or .csv file")
    )
    device: Device = dataclasses.field(default="auto", metadata=option("auto takes a CUDA device where there is one"))
    num_threads: int | None = dataclasses.field(
        default=None, metadata=option("threads that decode; none: the loader's own choice")
    )
    checkpoint_every_steps: int = dataclasses.field(
        default=1_000, metadata=option("steps between two checkpoints; the last two are kept")
    )
    log_every: int = dataclasses.field(default=20, metadata=option("steps between two lines of metrics.jsonl"))
    resume: bool = dataclasses.field(
        default=True, metadata=option("go on from the last checkpoint in output, if there is one")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", str(self.weights))
        for name in ("data", "output", "train_list", "val_list", "table"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        object.__setattr__(self, "clean", tuple(Path(path) for path in self.clean or ()) or None)
        raise_all("transfer options", [*self._mistakes(), *self._number_mistakes()])

    def _mistakes(self) -> list[str]:
        s = self
        there = s.weights == RANDOM or Path(s.weights).exists()
        table_ok = s.table is None or (s.table.suffix in (".md", ".csv") and s.clean is not None)
        plain = [
            (name, value, value not in ("", ".", "..") and "/" not in value)
            for name, value in (("train", s.train), ("val", s.val))
        ]
        return [
            *check("weights", s.weights, "'random', an exported file or a checkpoint that exists", there),
            *check("mode", s.mode, "finetune or freeze", s.mode in EPOCHS),
            *check("which", s.which, "auto, raw or ema", s.which in ("auto", "raw", "ema")),
            *check("arch", s.arch, f"one of {', '.join(ARCHS)}", s.arch is None or s.arch in ARCHS),
            *(line for name, value, ok in plain for line in check(name, value, "the name of a folder in data", ok)),
            *check("table", str(s.table), "a path that ends in .md or .csv, with lists in `clean`", table_ok),
            *device_mistakes(s.device),
            *check("precision", s.precision, "fp32 or bf16", s.precision in ("fp32", "bf16")),
        ]

    def _number_mistakes(self) -> list[str]:
        s = self
        threads_ok = s.num_threads is None or s.num_threads >= 1
        return [
            *check("epochs", s.epochs, "at least 1", s.epochs is None or s.epochs >= 1),
            *check("batch_size", s.batch_size, "at least 2 (batch norm)", s.batch_size >= 2),
            *check("crop_size", s.crop_size, "at least 32 (the network halves five times)", s.crop_size >= 32),
            *check("image_size", s.image_size, f"at least crop_size, {s.crop_size}", s.image_size >= s.crop_size),
            *check("lr", s.lr, "above 0 and finite", s.lr is None or 0 < s.lr < float("inf")),
            *check("momentum", s.momentum, "in (0, 1)", 0 < s.momentum < 1),
            *check("weight_decay", s.weight_decay, "in [0, 1)", 0 <= s.weight_decay < 1),
            *check("warmup_images", s.warmup_images, "0 or more", s.warmup_images is None or s.warmup_images >= 0),
            *check("label_smoothing", s.label_smoothing, "in [0, 1)", 0 <= s.label_smoothing < 1),
            *check("seed", s.seed, "in [0, 2^63)", 0 <= s.seed < 2**63),
            *check("resamples", s.resamples, "at least 100 (its 95 % range)", s.resamples >= 100),
            *check("num_threads", s.num_threads, "at least 1", threads_ok),
            *check("checkpoint_every_steps", s.checkpoint_every_steps, "at least 1", s.checkpoint_every_steps >= 1),
            *check("log_every", s.log_every, "at least 1", s.log_every >= 1),
        ]

    @property
    def passes(self) -> int:
        """Epochs."""
        return EPOCHS[self.mode] if self.epochs is None else self.epochs

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return RATES[self.mode] if self.lr is None else self.lr

    def warmup(self, total_images: int) -> int:
        """Images of the warm-up."""
        return round(WARMUP_SHARE * total_images) if self.warmup_images is None else self.warmup_images

    def recipe(self, arch: str) -> dict[str, Any]:
        """What decides the weights, as plain values; `weights` by their content. `holdout`: nothing is held out."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["recipe"]}
        weights = RANDOM if self.weights == RANDOM else content_sha256(Path(self.weights))
        decided = {"weights": weights, "arch": arch, "epochs": self.passes, "lr": self.rate}
        return values | {"task": "transfer", "holdout": 0.0} | decided
