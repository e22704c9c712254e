"""Errors of the loaders.

LoaderError              base: the message says what was expected, found, where, and what to do
+-- DatasetError         a finished dataset is not what its manifest says
|   +-- ShortReadError   a shard ends before one of its samples does
+-- SkippedTooManyError  more samples were unusable than is allowed
+-- CheckpointError      a checkpoint does not fit the run that it should go on with
"""

from __future__ import annotations


class LoaderError(Exception):
    """Base of all errors of the loaders that the user can mend."""


class DatasetError(LoaderError):
    """A dataset's files do not match its manifest, index or schema."""


class ShortReadError(DatasetError):
    """A shard ends before one of its samples does."""


class SkippedTooManyError(LoaderError):
    """More samples could not be used than is allowed."""


class CheckpointError(LoaderError):
    """A checkpoint belongs to another dataset, architecture or recipe."""
