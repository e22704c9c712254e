"""Sum over the classes of the logistic loss, from sparse labels (METHODS: Sun et al. 2017, section 4.1).

    L = 1/N * sum_i ( sum_c softplus(z_ic) - sum over the labels c of image i of z_ic )

which equals binary cross-entropy with logits on the dense 0/1 target (absent labels are negatives), summed over
classes and averaged over images, without the (n, c) target ever being made: at 18,291 classes that target would
be as large as the logits. With targets t, weights w and cells G that are not judged, as `openjft.loaders.labels` makes
them, a label's term is w * (softplus(z) - t * z) and a cell of G has none:

    L = 1/N * sum_i ( sum over c not in G_i of softplus(z) + sum over labels of ((w - 1) * softplus(z) - w * t * z) )
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from openjft.loaders.errors import LoaderError


def sparse_logistic_loss(
    logits: Tensor,
    label_values: Tensor,
    label_offsets: Tensor,
    *,
    label_targets: Tensor | None = None,
    label_weights: Tensor | None = None,
    ignored_values: Tensor | None = None,
    ignored_offsets: Tensor | None = None,
    images: int | Tensor | None = None,
) -> Tensor:
    """The loss of a batch.

    Args:
        logits: (n, c) float32 or bfloat16; the sum is taken in float32, since bfloat16 keeps 8 bits of it.
        label_values: (nnz,) int64 class ids in [0, c), each at most once an image.
        label_offsets: (n + 1,) int64; image i has the labels `label_values[label_offsets[i]:label_offsets[i + 1]]`.
        label_targets: (nnz,) float32 in [0, 1]; None: all 1.
        label_weights: (nnz,) float32, 0 or more; None: all 1.
        ignored_values: (q,) int64 class ids that are no label of their image; None: none.
        ignored_offsets: (n + 1,) int64, of `ignored_values`.
        images: that the sum is divided by; None: n. A rank gives the images of the global batch, so that the ranks'
            losses add up to the batch's.

    Returns:
        A float32 scalar, in nats an image.

    Raises:
        LoaderError: a class id on the CPU is outside [0, c). On a GPU a look would make it wait; `device_batches` has
            looked before.
    """
    z = logits.float()
    flat = z.flatten()
    at_labels = flat.index_select(0, _cells(z, label_values, label_offsets))
    told = at_labels if label_targets is None else at_labels * label_targets
    total = functional.softplus(z).sum()
    if label_weights is None:
        total = total - told.sum()
    else:
        total = total + ((label_weights - 1) * functional.softplus(at_labels) - label_weights * told).sum()
    if ignored_values is not None and ignored_offsets is not None:
        left_out = flat.index_select(0, _cells(z, ignored_values, ignored_offsets))
        total = total - functional.softplus(left_out).sum()
    return total / (z.shape[0] if images is None else images)


def _cells(z: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """(nnz,) places of (image, class) pairs in the flattened logits."""
    if values.device.type == "cpu" and values.numel():
        low, high = (int(end) for end in values.aminmax())
        if low < 0 or high >= z.shape[1]:  # it would be a class of the next image
            raise LoaderError(f"loss: expected class ids in [0, {z.shape[1]}), found {low} to {high}")
    rows = torch.repeat_interleave(
        torch.arange(z.shape[0], device=z.device),
        offsets.diff(),
        output_size=values.numel(),  # known here; without it a GPU would have to be waited for
    )
    return rows * z.shape[1] + values
