"""What the report's page is made of, and the page itself: a template that escapes everything strangers sent.

In: a `Page` of plain values. Out: one HTML text with its styles, figures and pictures inside; no script, and a
policy that lets the browser load nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Tile:
    """A figure that one reads first."""

    label: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class TableView:
    """A table; `numeric` are the columns set to the right; `folded` is the line that opens a folded one."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    folded: str = ""


@dataclasses.dataclass(frozen=True)
class FigureView:
    """An SVG of ours (trusted) and what it shows."""

    svg: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """One or two pictures as data: URIs, with a title and lines of text."""

    images: Sequence[str]
    title: str
    lines: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures under a heading; `wide` cards have room for two side by side."""

    title: str
    pictures: Sequence[Picture]
    text: str = ""
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Part:
    """What a stage rejected for one reason, and its share of what came in."""

    reason: str
    count: str
    percent: float


@dataclasses.dataclass(frozen=True)
class Flow:
    """One stage's account as a bar."""

    stage: str
    noun: str
    in_: str
    out: str
    kept_percent: float
    parts: Sequence[Part]


@dataclasses.dataclass(frozen=True)
class Link:
    """A file beside the report, by its relative path, and what one finds there."""

    href: str
    title: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page, with whatever it has of each kind."""

    id: str
    title: str
    text: str = ""
    flow: Sequence[Flow] = ()
    figures: Sequence[FigureView] = ()
    tables: Sequence[TableView] = ()
    galleries: Sequence[Gallery] = ()
    links: Sequence[Link] = ()


@dataclasses.dataclass(frozen=True)
class Page:
    """The whole report."""

    name: str
    lead: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML."""
    import jinja2

    files = importlib.resources.files(__package__)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((files / "template.html").read_text(encoding="utf-8"))
    return template.render(r=page, css=(files / "style.css").read_text(encoding="utf-8"))
