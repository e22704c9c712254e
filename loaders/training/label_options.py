"""What a training may be told about its labels: which table, which classes, what counts as a negative."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any, Final, Literal

from openjft.loaders.checks import check, option
from openjft.loaders.labels import content_of, hierarchy_content_of, read_classes
from openjft.loaders.labels.targets import LabelTargets
from openjft.loaders.labels.view import Unlabelled

UNLABELLED: Final[tuple[Unlabelled, ...]] = ("drop", "keep")
LABEL_WEIGHTS: Final[tuple[LabelTargets, ...]] = ("one", "probability")
LabelWeights = Literal["one", "probability"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """Which labels a source's images have, for a training and for what scores it."""

    labels: str | None = dataclasses.field(
        default=None,
        metadata=option(
            "labels of another table: a data set, a build's expanded/, or CSV or Parquet of your own", recipe=True
        ),
    )
    taxonomy: str | None = dataclasses.field(
        default=None,
        metadata=option(
            "folder whose taxonomy/ has the vocabulary of a table of your own; none: that of the images, or where they "
            "have none the ids that occur in the table",
            recipe=True,
        ),
    )
    unlabelled: Unlabelled = dataclasses.field(
        default="drop",
        metadata=option("images without a label in the table: drop, or keep them as images of no class", recipe=True),
    )
    classes: Path | None = dataclasses.field(
        default=None,
        metadata=option(
            "list of category ids, one a line: these classes alone, and the images that have one", recipe=True
        ),
    )
    classes_below: bool = dataclasses.field(
        default=False, metadata=option("what lies below the listed classes is taken as well", recipe=True)
    )
    label_cache: Path | None = dataclasses.field(
        default=None, metadata=option("folder that keeps which images have labels; none: looked up at every start")
    )

    def _join_mistakes(self) -> list[str]:
        s = self
        listed = s.classes is None or s.classes.is_file()
        return [
            *check(
                "taxonomy", s.taxonomy, "labels, whose vocabulary it is", s.taxonomy is None or s.labels is not None
            ),
            *check("unlabelled", s.unlabelled, "drop or keep", s.unlabelled in UNLABELLED),
            *check("unlabelled", s.unlabelled, "labels", s.unlabelled != "keep" or s.labels is not None),
            *check("classes", str(s.classes), "a file with a list of ids", listed),
            *check("classes_below", s.classes_below, "classes", not s.classes_below or s.classes is not None),
        ]

    def _as_paths(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))

    @functools.cached_property
    def join_contents(self) -> dict[str, Any]:
        """The fields that name files, by what these hold when it is first asked for.

        Raises:
            LoaderError: one cannot be read.
        """
        classes = None
        if self.classes is not None:
            classes = hashlib.sha256("\0".join(sorted(set(read_classes(self.classes)))).encode()).hexdigest()
        return {
            "labels": None if self.labels is None else content_of(self.labels),
            "taxonomy": None if self.taxonomy is None else hierarchy_content_of(self.taxonomy),
            "classes": classes,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelOptions(JoinOptions):
    """Which labels a training has, and what they mean to the loss."""

    ignore_descendants: bool = dataclasses.field(
        default=False,
        metadata=option(
            "classes below an asserted label, neither told nor denied, are left out of the loss", recipe=True
        ),
    )
    ignore_below: float = dataclasses.field(
        default=0.0, metadata=option("labels of a lower probability are left out of the loss", recipe=True)
    )
    label_weights: LabelWeights = dataclasses.field(
        default="one", metadata=option("target of a label: one, or its probability", recipe=True)
    )
    class_weights: Path | None = dataclasses.field(
        default=None, metadata=option("CSV with id and weight: of a class's positives in the loss; else 1", recipe=True)
    )

    def _label_mistakes(self) -> list[str]:
        s = self
        weighed = s.class_weights is None or s.class_weights.is_file()
        return [
            *self._join_mistakes(),
            *check("ignore_below", s.ignore_below, "in [0, 1]", 0 <= s.ignore_below <= 1),
            *check("label_weights", s.label_weights, "one or probability", s.label_weights in LABEL_WEIGHTS),
            *check("class_weights", str(s.class_weights), "a CSV file with id and weight", weighed),
        ]

    @functools.cached_property
    def label_contents(self) -> dict[str, Any]:
        """The fields that name files, by what these hold when it is first asked for.

        Raises:
            LoaderError: one cannot be read.
        """
        weights = None if self.class_weights is None else content_of(str(self.class_weights))
        return {**self.join_contents, "class_weights": weights}
