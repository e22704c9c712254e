"""Which images are trained on and which are held out.

Keys are hashes, so a range of the hash space is a uniform sample of the images. With `holdout` h the images in the
first 1 - h of it are for training and the others for evaluation; `subset` takes the first share of either. So subsets
are nested, and the held-out images are the same for all of them.
"""

from __future__ import annotations

import hashlib

from openjft.loaders import Loader
from openjft.loaders.errors import LoaderError
from openjft.loaders.source import Source

from .options import TrainOptions


def training_loader(source: Source, options: TrainOptions, *, rank: int = 0, world_size: int = 1) -> Loader:
    """Shuffled batches of the training part; a rank takes whole batch-norm groups.

    Raises:
        LoaderError: there are fewer groups than ranks, or fewer images than a batch.
    """
    groups = -(-options.batch_size // options.group_images)
    if groups < world_size:
        raise LoaderError(
            f"expected at least one batch-norm group for each of {world_size} processes, found {groups} (batch_size "
            f"{options.batch_size}, bn_images {options.group_images}); give a batch_size of at least "
            f"{world_size * options.group_images}, a smaller bn_images, or fewer processes"
        )
    loader = Loader(
        source,
        batch_size=options.batch_size,
        seed=options.seed,
        image_size=options.image_size,
        rank=rank,
        world_size=world_size,
        unit=options.group_images,
        num_threads=options.num_threads,
        subset=(0.0, options.subset * (1.0 - options.holdout)),
        shuffle=True,
        drop_last=True,
        check_sha256=options.check_sha256,
        on_error="skip" if options.max_skipped > 0 else "raise",
        max_skipped=options.max_skipped,
        ledger=options.output if options.max_skipped > 0 else None,
    )
    if loader.steps_per_epoch < 1:
        raise LoaderError(
            f"{options.data}: expected at least one batch of {options.batch_size} training images, found fewer among "
            f"{source.num_samples:,} images with subset {options.subset} and holdout {options.holdout}; "
            "lower batch_size"
        )
    return loader


def vocabulary_sha256(source: Source) -> str:
    """Hash of the categories' external ids, in the order of the head's outputs."""
    return hashlib.sha256("\0".join(source.category_ids).encode()).hexdigest()
