"""Plain WebDataset tars of anyone: scanned with what can be saved, indexed, read as a source of the loader.

In: a folder of tars, or their names. Out: an index beside them and a `TarCollection`; side files for other readers. No
torch here.
"""

from __future__ import annotations

from .collection import TarCollection
from .indexing import IndexSummary, index_tars
from .listing import IndexOptions, TarEntry
from .names import TarNames, tar_names
from .peers import PEERS, write_peer_files
from .scan import Lost, Member, scan_tar

__all__ = [
    "PEERS",
    "IndexOptions",
    "IndexSummary",
    "Lost",
    "Member",
    "TarCollection",
    "TarEntry",
    "TarNames",
    "index_tars",
    "scan_tar",
    "tar_names",
    "write_peer_files",
]
