"""A checkpoint of `openjft train` as a descriptor: what it says about itself.

In: the folder step-*/, as `openjft.loaders.training.checkpoint` writes it (this package may not import that one; a test
of both holds them together). Out: a spec whose architecture, input size and normalisation are the training's, so that
none of them is repeated, and mistaken, in a configuration. The weights are the running mean if the training kept one,
as in `openjft evaluate`. `checkpoint.json` lists the sha256 of every file, so its own hash names the weights.

The training saw crops of `crop_size` pixels of the stored image. A descriptor warps the whole image to `crop_size`
instead, so that nothing of it is lost; `embed.resize_size` asks for the centre crop of `openjft evaluate`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..embedder import CHECKPOINT_CONTENT, EmbedderSpec, file_mark, weights_file
from ..errors import EmbedderError
from .safetensors import read_safetensors

if TYPE_CHECKING:
    import torch

FORMAT: Final = 2  # of openjft.loaders.training.checkpoint
_FILE: Final = re.compile(r"(model|optimizer|ema)-\d{5}-of-\d{5}\.safetensors")
_MAX_CONTENT: Final = 64 << 20  # bytes of checkpoint.json
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


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, by torchvision's names, without those that a file holds a part of: a split head.

    Args:
        path: its checkpoint.json.

    Raises:
        EmbedderError: it is damaged, or of another program or format, or a file is not the one that was written.
    """
    files = _content(path)["files"]
    section = "ema" if any(file["name"].startswith("ema-") for file in files) else "model"
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        if not file["name"].startswith(f"{section}-"):
            continue
        part = path.parent / file["name"]
        try:
            with part.open("rb") as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()
        except OSError as error:
            raise EmbedderError(_expected(path, f"no {part.name}: {error}")) from error
        if found != file["sha256"]:
            raise EmbedderError(_expected(path, f"a changed {part.name}: sha256 {found} and not {file['sha256']}"))
        tensors |= {name: tensor for name, tensor in read_safetensors(part).items() if name not in file["rows"]}
    return tensors


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONTENT:
            raise EmbedderError(_expected(path, f"a file of more than {_MAX_CONTENT:,} bytes"))
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EmbedderError(_expected(path, f"a damaged or foreign file: {error}")) from error
    if not isinstance(content, dict) or not {"format", "files", "recipe"} <= content.keys():
        raise EmbedderError(_expected(path, f"a {type(content).__name__} without its fields"))
    if content["format"] != FORMAT:
        raise EmbedderError(_expected(path, f"format {content['format']!r} and not {FORMAT}"))
    if not isinstance(content["recipe"], Mapping):
        raise EmbedderError(_expected(path, "no recipe"))
    if not isinstance(content["files"], list) or not all(_is_entry(file) for file in content["files"]):
        raise EmbedderError(_expected(path, "a damaged list of files"))
    return content


def _is_entry(file: Any) -> bool:
    if not isinstance(file, Mapping):
        return False
    name, sha256, rows = (file.get(key) for key in ("name", "sha256", "rows"))
    # The pattern also keeps a name inside the folder.
    return isinstance(name, str) and bool(_FILE.fullmatch(name)) and isinstance(sha256, str) and isinstance(rows, dict)


@functools.lru_cache(maxsize=16)
def _recipe(path: Path, _size: int, _changed_ns: int) -> tuple[str, int]:
    """(arch, crop_size); a build asks for them with every bucket."""
    recipe = _content(path)["recipe"]
    arch, crop_size = recipe.get("arch"), recipe.get("crop_size")
    size_ok = isinstance(crop_size, int) and not isinstance(crop_size, bool) and _MIN_INPUT <= crop_size <= _MAX_INPUT
    if not isinstance(arch, str) or not size_ok:
        raise EmbedderError(_expected(path, f"the recipe arch {arch!r}, crop_size {crop_size!r}"))
    return arch, crop_size


def _expected(path: Path, found: str) -> str:
    return (
        f"embed.weights: {path}: expected a checkpoint of `openjft train` (OUTPUT/checkpoints/step-*, or its "
        f"{CHECKPOINT_CONTENT}), found {found}. A plain state dict is read with model = 'torchvision'"
    )
