"""A contact sheet: pairs of photos side by side with a line of text, for a look by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import PIL.Image
from PIL import ImageDraw

TILE: Final = 150
LINE: Final = 14
COLUMNS: Final = 5  # pairs


def contact_sheet(path: Path, pairs: Sequence[tuple[Path, Path, str]]) -> None:
    """Writes a PNG: left the web image, right the evaluation image; nothing where there are no pairs."""
    if not pairs:
        path.unlink(missing_ok=True)
        return
    rows = -(-len(pairs) // COLUMNS)
    sheet = PIL.Image.new("RGB", (COLUMNS * 2 * TILE, rows * (TILE + 2 * LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (left, right, text) in enumerate(pairs):
        x, y = number % COLUMNS * 2 * TILE, number // COLUMNS * (TILE + 2 * LINE)
        for place, file in ((x, left), (x + TILE, right)):
            with PIL.Image.open(file) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail((TILE - 4, TILE - 4))
            sheet.paste(picture, (place, y))
        draw.text((x, y + TILE), f"{number + 1}: {text[:48]}", fill="black")
        draw.text((x, y + TILE + LINE - 2), f"{right.parent.name}/{right.name}"[:48], fill="grey")
    sheet.save(path)
