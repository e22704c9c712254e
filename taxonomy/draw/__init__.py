"""The hierarchy as a page that one would rather look at than read."""

from .page import draw_page

__all__ = ["draw_page"]
