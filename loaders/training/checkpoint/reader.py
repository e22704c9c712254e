"""Reads a checkpoint, whatever the number of processes that wrote it: whole tensors in host memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from openjft.loaders.errors import CheckpointError

from .layout import CONTENT, FILE_NAME, FORMAT, SECTIONS, checkpoint_folders, former_files
from .state import NEEDED, Checkpoint
from .tensor_file import read_tensors

_MAX_CONTENT: Final = 64 << 20  # bytes of checkpoint.json; ours have 20 kB
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "step": int,
    "recipe": dict,
    "num_categories": int,
    "fingerprint": str,
    "images_fingerprint": str,
    "vocabulary_sha256": str,
    "window": list,
    "loader": dict,
    "files": list,
}
_FILE_TYPES: Final[Mapping[str, type]] = {"name": str, "size": int, "sha256": str, "rows": dict}


def load_checkpoint(path: Path, *, optimizer: bool = True) -> Checkpoint:
    """Reads a checkpoint into host memory; each file is compared with its sha256 first.

    Args:
        path: its folder, or a training's output folder, whose last checkpoint is taken.
        optimizer: read the optimizer's state, too; scoring a network needs none.

    Raises:
        CheckpointError: there is none, or it is damaged or of another program.
    """
    folder = find_checkpoint(path)
    content = _content(folder / CONTENT)
    wanted = [name for name in SECTIONS if optimizer or name != "optimizer"]
    sections = {name: _section(folder, content["files"], name) for name in wanted}
    return Checkpoint(
        model=sections["model"],
        optimizer=sections.get("optimizer", {}),
        ema=sections["ema"] or None,
        **{name: content[name] for name in _TYPES if name != "files"},
    )


def find_checkpoint(path: Path) -> Path:
    """The folder that a path means.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    if path.name == CONTENT:
        path = path.parent
    if (path / CONTENT).is_file():
        return path
    folders = checkpoint_folders(path)
    if folders:
        return folders[-1]
    former = [path] if path.suffix == ".pt" and path.is_file() else former_files(path)
    if former:
        raise CheckpointError(
            f"{former[-1]}: expected a folder step-*/ with {CONTENT}, found a file of a former layout, which is a "
            "pickle and not read any more; train again, in another output folder"
        )
    raise CheckpointError(
        f"{path}: expected a checkpoint's folder (with {CONTENT}) or a training's output folder with "
        "checkpoints/step-*/, found neither"
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONTENT:
            raise CheckpointError(_foreign(path, f"more than {_MAX_CONTENT:,} bytes"))
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(_foreign(path, str(error).partition("\n")[0])) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = f"format {content.get('format')!r}" if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(_foreign(path, found))
    wrong = [name for name, kind in _TYPES.items() if not isinstance(content.get(name), kind)]
    if wrong:
        raise CheckpointError(_foreign(path, f"no valid {', '.join(wrong)}"))
    if not set(content["recipe"]) >= NEEDED:
        raise CheckpointError(f"{path}: expected the recipe's {sorted(NEEDED)}, found {sorted(content['recipe'])}")
    for file in content["files"]:
        fits = isinstance(file, dict) and all(isinstance(file.get(k), kind) for k, kind in _FILE_TYPES.items())
        fits = fits and all(_is_rows(rows) for rows in file["rows"].values())
        if not fits or not FILE_NAME.fullmatch(file["name"]):  # no path that leads out of the folder
            raise CheckpointError(_foreign(path, f"the file entry {str(file)[:200]}"))
    return content


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(number, int) for number in value)


def _foreign(path: Path, found: str) -> str:
    return (
        f"{path}: expected a checkpoint of `openjft train`, format {FORMAT}, found a damaged or foreign file "
        f"({found}); remove {path.parent} to go on from the one before it"
    )


def _section(folder: Path, files: Sequence[Mapping[str, Any]], section: str) -> dict[str, Tensor]:
    """All tensors of a section; those that lie in several files are put together by their rows."""
    whole: dict[str, Tensor] = {}
    parts: dict[str, list[tuple[int, int, int, Tensor]]] = {}
    for file in files:
        if not file["name"].startswith(f"{section}-"):
            continue
        for name, tensor in read_tensors(folder / file["name"], size=file["size"], sha256=file["sha256"]).items():
            if name in file["rows"]:
                low, high, total = file["rows"][name]
                parts.setdefault(name, []).append((low, high, total, tensor))
            else:
                whole[name] = tensor
    return whole | {name: _joined(folder, name, found) for name, found in parts.items()}


def _joined(folder: Path, name: str, parts: list[tuple[int, int, int, Tensor]]) -> Tensor:
    parts.sort(key=lambda part: part[:2])
    ends = [0, *(high for _, high, _, _ in parts)]
    gaps = any(low != end for (low, _, _, _), end in zip(parts, ends, strict=False))
    sizes = any(high - low != len(tensor) for low, high, _, tensor in parts)
    if gaps or sizes or ends[-1] != parts[0][2]:
        spans = ", ".join(f"[{low}, {high})" for low, high, _, _ in parts)
        raise CheckpointError(f"{folder}: expected all {parts[0][2]} rows of {name}, found {spans}; remove the folder")
    return torch.cat([tensor for *_, tensor in parts])
