"""Folders of image files as a source of a loader: class folders, files with a table of labels, or files alone.

In: a local folder of anyone's images. Out: `ImageFolder`, whose samples a `Loader` reads, cuts and decodes, and
`read_id_list`, which tells the samples that a list of ids names. No torch here, and no image is decoded.
"""

from __future__ import annotations

from .ids import IdList, Ids, read_id_list
from .image_folder import ImageFolder
from .walk import FileList, list_images

__all__ = ["FileList", "IdList", "Ids", "ImageFolder", "list_images", "read_id_list"]
