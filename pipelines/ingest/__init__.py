"""Ingest: raw pairs of any format into one row of evidence for each (image, label), with one shuffle, on storage.

`SpillStage` maps splits of the input to sorted runs cut by bucket, `EvidenceStage` maps buckets to evidence;
`plan_splits` cuts the input. Why not Beam's own group-by: docs/decisions/0001-shuffle-on-storage.md.
"""

from .evidence import EvidenceStage
from .spill import SpillStage
from .splits import Split, plan_splits
from .uris import TarMember, UriError, canonical_uri, parse_tar_member_uri, tar_member_uri

__all__ = [
    "EvidenceStage",
    "SpillStage",
    "Split",
    "TarMember",
    "UriError",
    "canonical_uri",
    "parse_tar_member_uri",
    "plan_splits",
    "tar_member_uri",
]
