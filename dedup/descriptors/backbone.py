"""torchvision's architectures as descriptors: local weights in, classifier off, average or GeM pooling.

In: a state dict with torchvision's names, plain, as trainers wrap it, as safetensors (by the file's ending), or in a
checkpoint of `openjft train`. Out: a module that maps (n, 3, S, S) to (n, d). Weights are data and are read as such;
every name must fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..embedder import CHECKPOINT_CONTENT, EmbedderSpec
from ..errors import EmbedderError
from .checkpoint import read_weights
from .pooling import gem
from .safetensors import ENDING, read_safetensors

if TYPE_CHECKING:
    import torch

_HEADS: Final = ("fc", "classifier", "head", "heads")  # torchvision's names of the classifier
_MAPS: Final = ("features", "layers", "conv5")  # of what makes the last maps where pooling is a mere function
_WRAPPERS: Final = ("state_dict", "model", "model_state_dict")  # where trainers keep the weights of a checkpoint


def build_backbone(spec: EmbedderSpec, path: Path) -> Any:
    """The architecture with the weights of a file, without its classifier, pooled as the spec says.

    Raises:
        EmbedderError: the architecture is unknown or has no maps to pool, or the weights do not fit it.
    """
    import torch
    from torchvision.models import get_model, list_models

    if spec.arch not in list_models():
        raise EmbedderError(f"embed.arch: expected a name of torchvision such as 'resnet50', found {spec.arch!r}")
    module = get_model(spec.arch, weights=None)
    head = next((name for name in _HEADS if hasattr(module, name)), None)
    if head is None:
        raise EmbedderError(f"embed.arch: {spec.arch!r} has no classifier among {', '.join(_HEADS)} to take off")
    setattr(module, head, torch.nn.Identity())
    weights = read_weights(path) if spec.model == "checkpoint" else _state_dict(path)
    for name in [name for name in weights if name.startswith(f"{head}.")]:
        del weights[name]  # in place: the mapping also carries the versions of its layers, which MNASNet asks for
    try:
        module.load_state_dict(weights, strict=True)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise EmbedderError(f"embed.weights: {path}: does not fit {spec.arch!r}: {error}") from error
    return _with_gem(module, spec) if spec.pooling == "gem" else module


def _with_gem(module: Any, spec: EmbedderSpec) -> Any:
    """The network with GeM where its average pooling was: on the last feature maps.

    Raises:
        EmbedderError: it has none, as transformers have.
    """
    import torch

    class Gem(torch.nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            if maps.ndim != 4:
                raise EmbedderError(
                    f"embed.pooling: expected feature maps (n, d, h, w) of {spec.arch!r} for 'gem', found "
                    f"{tuple(maps.shape)}"
                )
            return gem(maps, spec.gem_p)

    if hasattr(module, "avgpool"):
        module.avgpool = Gem()
        return module
    maps = next((getattr(module, name) for name in _MAPS if hasattr(module, name)), None)
    if maps is None:
        raise EmbedderError(
            f"embed.pooling: {spec.arch!r} has no feature maps that 'gem' could pool; leave embed.pooling out, or take "
            "a convolutional network such as 'resnet50'"
        )
    return torch.nn.Sequential(maps, Gem(), torch.nn.Flatten())


def _state_dict(path: Path) -> dict[str, Any]:
    import torch

    if path.name == CHECKPOINT_CONTENT:
        raise EmbedderError(
            f"embed.weights: {path}: a checkpoint of `openjft train`, which knows its own input; say "
            "model = 'checkpoint' and leave embed.arch, input_size, mean and std out"
        )
    if path.suffix == ENDING:
        return dict(read_safetensors(path))
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise EmbedderError(f"embed.weights: {path}: expected a state dict of tensors, found: {error}") from error
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    weights = _names(loaded, path)
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(weights, "module.")
    return weights


def _names(weights: Any, path: Path) -> dict[str, Any]:
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        found = type(weights).__name__
        raise EmbedderError(f"embed.weights: {path}: expected a state dict of tensors by name, found {found}")
    return weights
