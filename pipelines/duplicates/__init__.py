"""Duplicates inside the training set: images of different addresses that show one picture.

Four maps that meet on storage, with small work of the driver in between. `cells` sorts vectors into cells, and hashes
into bands; `edges` compares what met there, and the driver joins the links to components; `members` fetches the vectors
of what hangs together, and the driver holds each against its representative; `duplicates` says what is kept. Source:
METHODS.md, section 4. `files` knows what lies where, `parts` how a bucket's rows reach another one.

What it does not do: look at mirrored or cropped copies of training images, other than by what the descriptor forgives.
"""

from .cells import CellsStage
from .edges import EdgesStage
from .members import MembersStage
from .policy import DuplicatesStage

__all__ = ["CellsStage", "DuplicatesStage", "EdgesStage", "MembersStage"]
