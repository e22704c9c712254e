"""The demo's audit: a judge who knows the truth, and what the certificate says beside it.

In: a finished build of the drawn web. Out: the page, the answers as if a person had given them, the certificate, and
the true precision of what it certifies. `demo/out/audit/judge.html` stays for whoever wants to judge some labels
themselves.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from ..audit.certify import certify_build
from ..audit.sample import draw_sample, files_of
from ..config import Config
from ..schema import LABEL, URI
from ..storage import Store, bucket_file
from .truth import true_pairs
from .web import DemoWeb

JUDGED: Final = 400
JUDGE: Final = "somebody who knows the truth"


@dataclasses.dataclass(frozen=True)
class AuditTruth:
    """The certificate beside the truth.

    `certificate` is the value of certificate.json; `true_precision` that of all labels at or above its threshold, of
    which there are `kept`; None where nothing is certified. `page` is for a person to judge on.
    """

    certificate: dict[str, Any]
    kept: int
    true_precision: float | None
    page: str

    def table(self) -> Table:
        """For a terminal."""
        c = self.certificate
        table = Table(title="An audit: certified against the truth", title_justify="left", header_style="bold")
        for name, justify in (("", "left"), ("", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_row("labels judged", f"{c['judged']:,}")
        if c["threshold"] is None:
            table.add_row("certified", f"nothing: {c['reason']}")
            return table
        table.add_row("labels with probability", f"{c['threshold']:.3f} or more")
        table.add_row("of them judged, right", f"{c['k']:,} of {c['n']:,}")
        table.add_row("precision, certified", f"at least {c['target']:.1%}, wrong {c['delta']:.0%} of the time")
        table.add_row("precision, true", f"[bold]{self.true_precision:.1%}[/] of {self.kept:,}")
        return table

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.certificate, "true_kept": self.kept, "true_precision": self.true_precision}


def audit_by_truth(web: DemoWeb, config: Config, progress: Callable[[int, int], None]) -> AuditTruth:
    """Draws a sample, answers it by the truth, certifies.

    Args:
        web: as drawn; its server must answer.
        config: of the finished build.
        progress: told of the pictures.
    """
    store = Store(config.build.output)
    right = true_pairs(web, store)
    drawn = draw_sample(config, size=JUDGED, progress=progress)
    sample = store.read_table(files_of("audit")[0])
    answers = [
        {"id": id_, "answer": "yes" if (uri, id_.partition("/")[2]) in right else "no"}
        for id_, uri in zip(sample["id"].to_pylist(), sample[URI].to_pylist(), strict=True)
    ]
    value = {"format": "openjft-answers", "version": 1, "sample": drawn.account["sample"], "purpose": "audit"}
    path = Path(web.folder) / "answers.json"
    path.write_text(json.dumps({**value, "annotator": JUDGE, "answers": answers}, indent=1))
    certificate = certify_build(config, [str(path)])
    kept, correct = (0, 0) if certificate["steps"] is None else _above(config, store, certificate["threshold"], right)
    return AuditTruth(certificate, kept, correct / kept if kept else None, drawn.page)


def _above(config: Config, store: Store, threshold: float, right: set[tuple[str, str]]) -> tuple[int, int]:
    """(labels, right ones) of all candidates at or above a threshold."""
    ids = store.read_table("taxonomy/vocabulary.parquet", ["id"])["id"].to_pylist()
    kept = correct = 0
    for bucket in range(config.build.buckets):
        scores = store.read_table(bucket_file("scores", bucket, config.build.buckets))
        rows = store.read_table(bucket_file("evidence", bucket, config.build.buckets), [URI, LABEL])
        uris, labels = rows[URI].to_pylist(), rows[LABEL].to_pylist()
        above = np.flatnonzero(scores["probability"].to_numpy() >= np.float32(threshold)).tolist()
        kept += len(above)
        correct += sum((uris[i], ids[labels[i]]) in right for i in above)
    return kept, correct
