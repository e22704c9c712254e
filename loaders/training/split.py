"""Which images are trained on and which are held out.

Keys are hashes, so a range of the hash space is a uniform sample of the images. With `holdout` h the images in the
first 1 - h of it are for training and the others for evaluation; `subset` takes the first share of either. So subsets
are nested, and the held-out images are the same for all of them.
"""

from __future__ import annotations

import hashlib

from openjft.loaders import Dataset, Loader

from .options import TrainOptions


def training_loader(dataset: Dataset, options: TrainOptions) -> Loader:
    """Shuffled batches of the training part."""
    return Loader(
        dataset,
        batch_size=options.batch_size,
        seed=options.seed,
        image_size=options.image_size,
        num_threads=options.num_threads,
        subset=(0.0, options.subset * (1.0 - options.holdout)),
        shuffle=True,
        drop_last=True,
    )


def vocabulary_sha256(dataset: Dataset) -> str:
    """Hash of the categories' external ids, in the order of the head's outputs."""
    return hashlib.sha256("\0".join(dataset.category_ids).encode()).hexdigest()
