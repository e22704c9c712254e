"""The index files that other readers look for beside tars: DALI's, Megatron-Energon's, open_clip's.

In: tars. Out: their files, from one walk over the headers of each. Sources: DALI `tools/wds2idx.py` (format v1.2),
Energon 7 `flavors/webdataset` (`.nv-meta/`, `NAME.tar.idx`), open_clip's `sizes.json`. Equal tars give equal files.

Memory: the members of one tar. Energon's files cannot tell of a damaged header between two samples, so that such a
tar is refused for it; DALI's can, and its reader then does better than on the tar alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import struct
import uuid
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from openjft.loaders.atomic import whole_file
from openjft.loaders.errors import LoaderError

from .names import TarNames
from .samples import TarSample, group_samples
from .scan import BLOCK, Lost, Sequential, scan_tar

Peer = Literal["dali", "energon", "open_clip"]
PEERS: Final[tuple[Peer, ...]] = ("dali", "energon", "open_clip")
ENERGON_FOLDER: Final = ".nv-meta"
SIZES_FILE: Final = "sizes.json"
_ENERGON_FILES: Final = (".info.json", ".info.yaml", "dataset.yaml", "index.sqlite", "index.uuid", "split.yaml")
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
_LOCAL_PIECE: Final = 1 << 14  # only headers are looked at, and a local read costs little
_REMOTE_PIECE: Final = 8 << 20


class _Tar(NamedTuple):
    number: int
    name: str
    samples: Sequence[TarSample]
    lost: Sequence[Lost]


def side_files(tars: Collection[str]) -> set[str]:
    """Paths that `write_peer_files` may write beside some tars."""
    names = {f"{tar.removesuffix('.tar')}.idx" for tar in tars} | {f"{tar}.idx" for tar in tars}
    return names | {_sizes_file(tar) for tar in tars} | {f"{ENERGON_FOLDER}/{name}" for name in _ENERGON_FILES}


def write_peer_files(
    tars: TarNames, peers: Collection[Peer], output: Path, *, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Writes side files for some readers.

    Args:
        tars: whose.
        peers: for whom.
        output: folder; the files lie in it as they would beside the tars. Where it is another one than that of local
            tars, links to the tars are put there, since these readers look beside them.
        on_progress: called with tars done and tars in all.

    Returns:
        Paths of the files, relative to `output`.

    Raises:
        LoaderError: a file cannot be written, a tar has no samples, or (Energon) two samples have one name or a header
            between samples is damaged.
    """
    counts: dict[str, int] = {}
    written: list[str] = []
    try:
        with _EnergonFiles(output) if "energon" in peers else contextlib.nullcontext() as energon:
            for number, name in enumerate(tars.names):
                tar = _walked(tars, number, name)
                counts[name] = len(tar.samples)
                _link(tars, name, output)
                if "dali" in peers:
                    written.append(_put(output, f"{name.removesuffix('.tar')}.idx", _dali(tar)))
                if energon is not None:
                    written.append(_put(output, f"{name}.idx", energon.add(tar, tars.folder.where(name))))
                if on_progress is not None:
                    on_progress(number + 1, len(tars.names))
            if energon is not None:
                written += energon.finish(counts)
        if "open_clip" in peers:
            written += _open_clip(counts, output)
    except OSError as error:
        raise LoaderError(f"{output}: side files could not be written: {error}; give another --output") from error
    return sorted(written)


def _walked(tars: TarNames, number: int, name: str) -> _Tar:
    size, _ = tars.folder.stat(name)
    piece = _LOCAL_PIECE if tars.folder.local_path else _REMOTE_PIECE
    samples, lost = list[TarSample](), list[Lost]()
    for item in group_samples(scan_tar(Sequential(tars.folder.random_access(name).read_at, piece=piece).read_at, size)):
        lost.append(item) if isinstance(item, Lost) else samples.append(item)
    if not samples:
        raise LoaderError(f"{tars.folder.where(name)}: expected samples, found none; take the tar away")
    return _Tar(number, name, samples, lost)


def _put(output: Path, relative: str, data: bytes) -> str:
    path = output / relative
    if path.is_file() and path.read_bytes() == data:
        return relative
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return relative


def _link(tars: TarNames, name: str, output: Path) -> None:
    if tars.folder.local_path is None or tars.folder.local_path.resolve() == output.resolve():
        return
    place = output / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(place):
        place.symlink_to((tars.folder.local_path / name).resolve())


