"""Sum over the classes of the logistic loss, from sparse labels (METHODS: Sun et al. 2017, section 4.1).

    L = 1/n * sum_i ( sum_c softplus(z_ic) - sum over the labels c of image i of z_ic )

which equals binary cross-entropy with logits on the dense 0/1 target (absent labels are negatives), summed over
classes and averaged over images, without the (n, c) target ever being made: at 18,291 classes that target would
be as large as the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sparse_logistic_loss(logits: Tensor, label_values: Tensor, label_offsets: Tensor) -> Tensor:
    """The loss of a batch.

    Args:
        logits: (n, c) float32 or bfloat16; the sum is taken in float32, since bfloat16 keeps 8 bits of it.
        label_values: (nnz,) int64 class ids in [0, c), each at most once an image.
        label_offsets: (n + 1,) int64; image i has the labels `label_values[label_offsets[i]:label_offsets[i + 1]]`.

    Returns:
        A float32 scalar, in nats an image.
    """
    z = logits.float()
    n, num_classes = z.shape
    rows = torch.repeat_interleave(
        torch.arange(n, device=z.device),
        label_offsets.diff(),
        output_size=label_values.numel(),  # known here; without it a GPU would have to be waited for
    )
    positives = z.flatten().index_select(0, rows * num_classes + label_values)
    return (functional.softplus(z).sum() - positives.sum()) / n
