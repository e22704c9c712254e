"""The category hierarchy: readers, validation, ancestor closure, expansion of labels through it, statistics.

Labels are dense int32: the position of the external id (wnid, MID, name) among all ids in bytes order.
"""

from .build import build_draft, build_taxonomy
from .closure import Closure, ancestor_closure, count_below, information_content
from .csr import Csr, csr_from_pairs
from .draft import Category, Draft, Edge
from .errors import CycleError, TaxonomyError, UnknownCategoryError
from .expansion import ExpandedLabels, expand_labels
from .hierarchy import Taxonomy
from .readers import READERS, Reader, ReadOptions, read_draft, read_taxonomy
from .schema import EDGES, VOCABULARY
from .summary import TaxonomyStatistics, statistics

__all__ = [
    "EDGES",
    "READERS",
    "VOCABULARY",
    "Category",
    "Closure",
    "Csr",
    "CycleError",
    "Draft",
    "Edge",
    "ExpandedLabels",
    "ReadOptions",
    "Reader",
    "Taxonomy",
    "TaxonomyError",
    "TaxonomyStatistics",
    "UnknownCategoryError",
    "ancestor_closure",
    "build_draft",
    "build_taxonomy",
    "count_below",
    "csr_from_pairs",
    "expand_labels",
    "information_content",
    "read_draft",
    "read_taxonomy",
    "statistics",
]
