"""Labels joined at read time: other tables and hierarchies on the same tars, class subsets, targets and masks.

In: a `Source`. Out: a `Source` with other labels, or a rule that makes a batch's labels the loss's targets. No torch.
"""

from __future__ import annotations

from .classes import read_classes, with_classes
from .join import with_labels
from .own import sample_key
from .rows import LabelTable
from .tables import open_label_table
from .targets import TargetPolicy, Targets, all_labels, target_policy
from .view import LabelView, ViewAccount

__all__ = [
    "LabelTable",
    "LabelView",
    "TargetPolicy",
    "Targets",
    "ViewAccount",
    "all_labels",
    "open_label_table",
    "read_classes",
    "sample_key",
    "target_policy",
    "with_classes",
    "with_labels",
]
