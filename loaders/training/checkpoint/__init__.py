"""Checkpoints of a training: folders of safetensors files and a `checkpoint.json` that is written last.

    OUTPUT/checkpoints/step-000000001000/
        checkpoint.json                       step, recipe, dataset, vocabulary; each file's size, sha256 and tensors
        model-00000-of-00002.safetensors      torchvision's names, float32; each rank writes its share
        optimizer-00000-of-00002.safetensors  `mean_square.NAME`, `momentum.NAME`
        ema-00000-of-00002.safetensors        as model, if the run keeps a mean of its weights

A folder appears by rename once all of it is on the disk, so a killed run leaves a whole one or none. No pickle is
written or read. docs/decisions/0013-checkpoints.md says why this is not torch.distributed.checkpoint.
"""

from __future__ import annotations

from .layout import checkpoint_folders, step_of
from .reader import load_checkpoint
from .state import Checkpoint, WeightsChoice, check_same_run, restore
from .writer import CheckpointWriter, save_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointWriter",
    "WeightsChoice",
    "check_same_run",
    "checkpoint_folders",
    "load_checkpoint",
    "restore",
    "save_checkpoint",
    "step_of",
]
