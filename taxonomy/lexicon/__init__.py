"""Text from the web to category ids: normalised, longest name first, grammar of noun phrases, senses weighed."""

from .lexicon import Lexicon
from .matches import OUTCOMES, Explanation, Matches, SenseProbability, Status
from .normalise import MAX_TEXT_CHARS, normal_form
from .priors import SenseCounts, SensePriors

__all__ = [
    "MAX_TEXT_CHARS",
    "OUTCOMES",
    "Explanation",
    "Lexicon",
    "Matches",
    "SenseCounts",
    "SensePriors",
    "SenseProbability",
    "Status",
    "normal_form",
]
