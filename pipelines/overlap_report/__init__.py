"""The overlap report: which evaluation images occur in the training set, for an auditor to look at and to judge.

`gather_report` reads a build, `write_overlap_report` writes the page, the JSON and the Parquet file; `OverlapReport`
is all that the page is made of, whoever fills it.
"""

from .gather import gather_report
from .model import CurvePoint, OverlapReport, SetFacts, Thresholds
from .page import render_overlap_page
from .write import write_overlap_report

__all__ = [
    "CurvePoint",
    "OverlapReport",
    "SetFacts",
    "Thresholds",
    "gather_report",
    "render_overlap_page",
    "write_overlap_report",
]
