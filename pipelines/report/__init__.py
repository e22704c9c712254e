"""The report: one self-contained HTML page for people, and report.json for scripts, of whatever has been built."""

from __future__ import annotations

import json

from openjft.pipelines.config import Config
from openjft.pipelines.storage import Store

from .gather import gather
from .page import render
from .pairs import make_galleries
from .sections import make_page

__all__ = ["write_report"]


def write_report(config: Config, store: Store) -> str:
    """Writes report/index.html and report/report.json and returns the page's path."""
    gathered = gather(config, store)
    page = make_page(gathered, make_galleries(gathered, config, store))
    text = json.dumps(gathered.facts, indent=1, sort_keys=True, default=str) + "\n"
    store.write_bytes("report/report.json", text.encode())
    store.write_bytes("report/index.html", render(page).encode())
    return store.path("report/index.html")
