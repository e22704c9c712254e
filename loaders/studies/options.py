"""What a study may be told: how each of its networks is trained and scored, and with which seeds.

No torch here. The options of a training are checked once more by `TrainOptions`, for every run, before the first one
starts. Every field's `metadata["help"]` is its line for the command line.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from openjft.loaders.checks import Device, Precision, check, raise_all
from openjft.loaders.errors import LoaderError

Budget = Literal["updates", "epochs"]
Metric = Literal["map_at_k", "unweighted_map_at_k"]

DEFAULT_EPOCHS: Final = 4  # the paper's
_SCORING: Final = {"k", "class_weight_alpha", "class_weight_gamma"}  # of the fields, those that decide a score
JOINED: Final = {"labels", "taxonomy", "unlabelled", "label_cache"}  # settings that say which labels the images have


def _help(text: str, *, train: bool = False) -> dict[str, Any]:
    """A field's metadata: its line of help, and whether it goes to `TrainOptions` as it is."""
    return {"help": text, "train": train}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What all runs of a study share; raises `LoaderError` with every mistake."""

    data: str = dataclasses.field(metadata=_help("folder or URI of a finished dataset"))
    output: Path = dataclasses.field(metadata=_help("folder for the runs, the table and the plot"))
    eval: str | None = dataclasses.field(
        default=None, metadata=_help("dataset that all networks are scored on; none: the held-out images of `data`")
    )
    seeds: tuple[int, ...] = dataclasses.field(
        default=(17,), metadata=_help("seeds of weights, order and crops; each run is made once with each")
    )
    epochs: int = dataclasses.field(
        default=DEFAULT_EPOCHS, metadata=_help("length of a run: passes over the training images (paper: 4)")
    )
    arch: str = dataclasses.field(
        default="resnet50", metadata=_help("network: resnet18, resnet50, resnet101 or resnet152", train=True)
    )
    batch_size: int = dataclasses.field(default=32, metadata=_help("images of a step", train=True))
    image_size: int | None = dataclasses.field(
        default=None, metadata=_help("the loader resizes to this many pixels a side; none: as stored", train=True)
    )
    crop_size: int = dataclasses.field(
        default=299, metadata=_help("random crop, pixels (paper: 299 of 340)", train=True)
    )
    lr: float = dataclasses.field(default=1e-3, metadata=_help("initial learning rate", train=True))
    lr_decay: float = dataclasses.field(
        default=0.9, metadata=_help("factor on the learning rate every lr_decay_images", train=True)
    )
    lr_decay_images: int = dataclasses.field(
        default=96_000_000, metadata=_help("training images between two decays", train=True)
    )
    weight_decay: float = dataclasses.field(default=1e-4, metadata=_help("L2 on filters and head weights", train=True))
    precision: Precision = dataclasses.field(default="fp32", metadata=_help("fp32, or bf16 autocast", train=True))
    holdout: float = dataclasses.field(
        default=0.1, metadata=_help("last share of the images, never trained on and scored at the end", train=True)
    )
    device: Device = dataclasses.field(
        default="auto", metadata=_help("auto takes a CUDA device where there is one", train=True)
    )
    num_threads: int | None = dataclasses.field(default=None, metadata=_help("threads that decode", train=True))
    checkpoint_every_steps: int = dataclasses.field(
        default=1_000, metadata=_help("steps between two checkpoints", train=True)
    )
    log_every: int = dataclasses.field(
        default=20, metadata=_help("steps between two lines of a run's metrics.jsonl", train=True)
    )
    settings: tuple[str, ...] = dataclasses.field(
        default=(), metadata=_help("NAME=VALUE: any other field of TrainOptions; may repeat")
    )
    metric: Metric = dataclasses.field(
        default="map_at_k", metadata=_help("the value that is compared, fitted and drawn")
    )
    k: int = dataclasses.field(default=100, metadata=_help("classes of an image that count in a score"))
    class_weight_alpha: float = dataclasses.field(
        default=0.0, metadata=_help("class weights are (frequency + alpha)^gamma")
    )
    class_weight_gamma: float = dataclasses.field(default=1.0, metadata=_help("0 weighs all classes alike"))
    eval_batch_size: int = dataclasses.field(default=64, metadata=_help("images of a step of scoring"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", str(self.data))
        object.__setattr__(self, "output", Path(self.output))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "settings", tuple(self.settings or ()))
        raise_all("study options", self._mistakes())

    def _mistakes(self) -> list[str]:
        s = self
        seeds_ok = 1 <= len(s.seeds) == len(set(s.seeds)) and all(0 <= seed < 2**63 for seed in s.seeds)
        metric_ok = s.metric in ("map_at_k", "unweighted_map_at_k")
        holdout_ok = 0 < s.holdout < 1 or (s.holdout == 0 and s.eval is not None)
        return [
            *check("seeds", s.seeds, "at least one, each another, in [0, 2^63)", seeds_ok),
            *check("epochs", s.epochs, "at least 1", s.epochs >= 1),
            *check("holdout", s.holdout, "in (0, 1), since the held-out images are scored; 0 with `eval`", holdout_ok),
            *check("k", s.k, "at least 1", s.k >= 1),
            *check("metric", s.metric, "map_at_k or unweighted_map_at_k", metric_ok),
            *check("class_weight_alpha", s.class_weight_alpha, "0 or more", 0 <= s.class_weight_alpha < math.inf),
            *check("class_weight_gamma", s.class_weight_gamma, "finite", abs(s.class_weight_gamma) < math.inf),
            *check("eval_batch_size", s.eval_batch_size, "at least 1", s.eval_batch_size >= 1),
            *(line for setting in s.settings for line in _setting_mistakes(setting)),
        ]

    def training(self) -> dict[str, Any]:
        """The fields that go to `TrainOptions`, and the further settings."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["train"]}
        return fields | dict(parse_setting(setting) for setting in self.settings)

    def joined(self) -> dict[str, Any]:
        """The settings that say which labels the images have."""
        return {name: value for name, value in self.training().items() if name in JOINED}

    def on_eval(self) -> StudyOptions:
        """As if the images of `eval`, with their own labels, were those that are trained on."""
        own = tuple(setting for setting in self.settings if parse_setting(setting)[0] not in JOINED)
        return self if self.eval is None else dataclasses.replace(self, data=self.eval, settings=own)

    def scoring(self) -> dict[str, Any]:
        """The fields that decide a score."""
        return {name: getattr(self, name) for name in sorted(_SCORING)}


_OWN: Final = {
    "data", "output", "seed", "epochs", "steps", "subset", "classes", "init", "resume",
} | {f.name for f in dataclasses.fields(StudyOptions) if f.metadata["train"]}  # fmt: skip


def parse_setting(text: str) -> tuple[str, Any]:
    """'ema=0.999' -> ('ema', 0.999): a value is JSON where it can be read so, else a word."""
    name, _, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except ValueError:
        return name.strip().replace("-", "_"), value.strip()


def _setting_mistakes(text: str) -> list[str]:
    name, _ = parse_setting(text)
    if "=" not in text or not name.isidentifier():
        return [f"settings: expected NAME=VALUE, found {text!r}"]
    if name in _OWN:
        return [f"settings: expected a field that the study has no option for, found {name!r}"]
    return []


def check_fields(names: Mapping[str, Any], known: set[str]) -> None:
    """Raises `LoaderError` if a setting is no field of `TrainOptions`."""
    unknown = sorted(set(names) - known)
    if unknown:
        raise LoaderError(
            f"settings: expected fields of TrainOptions, found {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
