"""The index files that other readers look for beside tars: DALI's, Megatron-Energon's, open_clip's.

In: tars. Out: their files, from one walk over the headers. Sources: DALI `tools/wds2idx.py` (format v1.2), Energon 7
`flavors/webdataset` (`.nv-meta/`, `NAME.tar.idx`), open_clip's `sizes.json`.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from openjft.loaders.errors import LoaderError

from .names import TarNames
from .samples import Rejected, TarSample, group_samples
from .scan import BLOCK, Sequential, scan_tar

Peer = Literal["dali", "energon", "open_clip"]
PEERS: Final[tuple[Peer, ...]] = ("dali", "energon", "open_clip")
ENERGON_FOLDER: Final = ".nv-meta"
_ENERGON_TABLES: Final = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, sample_index INTEGER NOT NULL,
    byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT, content_byte_offset INTEGER,
    content_byte_size INTEGER);
"""
_ENERGON_INDEXES: Final = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full ON
    sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""


class _Tar(NamedTuple):
    name: str
    samples: list[TarSample]


def write_peer_files(
    tars: TarNames, peers: Iterable[Peer], output: Path, *, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Writes side files for some readers.

    Args:
        tars: whose.
        peers: for whom.
        output: folder; the files lie in it as they would beside the tars.
        on_progress: called with tars done and tars in all.

    Returns:
        Paths of the files, relative to `output`.

    Raises:
        LoaderError: a file cannot be written, a tar has no samples, or (Energon) two samples have one name.
    """
    wanted, written, walked = set(peers), [], []
    for done, name in enumerate(tars.names, start=1):
        size, _ = tars.folder.stat(name)
        read = Sequential(tars.folder.random_access(name).read_at, piece=BLOCK if tars.folder.local_path else 8 << 20)
        found = [s for s in group_samples(scan_tar(read.read_at, size)) if not isinstance(s, Rejected)]
        if not found:
            raise LoaderError(f"{tars.folder.where(name)}: expected samples, found none; take the tar away")
        walked.append(_Tar(name, found))
        if on_progress is not None:
            on_progress(done, len(tars.names))
    try:
        for peer, write in (("dali", _dali), ("energon", _energon), ("open_clip", _open_clip)):
            if peer in wanted:
                written += write(walked, output)
    except OSError as error:
        raise LoaderError(f"{output}: side files could not be written: {error}; give another --output") from error
    return sorted(written)


def _put(output: Path, relative: str, data: bytes) -> str:
    path = output / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
    return relative


def _dali(tars: list[_Tar], output: Path) -> list[str]:
    """`NAME.idx`: the version and the number of samples, then for each its parts' endings, places, sizes and names."""
    written = []
    for tar in tars:
        lines = [f"v1.2 {len(tar.samples)}"]
        for sample in tar.samples:
            parts = (f"{p.ending} {p.member.offset} {p.member.size} {p.member.name}" for p in sample.parts)
            lines.append(" ".join(parts))
        written.append(_put(output, f"{tar.name.removesuffix('.tar')}.idx", ("\n".join(lines) + "\n").encode()))
    return written


def _open_clip(tars: list[_Tar], output: Path) -> list[str]:
    """`sizes.json` beside the tars: how many samples each has."""
    by_folder: dict[str, dict[str, int]] = {}
    for tar in tars:
        folder, _, base = tar.name.rpartition("/")
        by_folder.setdefault(folder, {})[base] = len(tar.samples)
    return [
        _put(output, f"{folder}/sizes.json".lstrip("/"), (json.dumps(sizes, indent=1, sort_keys=True) + "\n").encode())
        for folder, sizes in sorted(by_folder.items())
    ]


def _energon(tars: list[_Tar], output: Path) -> list[str]:
    """`.nv-meta/` and a `NAME.tar.idx` for each tar, as `energon prepare` writes them; all in the split `train`."""
    written = [_put(output, f"{tar.name}.idx", _energon_offsets(tar)) for tar in tars]
    counts = {tar.name: len(tar.samples) for tar in tars}
    info = json.dumps({"shard_counts": counts}, indent=2) + "\n"
    written.append(_put(output, f"{ENERGON_FOLDER}/.info.json", info.encode()))
    # JSON is YAML.
    split = json.dumps({"split_parts": {"train": list(counts), "val": [], "test": []}, "exclude": []}, indent=2) + "\n"
    written.append(_put(output, f"{ENERGON_FOLDER}/split.yaml", split.encode()))
    written.append(_energon_database(tars, output))
    name = uuid.uuid5(uuid.NAMESPACE_OID, info + "".join(s.name for tar in tars for s in tar.samples))
    written.append(_put(output, f"{ENERGON_FOLDER}/index.uuid", str(name).encode()))
    return written


def _ends(tar: _Tar) -> list[int]:
    """Where each sample's headers begin, and where the last one's data ends, padding included."""
    last = tar.samples[-1].parts[-1].member
    end = last.offset + -(-last.size // BLOCK) * BLOCK
    return [sample.parts[0].member.header for sample in tar.samples] + [end]


def _energon_offsets(tar: _Tar) -> bytes:
    return b"".join(struct.pack("<Q", at) for at in _ends(tar))


def _energon_database(tars: list[_Tar], output: Path) -> str:
    relative = f"{ENERGON_FOLDER}/index.sqlite"
    path = output / relative
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.unlink(missing_ok=True)
    database = sqlite3.connect(temporary)
    try:
        database.executescript(_ENERGON_TABLES)
        for number, tar in enumerate(tars):
            ends = _ends(tar)
            database.executemany(
                "INSERT INTO samples VALUES (?, ?, ?, ?, ?)",
                [(number, s.name, i, ends[i], ends[i + 1] - ends[i]) for i, s in enumerate(tar.samples)],
            )
            database.executemany(
                "INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)",
                [
                    (number, i, p.ending, p.member.offset, p.member.size)
                    for i, s in enumerate(tar.samples)
                    for p in s.parts
                ],
            )
        database.executescript(_ENERGON_INDEXES)
        database.commit()
    except sqlite3.IntegrityError as error:
        raise LoaderError(
            f"Energon wants each sample's name once over all tars: {error}; rename the samples"
        ) from error
    finally:
        database.close()
    temporary.replace(path)
    return relative