def _dali(tar: _Tar) -> bytes:
    """`NAME.idx`: the version and the number of samples, then for each its parts' endings, places, sizes and names.

    Its reader takes white space as the end of a name: a tar with such names gets version 1.1, which has none.
    """
    parts = [part for sample in tar.samples for part in sample.parts]
    bad = next((part.member.name for part in parts if not part.ending or len(part.ending.split()) > 1), None)
    if bad is not None:
        raise LoaderError(f"{tar.name}: {bad!r:.80}: expected an ending without white space for DALI's index")
    named = not any(len(part.member.name.split()) > 1 for part in parts)
    lines = [f"v1.2 {len(tar.samples)}" if named else f"v1.1 {len(tar.samples)}"]
    for sample in tar.samples:
        told = (
            f"{part.ending} {part.member.offset} {part.member.size}" + (f" {part.member.name}" if named else "")
            for part in sample.parts
        )
        lines.append(" ".join(told))
    return ("\n".join(lines) + "\n").encode()


def _sizes_file(tar: str) -> str:
    folder, slash, _ = tar.rpartition("/")
    return f"{folder}{slash}{SIZES_FILE}"


def _open_clip(counts: dict[str, int], output: Path) -> list[str]:
    """`sizes.json` beside the tars: how many samples each has."""
    files: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        files.setdefault(_sizes_file(name), {})[name.rpartition("/")[2]] = count
    return [_put(output, path, _json(sizes)) for path, sizes in sorted(files.items())]


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


# -- Energon -------------------------------------------------------------------------------------------------------


class _EnergonFiles:
    """`.nv-meta/` and a `NAME.tar.idx` for each tar, as `energon prepare` writes them; all in the split `train`."""

    def __init__(self, output: Path) -> None:
        self._output, self._path = output, output / ENERGON_FOLDER / "index.sqlite"
        self._temporary = self._path.with_name(".tmp-index.sqlite")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary.unlink(missing_ok=True)
        self._database = sqlite3.connect(self._temporary)
        self._database.executescript(_ENERGON_TABLES)
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, tar: _Tar, where: str) -> bytes:
        """Takes a tar's samples, and gives its `.idx`: where each begins, and where the last one ends."""
        last = tar.samples[-1].parts[-1].member
        end = last.offset + -(-last.size // BLOCK) * BLOCK
        inner = [at for at in tar.lost if at.start < end and at.reason in {"bad_header", "zeros", "unsafe_name"}]
        if inner:
            raise LoaderError(
                f"{where}: bytes {inner[0].start} to {inner[0].stop}: {inner[0].detail}; Energon reads from sample to "
                "sample and would stop there: write the tar anew without it, or fetch it again"
            )
        starts = [*(sample.parts[0].member.header for sample in tar.samples), end]
        places = [
            (tar.number, s.name, i, starts[i], starts[i + 1] - starts[i]) for i, s in enumerate(tar.samples)
        ]  # fmt: skip
        parts = [
            (tar.number, i, part.ending, part.member.offset, part.member.size)
            for i, sample in enumerate(tar.samples)
            for part in sample.parts
        ]
        try:
            self._database.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", places)
        except sqlite3.IntegrityError as error:
            raise LoaderError(
                f"{where}: Energon wants each sample's name once over all tars, found one again ({error}); rename the "
                "samples"
            ) from error
        self._database.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)
        self._hash.update(json.dumps([places, parts]).encode())
        return b"".join(struct.pack("<Q", at) for at in starts)

    def finish(self, counts: dict[str, int]) -> list[str]:
        """The other files, and where they lie."""
        self._database.executescript(_ENERGON_INDEXES)
        self._database.commit()
        self._database.close()
        self._temporary.replace(self._path)
        # JSON is YAML. Releases before 7 look for .info.yaml.
        info = _json({"shard_counts": counts})
        split = _json({"exclude": [], "split_parts": {"test": [], "train": list(counts), "val": []}})
        files = {
            ".info.json": info,
            ".info.yaml": info,
            "dataset.yaml": _json({"__class__": "CrudeWebdataset", "__module__": "megatron.energon"}),
            "index.uuid": str(uuid.UUID(bytes=self._hash.digest()[:16], version=4)).encode(),
            "split.yaml": split,
        }
        return [f"{ENERGON_FOLDER}/index.sqlite"] + [
            _put(self._output, f"{ENERGON_FOLDER}/{name}", data) for name, data in files.items()
        ]
