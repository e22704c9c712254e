"""The sections of the configuration that compare images: descriptors, evaluation sets, what is done about overlaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

import pydantic
from pydantic import Field

from .config_base import Name, PathOrUri, Positive, Section

RemoveFrom = Literal["train", "eval", "none"]


class Embed(Section):
    """Descriptors of the images."""

    model: Literal["dct", "pdq", "onnx", "torchscript", "torchvision", "checkpoint"] = Field(
        "dct",
        description="dct and pdq need no weights; the others read `weights`: an ONNX graph, a TorchScript archive "
        "(SSCD), a state dict of torchvision's names, a checkpoint of `openjft train`",
    )
    weights: PathOrUri | None = None
    arch: str | None = Field(None, description="torchvision's name of the architecture, for a state dict")
    output: str | None = Field(None, description="ONNX output that holds the embedding; the first if none is named")
    pooling: Literal["average", "gem"] = Field(
        "average", description="of feature maps (n, d, h, w); gem weighs strong responses more"
    )
    gem_p: Annotated[float, Field(ge=1, le=100)] = Field(3.0, description="exponent of gem; 1 is the average")
    input_size: Annotated[int, Field(ge=8, le=1024)] = Field(
        224, description="side of the network's input, pixels; a checkpoint has its own, and its own mean and std"
    )
    resize_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        None, description="shorter side before the centre crop; none: warp to input_size"
    )
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="of RGB in [0, 1]")
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    batch_size: Positive = 64
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @pydantic.model_validator(mode="after")
    def _weights_given(self) -> Self:
        if self.model not in {"dct", "pdq"} and self.weights is None:
            raise ValueError(f"model {self.model!r} needs `weights`, the path of a local file")
        if self.model == "torchvision" and self.arch is None:
            raise ValueError("model 'torchvision' needs `arch`, such as 'resnet50'")
        return self

    @pydantic.model_validator(mode="after")
    def _settings_used(self) -> Self:
        if self.model in {"dct", "pdq"} and self.pooling != "average":
            raise ValueError(f"expected no `pooling` for model {self.model!r}, which has no feature maps")
        if self.model == "checkpoint":
            fields = type(self).model_fields
            told = [n for n in ("arch", "input_size", "mean", "std") if getattr(self, n) != fields[n].default]
            if told:
                raise ValueError(f"expected no {', '.join(told)} for model 'checkpoint': the checkpoint tells it")
        return self


# As `openjft.dedup.evalsets.EvalFormat`, which a test compares: its package takes a second to import.
EvalFormat = Literal["coco", "voc", "imagenet", "folder", "webdataset"]
_EVAL_KEYS: Final[Mapping[str, tuple[EvalFormat, ...]]] = {
    "annotations": ("coco",),
    "images": ("coco", "webdataset"),
    "split": ("voc", "imagenet", "webdataset"),
    "ground_truth": ("imagenet",),
    "ids": ("coco", "voc", "imagenet", "folder", "webdataset"),
}


class EvalSet(Section):
    """A benchmark's evaluation images."""

    name: Name
    format: EvalFormat | Literal["stored"] = Field(
        description="its layout; stored: a folder that `openjft evalset add` wrote"
    )
    root: PathOrUri = Field(
        description="its folder; WebDataset: a tar, a folder of tars or a pattern, 'name-{000000..000009}.tar'"
    )
    annotations: str | None = Field(None, description="COCO: annotations JSON, below root or absolute")
    images: str | None = Field(
        None, description="COCO: image folder below root; WebDataset: ending of the image, where a sample has several"
    )
    split: str | None = Field(
        None,
        description="VOC: list in ImageSets/Main, such as 'test', or 'Segmentation/val'; ImageNet: folder, 'val'; "
        "WebDataset: folder of tars below root",
    )
    ids: str | None = Field(
        None, description="file with the ids that count: one a line, or JSON (COCO minival*, a NAME.clean.txt)"
    )
    ground_truth: str | None = Field(
        None,
        description="ImageNet: ILSVRC2012_validation_ground_truth.txt or LOC_val_solution.csv, below root or absolute",
    )

    @pydantic.model_validator(mode="after")
    def _keys_fit(self) -> Self:
        for key, formats in _EVAL_KEYS.items():
            if getattr(self, key) is not None and self.format not in formats:
                raise ValueError(
                    f"expected `{key}` with format {' or '.join(formats)} only, found it with {self.format}"
                )
        return self


class Decontaminate(Section):
    """Finding images that overlap the evaluation sets, and leaving them out."""

    remove_similarity: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        None,
        description="score at which an image is removed; none: where `false_removals` of the images would go wrongly, "
        "by the tail of this build's own similarities",
    )
    false_removals: Annotated[float, Field(gt=0, le=0.2)] = Field(
        0.005, description="share of the training images that may be removed wrongly"
    )
    listed_images: Annotated[float, Field(gt=0, le=0.1)] = Field(
        0.05,
        description="share of the training images that is compared picture by picture: a copy is removed though its "
        "score is below the threshold, and an auditor sees the rest",
    )
    report_similarity: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        None,
        description="score from which verified pairs are published; none: where `false_reports` of them may be false",
    )
    false_reports: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.01, description="share of the published pairs that may be false, by expectation"
    )
    verify_ssim: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.75,
        description="a pair is verified where three quarters of the aligned pictures agree so well (grey SSIM, 64x64)",
    )
    remove_ssim: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.5, description="an image is removed where the aligned pictures agree so well in the mean, whatever its score"
    )
    neighbours: Positive = Field(4, description="eval images reported for each training image, at most")
    views: tuple[Literal["identity", "mirror", "rotate", "crop"], ...] = ("identity", "mirror", "crop")
    normalise: bool = Field(
        False, description="scores are similarities less the image's mean similarity to its nearest background images"
    )
    background: PathOrUri | None = Field(
        None, description="folder of images for `normalise`; none: the first images of the build"
    )
    tail_queries: Positive = Field(20_000, description="training images on which the thresholds are measured, at most")
    remove_from: RemoveFrom = Field(
        "train",
        description="train: leave overlapping images out of the shards; eval: keep them, for who uses the lists of "
        "clean eval images; none: report only",
    )
    decisions: tuple[str, ...] = Field((), description="files that a review of the overlap page exported")
    planted_per_transform: Annotated[int, Field(ge=0)] = Field(
        50, description="eval images copied by each transform to measure recall; 0: none"
    )
