"""A checkpoint of `openjft train` as a descriptor: what it says about itself.

In: step-*.pt, as `openjft.loaders.training.checkpoint` writes it (this package may not import that one; a test of both
holds them together). Out: a spec whose architecture, input size and normalisation are the training's, so that none of
them is repeated, and mistaken, in a configuration. Read as data (`weights_only=True`), tensors mapped and not loaded.

The training saw crops of `crop_size` pixels of the stored image. A descriptor warps the whole image to `crop_size`
instead, so that nothing of it is lost; `embed.resize_size` asks for the centre crop of `openjft evaluate`.
"""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..embedder import EmbedderSpec, file_mark, weights_file
from ..errors import EmbedderError

FORMAT: Final = 1  # of openjft.loaders.training.checkpoint
_MIN_INPUT, _MAX_INPUT = 8, 1024  # as embed.input_size
# The trainer maps 0..255 to [-1, 1]: openjft.loaders.training.augment.cut_and_normalize.
_MEAN: Final = (0.5, 0.5, 0.5)
_STD: Final = (0.5, 0.5, 0.5)


def resolve(spec: EmbedderSpec) -> EmbedderSpec:
    """The spec with what its checkpoint says; any other kind of spec as it is.

    Raises:
        EmbedderError: the weights are missing, or are no checkpoint of `openjft train`.
    """
    if spec.model != "checkpoint":
        return spec
    path = weights_file(spec)
    arch, crop_size = _recipe(path, *file_mark(path))
    return dataclasses.replace(spec, arch=arch, input_size=crop_size, mean=_MEAN, std=_STD)


def is_checkpoint(content: Any) -> bool:
    """Whether a file's content is a checkpoint of `openjft train`, of whatever format."""
    return isinstance(content, Mapping) and {"format", "model", "recipe"} <= content.keys()


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """A checkpoint's content, the tensors mapped from the file.

    Raises:
        EmbedderError: it is damaged, or of another program or format.
    """
    import torch

    try:
        zipfile.ZipFile(path).close()  # torch's older formats are bare pickles: not read at all
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise EmbedderError(_expected(path, f"a damaged or foreign file: {error}")) from error
    if not is_checkpoint(content):
        raise EmbedderError(_expected(path, f"{type(content).__name__} without its fields"))
    if content["format"] != FORMAT:
        raise EmbedderError(_expected(path, f"format {content['format']!r} and not {FORMAT}"))
    if not isinstance(content["model"], Mapping) or not isinstance(content["recipe"], Mapping):
        raise EmbedderError(_expected(path, "no tensors or no recipe"))
    return dict(content)


@functools.lru_cache(maxsize=16)
def _recipe(path: Path, _size: int, _changed_ns: int) -> tuple[str, int]:
    """(arch, crop_size); a build asks for them with every bucket."""
    recipe = read_checkpoint(path)["recipe"]
    arch, crop_size = recipe.get("arch"), recipe.get("crop_size")
    size_ok = isinstance(crop_size, int) and not isinstance(crop_size, bool) and _MIN_INPUT <= crop_size <= _MAX_INPUT
    if not isinstance(arch, str) or not size_ok:
        raise EmbedderError(_expected(path, f"the recipe arch {arch!r}, crop_size {crop_size!r}"))
    return arch, crop_size


def _expected(path: Path, found: str) -> str:
    return (
        f"embed.weights: {path}: expected a checkpoint of `openjft train` (OUTPUT/checkpoints/step-*.pt), found "
        f"{found}. A plain state dict is read with model = 'torchvision'"
    )
