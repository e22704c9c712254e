"""The backbone of a trained network, put into another network.

In: a file of `openjft export`, or a checkpoint. Out: a torchvision model whose ResNet has those weights. Names and
shapes must agree one by one; a classifier is on neither side looked at.

A detector of torchvision takes images in [0, 1] and scales them by a mean and a standard deviation of its own. Ours
were trained on [-1, 1], which is mean 0.5 and standard deviation 0.5 for each colour: `fasterrcnn_resnet50_fpn(
weights=None, weights_backbone=None, image_mean=[0.5] * 3, image_std=[0.5] * 3)`. A segmenter normalises nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from openjft.loaders.errors import CheckpointError
from openjft.loaders.training.checkpoint import WeightsChoice
from openjft.loaders.training.export import HEAD, read_weights

_PLACES = ("", "backbone.body", "backbone")  # a ResNet; detectors with a feature pyramid; segmenters


def load_backbone(path: Path | str, model: nn.Module, *, which: WeightsChoice = "auto") -> nn.Module:
    """Puts a trained backbone into a network.

    Args:
        path: a file of `openjft export`, a checkpoint, or a training's output folder.
        model: a ResNet, or a torchvision model with one as `backbone` or `backbone.body` (Faster R-CNN, Mask R-CNN,
            Keypoint R-CNN, RetinaNet, DeepLabV3, FCN), made with weights=None and weights_backbone=None.
        which: of a checkpoint, its weights or their running mean.

    Returns:
        The part of the model that was loaded; its other parts stay as they were.

    Raises:
        CheckpointError: the file cannot be read, or a name or a shape does not agree.
    """
    given = read_weights(Path(path), which)
    body = _body(model)
    wanted = {name: tensor for name, tensor in body.state_dict().items() if not name.startswith(HEAD)}
    tensors = {name: tensor for name, tensor in given.tensors.items() if not name.startswith(HEAD)}
    if not any(name.endswith("num_batches_tracked") for name in wanted):  # FrozenBatchNorm2d keeps no count
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    mistakes = list(_mistakes(tensors, wanted))
    if mistakes:
        more = f"; and {len(mistakes) - 3:,} more" if len(mistakes) > 3 else ""
        raise CheckpointError(
            f"{path}: expected the backbone of the model, found a {given.arch} with other tensors: "
            f"{'; '.join(mistakes[:3])}{more}. Make the model with the architecture of the file"
        )
    body.load_state_dict(tensors, strict=False)  # compared above; what is left over is the model's own classifier
    return body


def _body(model: nn.Module) -> nn.Module:
    for place in _PLACES:
        try:
            module = model.get_submodule(place)
        except AttributeError:
            continue
        if hasattr(module, "conv1") and hasattr(module, "layer4"):
            return module
    raise CheckpointError(
        f"{type(model).__name__}: expected a ResNet, or a model with one as backbone or backbone.body, found neither"
    )


def _mistakes(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> Iterator[str]:
    for name in sorted(given.keys() | wanted.keys()):
        if name not in given:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} is not in the model"
        elif given[name].shape != wanted[name].shape:
            yield f"{name} is {tuple(given[name].shape)}, the model's {tuple(wanted[name].shape)}"
