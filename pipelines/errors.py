"""Errors of the pipelines.

PipelineError            base: expected, found, where, what to do; the command line prints it without a traceback
+-- ConfigError          the configuration is wrong; holds every mistake at once
+-- InputError           an input file cannot be used at all (bad rows are rejects, not errors)
+-- TooManyRejects       a stage rejected more than its allowed share
+-- StorageError         a write failed (full disk, permissions)
+-- StaleError           a stage was asked for whose inputs are missing
"""

from __future__ import annotations

import sys


class PipelineError(Exception):
    """Base of all errors that the user can mend."""


class ConfigError(PipelineError):
    """The configuration is wrong; the message lists every mistake with its key's path."""


class InputError(PipelineError):
    """An input file or one of its columns cannot be used at all."""


class TooManyRejects(PipelineError):
    """A stage rejected more rows than its `max_reject_share` allows."""


class StorageError(PipelineError):
    """A file could not be written or read: full disk, permissions, vanished mount."""


class StaleError(PipelineError):
    """A stage was asked to run whose inputs have not been made."""


def mendable() -> tuple[type[Exception], ...]:
    """The base errors of all packages whose modules are loaded: what the user can mend, shown without a traceback."""
    bases: list[type[Exception]] = [PipelineError]
    for module, name in (
        ("openjft.loaders.errors", "LoaderError"),
        ("openjft.dedup.errors", "DedupError"),
        ("openjft.taxonomy.errors", "TaxonomyError"),
    ):
        if module in sys.modules:
            bases.append(getattr(sys.modules[module], name))
    return tuple(bases)
