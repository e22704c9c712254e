"""Errors of the taxonomy.

TaxonomyError            base: expected, found, where, what to do; the command line prints it without a traceback
+-- CycleError           a category is its own ancestor; the message shows the path
+-- UnknownCategoryError an id that the hierarchy does not have; the message suggests the closest one
"""

from __future__ import annotations


class TaxonomyError(Exception):
    """Base of all errors of a hierarchy that the user can mend."""


class CycleError(TaxonomyError):
    """A category is its own ancestor."""


class UnknownCategoryError(TaxonomyError):
    """An id or label that is not in the hierarchy."""
