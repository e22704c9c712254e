"""A library of evaluation sets: a folder with one stored set each, made once and used by many builds.

In: sets in their own layouts, and the descriptor, views and frame of a build's configuration. Out: LIBRARY/NAME/, which
a build takes with `format = "stored"` and `root = "LIBRARY/NAME"`. A set is replaced only where that was asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from openjft.dedup import EvalSetError, EvalSetSpec, make_views, read_eval_set
from openjft.pipelines.config import Decontaminate, Embed, Fetch
from openjft.pipelines.embed import embedder_spec, load_embedder
from openjft.pipelines.storage import Store

from .stored import SET_FILE, Made, SetHeader, write_set

Told = Callable[[str, int, int], None]  # name of the set, images, images done


def add_sets(
    library: Store,
    specs: Sequence[EvalSetSpec],
    *,
    embed: Embed,
    fetch: Fetch,
    decontaminate: Decontaminate,
    replace: bool = False,
    told: Told = lambda *_: None,
) -> list[SetHeader]:
    """Embeds sets into a library, the descriptor loaded once for all of them; one that is there as asked is left alone.

    Args:
        library: its folder.
        specs: the sets.
        embed: the descriptor.
        fetch: the frame of the training images.
        decontaminate: the views.
        replace: whether a set that is there, but was made of other images or in another way, is made anew.
        told: of progress.

    Raises:
        EvalSetError: two sets have one name, one is there already, its layout is not as it should be, or nothing of it
            could be decoded.
    """
    _check_names(specs)
    sets = [read_eval_set(spec) for spec in specs]
    embedder = load_embedder(embedder_spec(embed))
    views = make_views(decontaminate.views)
    made = Made.of(embedder.fingerprint, views, fetch)
    there = [SetHeader.read(library, spec.name) for spec in specs]
    # All of them are looked at before the first is embedded.
    stale = [header is None or header.fingerprint != made.fingerprint(s) for header, s in zip(there, sets, strict=True)]
    for header, is_stale in zip(there, stale, strict=True):
        if header is not None and is_stale and not replace:
            raise EvalSetError(
                f"eval set {header.name!r}: expected no set of that name in {library.base}, found one of "
                f"{header.images:,} images made with {header.model}. Say --replace to make it anew, or choose another "
                "name"
            )
    headers = []
    for spec, eval_set, header, is_stale in zip(specs, sets, there, stale, strict=True):
        progress = functools.partial(told, spec.name, len(eval_set))
        if header is not None and not is_stale:
            headers.append(header)
        else:
            headers.append(
                write_set(
                    library,
                    spec.name,
                    eval_set,
                    spec=spec,
                    fetch=fetch,
                    views=views,
                    embedder=embedder,
                    progress=progress,
                )
            )
        progress(len(eval_set))
    return headers


def _check_names(specs: Sequence[EvalSetSpec]) -> None:
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise EvalSetError(f"eval set {name!r}: expected each name once, found it {names.count(name)} times")


def list_sets(library: Store) -> list[SetHeader]:
    """The sets of a library, by name."""
    files = [path for path in library.list_files("", recursive=True) if path.count("/") == 1]
    names = sorted(path.partition("/")[0] for path in files if path.endswith(f"/{SET_FILE}"))
    return [header for name in names if (header := SetHeader.read(library, name)) is not None]


def remove_set(library: Store, name: str) -> None:
    """Deletes a set.

    Raises:
        EvalSetError: there is none of that name.
    """
    if SetHeader.read(library, name) is None:
        known = ", ".join(header.name for header in list_sets(library)) or "none"
        raise EvalSetError(f"eval set {name!r}: expected one of {library.base} ({known}), found none of that name")
    library.delete(name)
