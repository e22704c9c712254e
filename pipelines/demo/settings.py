"""The configuration of the demo's build, written beside its web.

In: the port. Out: `openjft.toml` with every key, its default and its meaning, as a reader's first example of one.
"""

from __future__ import annotations

from typing import Any, Final

from ..config import Config
from ..config_text import config_text
from .layouts import LAYOUTS
from .pairs import FILES
from .plan import BUCKETS
from .texts import SOURCE as TEXT_SOURCE

TARGET_PRECISION: Final = 0.85
STORED_PX: Final = 96


def demo_config() -> Config:
    """The configuration, its paths relative to the demo's folder."""
    value: dict[str, Any] = {
        "build": {"name": "demo", "output": "out", "buckets": BUCKETS},
        "inputs": [
            {
                "path": f"pairs/{name}",
                "source": source,
                "columns": dict(columns),
                "labels": "text" if source == TEXT_SOURCE else None,
                "empty_label": "opportunity",
            }
            for source, (name, _, columns) in FILES.items()
        ],
        "sources": [{"name": source, "kind": kind} for source, (_, kind, _) in FILES.items()],
        "taxonomy": {"path": "categories.csv", "format": "edges"},
        "precision": {"target": TARGET_PRECISION, "gold": "gold.csv"},
        "fetch": {
            "size": STORED_PX,
            "timeout_s": 2.0,
            "retries": 1,
            "backoff_s": 0.1,
            "allow_private": True,  # the demo's server is on the loopback
        },
        "embed": {"model": "dct"},
        "eval_sets": [
            {"name": layout.name, "format": layout.format, "root": layout.root, **layout.settings} for layout in LAYOUTS
        ],
    }
    return Config.model_validate(value)


def config_file_text() -> str:
    """The file's text."""
    return config_text(demo_config())
