"""The report of whatever has been built: a page for people, report.json for scripts, and the drawn hierarchy.

Both pages are self-contained; the report links to the hierarchy's, which lies beside it.
"""

from __future__ import annotations

import json

from openjft.pipelines.config import Config
from openjft.pipelines.storage import Store

from .gather import gather
from .hierarchy import write_drawn
from .page import render
from .pairs import make_galleries
from .sections import make_page

__all__ = ["write_report"]


def write_report(config: Config, store: Store) -> str:
    """Writes report/index.html, report.json and taxonomy.html, and returns the first one's path."""
    gathered = gather(config, store)
    write_drawn(store, gathered.taxonomy, title=f"{config.build.name}: categories", counts=gathered.counts)
    page = make_page(gathered, make_galleries(gathered, config, store))
    text = json.dumps(gathered.facts, indent=1, sort_keys=True, default=str) + "\n"
    store.write_bytes("report/report.json", text.encode())
    store.write_bytes("report/index.html", render(page).encode())
    return store.path("report/index.html")
