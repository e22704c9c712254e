"""The studies of Sun et al. 2017: what more data, epochs, classes, depth, and other initial weights add.

In: a finished dataset. Out: trained and scored networks, a table with intervals over the seeds, a plot, and for sizes
the log-linear law beside a saturating one, with what either foretells. `study` is the entry, `fit_table` fits a table
of one's own. Training and scoring are those of `openjft.loaders.training` and `.evaluation`; matplotlib and SciPy come
with the extra `study`.
"""

from __future__ import annotations

from .fit import Comparison, Law, Prediction, fit_curves
from .laws import Fit, Interval
from .options import StudyOptions
from .plan import Piece, Run, Study, class_study, depth_study, epoch_study, init_study, size_study
from .probe import seconds_left
from .read_table import Measured, read_table
from .runs import Planned, StudyProgress, StudyStopped, others, plan_runs, run_study
from .scoring import Score
from .study import fit_table, study
from .summary import LevelSummary, Results, Row

__all__ = [
    "Comparison",
    "Fit",
    "Interval",
    "Law",
    "LevelSummary",
    "Measured",
    "Piece",
    "Planned",
    "Prediction",
    "Results",
    "Row",
    "Run",
    "Score",
    "Study",
    "StudyOptions",
    "StudyProgress",
    "StudyStopped",
    "class_study",
    "depth_study",
    "epoch_study",
    "fit_curves",
    "fit_table",
    "init_study",
    "others",
    "plan_runs",
    "read_table",
    "run_study",
    "seconds_left",
    "size_study",
    "study",
]
