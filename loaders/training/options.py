"""What a training run may be told, validated whole when it is built.

Every field's `metadata["help"]` is its line for the command line. Fields marked `recipe` decide the weights: a
checkpoint of another recipe is not gone on with. The others (device, threads, length, logging) may change between
a run and its continuation.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from openjft.loaders.checks import Device, Precision, check, option, raise_all
from openjft.loaders.storage.options import CacheFields

from .device_choice import device_mistakes
from .export import content_sha256
from .label_options import LabelOptions
from .models import ARCHS
from .schedule import SCHEDULES, Schedule, ScheduleKind

DEFAULT_EPOCHS: Final = 4  # the paper's; 10 is "full" there
BN_IMAGES: Final = 32  # the paper's: each replica's batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(LabelOptions, CacheFields):
    """A training run. The defaults are the recipe of Sun et al. 2017; raises `LoaderError` with every mistake."""

    data: str = dataclasses.field(
        metadata=option("finished dataset (the build's dataset/), or plain tars: a folder or URI")
    )
    output: Path = dataclasses.field(metadata=option("folder for checkpoints/ and metrics.jsonl"))
    arch: str = dataclasses.field(default="resnet50", metadata=option(f"network: {', '.join(ARCHS)}", recipe=True))
    epochs: int | None = dataclasses.field(
        default=None, metadata=option(f"passes over the training images; {DEFAULT_EPOCHS} if steps is not given either")
    )
    steps: int | None = dataclasses.field(default=None, metadata=option("length in batches, instead of epochs"))
    batch_size: int = dataclasses.field(
        default=32, metadata=option("images of a step, over all processes", recipe=True)
    )
    bn_images: int | None = dataclasses.field(
        default=None,
        metadata=option(
            f"images of a batch-norm group; none: {BN_IMAGES} if it divides batch_size, else all", recipe=True
        ),
    )
    image_size: int | None = dataclasses.field(
        default=None, metadata=option("the loader resizes to this many pixels a side; none: as stored", recipe=True)
    )
    crop_size: int = dataclasses.field(
        default=299, metadata=option("random crop in pixels, at most the image's size (paper: 299 of 340)", recipe=True)
    )
    lr: float = dataclasses.field(default=1e-3, metadata=option("initial learning rate", recipe=True))
    lr_decay: float = dataclasses.field(
        default=0.9, metadata=option("factor on the learning rate every lr_decay_images", recipe=True)
    )
    lr_decay_images: int = dataclasses.field(
        default=96_000_000, metadata=option("training images between two decays (paper: 3M steps of 32)", recipe=True)
    )
    schedule: ScheduleKind = dataclasses.field(
        default="steps",
        metadata=option("of the learning rate: steps (lr_decay), cosine (to 0) or constant", recipe=True),
    )
    warmup_images: int = dataclasses.field(
        default=0, metadata=option("images over which the learning rate rises from 0", recipe=True)
    )
    ema: float | None = dataclasses.field(
        default=None,
        metadata=option(
            "keep a running mean of the weights: its decay for a step of 32 images, as 0.9999", recipe=True
        ),
    )
    weight_decay: float = dataclasses.field(
        default=1e-4,
        metadata=option("coupled L2 on filters and head weights, not on batch norm and biases", recipe=True),
    )
    momentum: float = dataclasses.field(default=0.9, metadata=option("RMSProp: share of the old update", recipe=True))
    rho: float = dataclasses.field(default=0.9, metadata=option("RMSProp: share of the old mean square", recipe=True))
    epsilon: float = dataclasses.field(
        default=1e-3, metadata=option("RMSProp: added to the mean square, inside the root", recipe=True)
    )
    seed: int = dataclasses.field(default=17, metadata=option("of initial weights, order and crops", recipe=True))
    precision: Precision = dataclasses.field(
        default="fp32", metadata=option("fp32, or bf16 (autocast; weights stay fp32)", recipe=True)
    )
    tf32: bool = dataclasses.field(
        default=True, metadata=option("on CUDA, multiply float32 with 10 bits of mantissa (TF32)", recipe=True)
    )
    init: Path | None = dataclasses.field(
        default=None, metadata=option("initial weights: an exported file or a checkpoint", recipe=True)
    )
    subset: float = dataclasses.field(
        default=1.0, metadata=option("share of the training images that is used, a nested uniform sample", recipe=True)
    )
    holdout: float = dataclasses.field(
        default=0.0, metadata=option("last share of the images (by key) that is never trained on", recipe=True)
    )
    device: Device = dataclasses.field(default="auto", metadata=option("auto takes a CUDA device where there is one"))
    num_threads: int | None = dataclasses.field(
        default=None, metadata=option("threads that decode; none: the loader's own choice")
    )
    compile: bool = dataclasses.field(default=False, metadata=option("compile the network (torch.compile)"))
    split_head: bool = dataclasses.field(
        default=False, metadata=option("split the classes of the head over the processes")
    )
    check_sha256: bool = dataclasses.field(
        default=True, metadata=option("compare each image with its hash in the index: other bytes are not trained on")
    )
    max_skipped: float = dataclasses.field(
        default=0.0,
        metadata=option(
            "damaged images of an epoch that are left out before the run ends: a share, or a count from 1 on"
        ),
    )
    checkpoint_every_steps: int = dataclasses.field(
        default=1_000, metadata=option("steps between two checkpoints; the last two are kept")
    )
    log_every: int = dataclasses.field(default=20, metadata=option("steps between two lines of metrics.jsonl"))
    resume: bool = dataclasses.field(
        default=True, metadata=option("go on from the last checkpoint in output, if there is one")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", str(self.data))
        object.__setattr__(self, "output", Path(self.output))
        self._as_paths("cache", "init", "classes", "class_weights", "label_cache")
        mistakes = [self._length_mistakes(), self._number_mistakes(), self._network_mistakes(), self._label_mistakes()]
        raise_all("training options", [line for lines in mistakes for line in lines])

    def _length_mistakes(self) -> list[str]:
        if self.epochs is not None and self.steps is not None:
            return [f"epochs, steps: expected one of them, found both ({self.epochs}, {self.steps})"]
        return [
            *check("epochs", self.epochs, "at least 1", self.epochs is None or self.epochs >= 1),
            *check("steps", self.steps, "at least 1", self.steps is None or self.steps >= 1),
        ]

    def _number_mistakes(self) -> list[str]:
        s = self
        threads_ok = s.num_threads is None or s.num_threads >= 1
        size_ok = s.image_size is None or s.image_size >= s.crop_size
        return [
            *check("arch", s.arch, f"one of {', '.join(ARCHS)}", s.arch in ARCHS),
            *check("batch_size", s.batch_size, "at least 2 (batch norm)", s.batch_size >= 2),
            *check("image_size", s.image_size, f"at least crop_size, {s.crop_size}", size_ok),
            *check("crop_size", s.crop_size, "at least 32 (the network halves five times)", s.crop_size >= 32),
            *check("lr", s.lr, "above 0 and finite", 0 < s.lr < float("inf")),
            *check("lr_decay", s.lr_decay, "in (0, 1]", 0 < s.lr_decay <= 1),
            *check("lr_decay_images", s.lr_decay_images, "at least 1", s.lr_decay_images >= 1),
            *check("schedule", s.schedule, f"one of {', '.join(SCHEDULES)}", s.schedule in SCHEDULES),
            *check("warmup_images", s.warmup_images, "at least 0", s.warmup_images >= 0),
            *check("weight_decay", s.weight_decay, "in [0, 1)", 0 <= s.weight_decay < 1),
            *check("momentum", s.momentum, "in [0, 1)", 0 <= s.momentum < 1),
            *check("rho", s.rho, "in [0, 1)", 0 <= s.rho < 1),
            *check("epsilon", s.epsilon, "above 0 and finite", 0 < s.epsilon < float("inf")),
            *check("seed", s.seed, "in [0, 2^63)", 0 <= s.seed < 2**63),
            *check("precision", s.precision, "fp32 or bf16", s.precision in ("fp32", "bf16")),
            *check("subset", s.subset, "in (0, 1]", 0 < s.subset <= 1),
            *check("holdout", s.holdout, "in [0, 1)", 0 <= s.holdout < 1),
            *device_mistakes(s.device),
            *check("num_threads", s.num_threads, "at least 1", threads_ok),
            *check("checkpoint_every_steps", s.checkpoint_every_steps, "at least 1", s.checkpoint_every_steps >= 1),
            *check("log_every", s.log_every, "at least 1", s.log_every >= 1),
        ]

    def _network_mistakes(self) -> list[str]:
        s = self
        group_ok = s.bn_images is None or 2 <= s.bn_images <= s.batch_size
        return [
            *check("bn_images", s.bn_images, f"in [2, batch_size {s.batch_size}]", group_ok),
            *check("ema", s.ema, "in (0, 1)", s.ema is None or 0 < s.ema < 1),
            *check(
                "init", str(s.init), "an exported file or a checkpoint that exists", s.init is None or s.init.exists()
            ),
            *self._cache_mistakes(),
            *check("max_skipped", s.max_skipped, "0 or more", 0 <= s.max_skipped < float("inf")),
        ]

    @property
    def group_images(self) -> int:
        """Slots of a batch-norm group."""
        if self.bn_images is not None:
            return self.bn_images
        return BN_IMAGES if self.batch_size % BN_IMAGES == 0 else self.batch_size

    def rates(self, total_steps: int) -> Schedule:
        """The learning rate of a run of so many steps."""
        return Schedule(
            kind=self.schedule,
            initial=self.lr,
            decay=self.lr_decay,
            decay_images=self.lr_decay_images,
            warmup_images=self.warmup_images,
            total_images=total_steps * self.batch_size,
        )

    def recipe(self) -> dict[str, Any]:
        """The fields that decide the weights, as plain values; files by their content."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["recipe"]}
        values |= {"bn_images": self.group_images, "init": None if self.init is None else content_sha256(self.init)}
        values |= self.label_contents
        if self.schedule == "cosine":  # the only one whose rates depend on the end
            values |= {"epochs": self.epochs, "steps": self.steps}
        return values
