"""Errors of decontamination.

DedupError               base: the message says what was expected, found, where, and what to do
+-- EmbedderError        a model file is missing, does not fit its settings, or gives unusable vectors
+-- EvalSetError         an evaluation set's folder, annotations or ids are not as its format says
+-- IndexMismatchError   a stored index was made by another model or with other views
+-- DecisionsError       a file of decisions is malformed, or two decisions contradict each other
"""

from __future__ import annotations


class DedupError(Exception):
    """Base of all errors of decontamination that the user can mend."""


class EmbedderError(DedupError):
    """The descriptor cannot be loaded, or gives vectors that cannot be compared."""


class EvalSetError(DedupError):
    """An evaluation set does not have the layout that its format promises."""


class IndexMismatchError(DedupError):
    """A stored index does not belong to the embedder and the evaluation sets in use."""


class DecisionsError(DedupError):
    """Auditors' decisions cannot be read, or contradict each other."""
