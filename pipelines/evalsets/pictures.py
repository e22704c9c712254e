"""Small pictures of a set's images in one file: for alignment, planted copies and reports, on any worker.

Written as a stream of images goes by; read one by one by their row. Each is a colour JPEG in its own shape, the
longer side `SIDE` at most. An image that could not be decoded has an empty picture. Of 50,000 images it is about 1
GB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import PIL.Image

from openjft.loaders.decoding import decode_stored_jpeg, encode_jpeg
from openjft.pipelines.storage import Store

from .images import Pixels

PICTURES_FILE: Final = "pictures.bin"
PLACES_FILE: Final = "pictures.npy"  # (n + 1,) int64: picture i lies from place i to place i + 1
SIDE: Final = 320
QUALITY: Final = 88


class PictureWriter:
    """Notes the pictures of a rising stream of rows."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._places = [0]

    def writing(self, images: Iterator[tuple[int, Pixels]]) -> Iterator[tuple[int, Pixels]]:
        """The same stream; rows left out get an empty picture."""
        for row, pixels in images:
            self._fill(row)
            data = encode_jpeg(_small(pixels), quality=QUALITY)
            self._sink.write(data)
            self._places.append(self._places[-1] + len(data))
            yield row, pixels

    def places(self, rows: int) -> npt.NDArray[np.int64]:
        """Where the pictures of all rows lie."""
        self._fill(rows)
        return np.asarray(self._places, np.int64)

    def _fill(self, row: int) -> None:
        self._places += [self._places[-1]] * (row - (len(self._places) - 1))


class Pictures:
    """The pictures of a stored set; opens the file for each that is asked for."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._file = store, f"{folder}/{PICTURES_FILE}"
        with store.reading(f"{folder}/{PLACES_FILE}") as source:
            self._places: npt.NDArray[np.int64] = np.lib.format.read_array(source, allow_pickle=False)

    def jpeg(self, row: int) -> bytes | None:
        """The JPEG of a row; None where the image could not be decoded."""
        start, stop = self._places[row : row + 2].tolist()
        if start == stop:
            return None
        with self._store.reading(self._file) as source:
            source.seek(start)
            return source.read(stop - start)

    def pixels(self, row: int) -> Pixels | None:
        """(h, w, 3) uint8 of a row; None where there is none."""
        data = self.jpeg(row)
        return None if data is None else decode_stored_jpeg(data)


def _small(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    scale = SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BOX))
