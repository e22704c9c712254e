"""Labels joined at read time: other tables and hierarchies on the same tars, class subsets, targets and masks.

In: a `Source`. Out: a `Source` with other labels, or a rule that makes a batch's labels the loss's targets. No torch.
"""

from __future__ import annotations

from .class_weights import read_class_weights
from .classes import read_classes, taxonomy_of, with_classes
from .join import with_labels
from .own import sample_key
from .rows import LabelTable
from .tables import content_of, hierarchy_content_of, open_label_table, read_taxonomy_of
from .targets import TargetPolicy, Targets, all_labels, target_policy
from .view import LabelView, ViewAccount, images_fingerprint, images_of

__all__ = [
    "LabelTable",
    "LabelView",
    "TargetPolicy",
    "Targets",
    "ViewAccount",
    "all_labels",
    "content_of",
    "hierarchy_content_of",
    "images_fingerprint",
    "images_of",
    "open_label_table",
    "read_class_weights",
    "read_classes",
    "read_taxonomy_of",
    "sample_key",
    "target_policy",
    "taxonomy_of",
    "with_classes",
    "with_labels",
]
