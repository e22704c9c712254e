"""The certificate of a build on storage: what the build and the report ask of it.

In: `audit/certificate.json`, written by `openjft audit certify`. Out: its value, whether it speaks of the scores as
they are now, and the threshold that it allows. Kept apart from the statistics and from the drawing, since the build's
driver imports it.
"""

from __future__ import annotations

from typing import Any, Final

from openjft.pipelines.errors import PipelineError
from openjft.pipelines.storage import Store

CERTIFICATE_FILE: Final = "audit/certificate.json"


def read_certificate(store: Store) -> dict[str, Any] | None:
    """The certificate's value; None where there is none."""
    if not store.exists(CERTIFICATE_FILE):
        return None
    value: dict[str, Any] = store.read_json(CERTIFICATE_FILE)
    return value


def is_current(certificate: dict[str, Any], scores: str) -> bool:
    """Whether it was made for the scores of this fingerprint."""
    return bool(certificate["scores"] == scores)


def certified_steps(store: Store, scores: str, *, target: float, delta: float) -> int:
    """The threshold that the certificate allows, in millionths.

    Args:
        store: the build's folder.
        scores: fingerprint of the scores as they are now.
        target: precision that the build wants, at least.
        delta: how often, at most, the certificate may be wrong.

    Raises:
        PipelineError: there is no certificate, it is of other scores, of a lower precision, or it certifies nothing.
    """
    value = read_certificate(store)
    how = (
        "Run `openjft audit sample CONFIG`, judge the labels on the page that it writes, then `openjft audit certify "
        "CONFIG ANSWERS`; or set audit.require = false"
    )
    if value is None:
        raise PipelineError(f"labels: expected a certificate (audit.require), found none in {store.root}. {how}")
    if not is_current(value, scores):
        raise PipelineError(
            "labels: expected a certificate of the labels as they are scored now (audit.require), found one of other "
            f"evidence or settings. {how}"
        )
    if value["target"] < target or value["delta"] > delta:
        raise PipelineError(
            f"labels: expected a certificate of precision {target:g} at error rate {delta:g} (precision.target, "
            f"audit.delta), found one of {value['target']:g} at {value['delta']:g}. {how}"
        )
    if value["steps"] is None:
        raise PipelineError(
            f"labels: expected a certificate of precision {target:g} (audit.require), found one that certifies "
            f"nothing: "
            f"{value['reason']}. Judge more labels, improve the evidence, or lower precision.target"
        )
    return int(value["steps"])
