"""The label filter: evidence to states, states to probabilities, one threshold for a stated precision.

METHODS.md, section 1, up to LR1 with gold and exact EM on pattern counts without. `bins` and `patterns` make the
states, `lr1` and `em` judge them, `threshold` chooses, `audit` checks it on the gold, `stages` does it on buckets.
"""

from .stages import LabelsStage, PatternsStage

__all__ = ["LabelsStage", "PatternsStage"]
