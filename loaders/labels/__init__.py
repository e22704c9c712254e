"""Labels joined at read time: other tables and hierarchies on the same tars, class subsets, targets and masks.

In: a `Source`. Out: a `Source` with other labels, or a rule that makes a batch's labels the loss's targets. No torch.
"""

from __future__ import annotations

from .targets import TargetPolicy, Targets, all_labels, target_policy

__all__ = ["TargetPolicy", "Targets", "all_labels", "target_policy"]
