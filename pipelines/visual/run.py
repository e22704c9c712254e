"""`openjft visual`: both scores of a finished build's candidates, and how another build reads them.

In: a build with finished evidence/, scores/ and embeddings/. Out: `visual/`, and the lines to add to the configuration
of the build that is to use them. A first, loose build fetches and embeds; the second filters with what the images show.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from openjft.pipelines.build import StageSummary, locked, make_plan, run_stage
from openjft.pipelines.config import Config
from openjft.pipelines.engine import Listener, fingerprint
from openjft.pipelines.storage import Store

from .files import FIT_FILE, FOLDER, MARGIN_SOURCE, MODE_SOURCE
from .stages import VisualStage, VisualSumsStage

UPSTREAM: Final = ("evidence", "scores", "embeddings")


@dataclasses.dataclass(frozen=True)
class VisualRun:
    """What was done.

    Attributes:
        stages: the two stages' accounts.
        fit: what is told of the fit: classes, labels, modes, dimensions, share of the identity in the covariance.
        path: where the scores lie.
        toml: the lines to add to a configuration.
    """

    stages: tuple[StageSummary, ...]
    fit: dict[str, Any]
    path: str
    toml: str

    def told(self) -> list[tuple[str, str | int | float]]:
        """What a person wants to know of the fit, by name."""
        fit, counters = self.fit, self.stages[-1].account.counters
        return [
            ("categories with images", fit["classes"]),
            ("of them with one image", fit["classes_of_one_image"]),
            ("modes", fit["modes"]),
            ("dimensions", fit["dim"]),
            ("identity's share in the covariance", round(fit["shrinkage"], 3)),
            ("labels without a category to compare with", counters.get("without_competitor", 0)),
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        stages = [stage.to_json() for stage in self.stages]
        return {"stages": stages, "fit": self.fit, "path": self.path, "toml": self.toml}


def score_visually(config: Config, *, listener: Listener | None = None) -> VisualRun:
    """Runs what is missing or stale of both stages.

    Args:
        config: of the build whose candidates are scored.
        listener: told of progress, from another thread.

    Raises:
        StaleError: the build has no finished evidence/, scores/ or embeddings/ of this configuration.
        PipelineError: a stage failed in a way that the user can mend.
    """
    store = Store(config.build.output)
    with locked(store):
        plan = make_plan(config, store)
        prints = [plan.prints["taxonomy"], *(plan.require(store, name, by="visual") for name in UPSTREAM)]
        done = []
        for stage in (VisualSumsStage.from_config(config), VisualStage.from_config(config)):
            prints = [fingerprint(stage, prints)]
            done.append(run_stage(stage, store, prints[0], config, listener=listener))
    path = f"{config.build.output.rstrip('/')}/{FOLDER}"
    return VisualRun(tuple(done), store.read_json(FIT_FILE), path, input_toml(path))


def input_toml(path: str) -> str:
    """The lines of a configuration that make the scores of a folder sources of a build."""
    sources = "".join(f'\n[[sources]]\nname = "{name}"\nkind = "score"\n' for name in (MARGIN_SOURCE, MODE_SOURCE))
    columns = ", ".join(f'{name} = "{name}"' for name in ("uri", "label", "source", "score"))
    return (
        f"[[inputs]]\npath = {json.dumps(path, ensure_ascii=False)}\n"
        f'format = "parquet"\nlabels = "id"\ncolumns = {{ {columns} }}\n{sources}'
    )
