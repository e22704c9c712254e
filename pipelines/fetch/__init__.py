"""Fetch: the image of every kept label, downloaded, checked, resized once and stored.

`FetchStage` (`.stage`) reads `labels/` and writes `images/` and `catalog/`. What lies below imports no Beam:
`.http` (the web), `.sources` (files, object stores, members of tars), `.addresses` (which addresses may be
dialled), `.convert` (bytes to stored JPEG), `.ordered` (concurrent work, results in order).
"""

from .stage import FetchStage, fetch_pictures

__all__ = ["FetchStage", "fetch_pictures"]
