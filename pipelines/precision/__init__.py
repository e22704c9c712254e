"""The label filter: evidence to states, states to probabilities, one threshold for a stated precision.

METHODS.md, section 1. Four passes, each a map over buckets and a small fit in the driver: `counting` makes the states
and fits LR1 on gold, or exact EM on pattern counts without; `priors` finds what each class adds (LR2); `scoring` gives
every candidate its probability and chooses the threshold; `keeping` keeps what passes. `bins`, `mixtures`, `confusion`
and `patterns` make states, `lr1`, `em`, `classes` and `lr2` judge them, `threshold` chooses, `crossfit` checks it on
the gold, `files` knows where all of it lies.
"""

from .counting import CountStage
from .keeping import LabelsStage
from .priors import PriorsStage
from .scoring import ScoresStage

__all__ = ["CountStage", "LabelsStage", "PriorsStage", "ScoresStage"]
