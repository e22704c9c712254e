"""Names of what lies below `evalsets/` in a build's folder: `decontaminate` writes it, reports and commands read it."""

from __future__ import annotations

from typing import Final

FOLDER: Final = "evalsets"
SETS_FILE: Final = f"{FOLDER}/sets.json"  # which sets, in their order
BACKGROUND_FILE: Final = f"{FOLDER}/background.npy"  # vectors, where scores are normalised
THRESHOLDS_FILE: Final = f"{FOLDER}/thresholds.json"
PLANTED_FILE: Final = f"{FOLDER}/planted.json"
SUMMARY_FILE: Final = f"{FOLDER}/summary.json"
CLEAN_FOLDER: Final = f"{FOLDER}/clean"


def set_folder(name: str) -> str:
    """Where a set of a build lies."""
    return f"{FOLDER}/sets/{name}"
