"""The category hierarchy: readers, validation, ancestor closure, expansion of labels through it, statistics.

Labels are dense int32: the position of the external id (wnid, MID, name) among all ids in bytes order.
"""

from .build import Built, build_draft, build_mended, build_taxonomy
from .checks import Finding, check
from .closure import Closure, ancestor_closure, count_below, information_content
from .csr import Csr, csr_from_pairs
from .cycles import Collapsed, collapse_cycles
from .draft import Category, Draft, Edge
from .errors import CycleError, TaxonomyError, UnknownCategoryError
from .expansion import ExpandedLabels, expand_labels, expand_negatives
from .find import find_category
from .hierarchy import Taxonomy
from .readers import READERS, Reader, ReadOptions, read_draft, read_mended, read_taxonomy
from .schema import EDGES, VOCABULARY
from .summary import Branch, TaxonomyStatistics, statistics
from .writers import WRITERS, Writer, write_taxonomy

__all__ = [
    "EDGES",
    "READERS",
    "VOCABULARY",
    "WRITERS",
    "Branch",
    "Built",
    "Category",
    "Closure",
    "Collapsed",
    "Csr",
    "CycleError",
    "Draft",
    "Edge",
    "ExpandedLabels",
    "Finding",
    "ReadOptions",
    "Reader",
    "Taxonomy",
    "TaxonomyError",
    "TaxonomyStatistics",
    "UnknownCategoryError",
    "Writer",
    "ancestor_closure",
    "build_draft",
    "build_mended",
    "build_taxonomy",
    "check",
    "collapse_cycles",
    "count_below",
    "csr_from_pairs",
    "expand_labels",
    "expand_negatives",
    "find_category",
    "information_content",
    "read_draft",
    "read_mended",
    "read_taxonomy",
    "statistics",
    "write_taxonomy",
]
