"""Visual consistency: two scores of every candidate label, made from embeddings, as sources for the label filter.

v, a leave-one-out margin between the image's class and the nearest unrelated one; D, the same for the mode of its class
that the image belongs to. Source: METHODS.md, section 2. Reading order: `moments` (sums, whitening), `means` (class
means through the hierarchy, without an image), `distances` (the nearest unrelated class), `modes` (D), `model` (both),
`files` and `stages` (a build), `run` (the command).

What it does not do: drop a label. The filter learns from gold what the scores are worth beside its other sources.
"""

from .model import Scores, VisualModel, fit_model
from .run import VisualRun, input_toml, score_visually
from .stages import VisualStage, VisualSumsStage

__all__ = [
    "Scores",
    "VisualModel",
    "VisualRun",
    "VisualStage",
    "VisualSumsStage",
    "fit_model",
    "input_toml",
    "score_visually",
]
