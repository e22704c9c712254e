from __future__ import annotations

import numpy as np
import torch

from openjft.loaders.training.parallel import World
from openjft.loaders.training.step import Share
from openjft.loaders.training.synthetic import bare_step, synthetic_batches

CPU = torch.device("cpu")


def batches(**changes):
    values = {"batch_size": 4, "crop_size": 32, "num_classes": 5, "count": 6, "labels_per_image": 3}
    return list(synthetic_batches(CPU, **values | changes))


def test_the_batches_have_the_asked_for_sizes_and_valid_labels():
    drawn = batches(num_classes=2)
    assert len(drawn) == 6
    for batch in drawn:
        assert batch.images.shape == (4, 3, 32, 32)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert -1 <= batch.images.min() < -0.9
        assert 0.9 < batch.images.max() <= 1
        assert [sorted(row) for row in batch.label_values.view(4, 2).tolist()] == [[0, 1]] * 4
    assert torch.equal(drawn[0].images, batches(num_classes=2)[0].images)


def test_a_bare_step_trains_on_them(train_options):
    options = train_options(batch_size=4, lr=0.01)
    step = bare_step(options, 5, World.alone(CPU))
    batch = batches(count=1)[0]
    share = Share.of(batch, options.group_images)
    losses = [float(step(batch, [share], rate=0.01, images_seen=4 * i)) for i in range(4)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
