"""The sections of the configuration that the label filter reads: sources, the filter itself, the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config_base import Name, PathOrUri, Positive, Section, Share


class Source(Section):
    """A label source: how the strength of its evidence is read."""

    name: Name
    kind: Literal["score", "links", "clicks"] = Field(
        "links",
        description="score: best score; links: independent statements for the label, of all that the source makes "
        "about the image; clicks: clicks for the impressions, which count less where it was shown far down",
    )
    levels: Annotated[int, Field(ge=1, le=20)] = Field(5, description="how many strengths are told apart")
    position_exponent: Annotated[float, Field(ge=0, le=5)] = Field(
        0.9, description="an impression at place k counts k^-this; 0: places do not matter"
    )
    page_correlation: Share | None = Field(
        None, description="how alike pages of one domain are, 0 to 1; none: estimated from the pages themselves"
    )
    template_correlation: Share = Field(
        0.2, description="how alike images are whose text is the same within a domain; 0: texts do not matter"
    )


class Precision(Section):
    """The label filter."""

    target: Share = Field(0.8, description="mean precision of the kept labels")
    gold: PathOrUri | None = Field(
        None, description="CSV uri,label,correct (0 or 1); none: EM without gold, uncalibrated"
    )
    l2: Annotated[float, Field(gt=0)] = Field(1.0, description="strength of the ridge penalty")
    folds: Annotated[int, Field(ge=2, le=50)] = Field(5, description="folds of the cross-fitted gold estimate")
    em_iterations: Positive = 200
    use_confusions: bool = Field(
        True, description="with gold: whether a label's name occurs inside other names is evidence, too"
    )
    use_classes: bool = Field(
        True, description="with gold: what is known of a label's whole class, and of its branch, is evidence, too"
    )
    class_floor: Share | None = Field(
        None, description="keep of each class only what has this mean probability, besides the target; none: no floor"
    )
    max_reject_share: Share = Field(1.0, description="fail when a larger share of the labels is dropped")


class Audit(Section):
    """The certificate: a sample of labels that a person judges, and what follows from it."""

    size: Positive = Field(1000, description="labels to judge; a larger sample holds a smaller one of the same salt")
    salt: str = Field("audit", description="another one draws another sample")
    delta: Annotated[float, Field(gt=0, le=0.1)] = Field(
        0.05, description="how often, at most, a certificate may be wrong"
    )
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="labels are drawn down to where the kept ones would have this much less than precision.target"
    )
    thresholds: Annotated[int, Field(ge=1, le=1000)] = Field(200, description="thresholds tried, from strict to loose")
    min_judged: Positive = Field(100, description="judged labels expected above the first threshold that is tried")
    group_depth: Annotated[int, Field(ge=0)] | None = Field(
        None, description="depth of the branches that get a certificate of their own; none: the first with four or more"
    )
    require: bool = Field(
        False, description="keep what the certificate allows, and fail without one for the labels as they are"
    )
