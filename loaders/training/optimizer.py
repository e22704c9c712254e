"""RMSProp in TensorFlow's form.

For each weight w with gradient g (Sun et al. 2017 trained with TensorFlow's RMSPropOptimizer):

    ms  <- rho * ms + (1 - rho) * g^2                  ms starts at 1
    mom <- momentum * mom + lr * g / sqrt(ms + eps)    eps inside the root, lr inside the momentum
    w   <- w - mom

`torch.optim.RMSprop` differs in all three: see docs/decisions/0002-own-rmsprop.md. Weight decay is coupled
(wd * w is added to g), on the weights of convolutions and of the head; not on batch norm and biases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, overload

import torch
from torch import Tensor, nn


class RMSProp(torch.optim.Optimizer):
    """TensorFlow's RMSProp on dense gradients, by the `torch._foreach` operations that torch's own optimizers use.

    Args:
        params: tensors, or groups with their own `lr` and `weight_decay`.
        lr: learning rate; may be changed between steps through `param_groups`.
        rho: share of the old mean square that is kept.
        momentum: share of the old update that is kept.
        epsilon: added to the mean square, inside the root.
        weight_decay: coupled L2 penalty.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "rho": rho, "momentum": momentum, "epsilon": epsilon, "weight_decay": weight_decay}
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update from the gradients that stand in `.grad`; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def state_of(self, p: Tensor) -> dict[str, Tensor]:
        """`mean_square` and `momentum` of a weight."""
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["mean_square"] = torch.ones_like(p, memory_format=torch.preserve_format)
            state["momentum"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return state

    def _update(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        grads: list[Tensor] = [p.grad for p in params]
        for p in params:
            self.state_of(p)
        mean_squares = [self.state[p]["mean_square"] for p in params]
        momenta = [self.state[p]["momentum"] for p in params]
        if group["weight_decay"] != 0.0:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))  # noqa: SLF001
        torch._foreach_mul_(mean_squares, group["rho"])
        torch._foreach_addcmul_(mean_squares, grads, grads, value=1.0 - group["rho"])
        roots = torch._foreach_add(mean_squares, group["epsilon"])  # noqa: SLF001
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_addcdiv_(momenta, grads, roots, value=group["lr"])
        torch._foreach_sub_(params, momenta)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and filters with the penalty; vectors (batch norm, biases) without."""
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]


STATE: Final = ("mean_square", "momentum")


def optimizer_tensors(model: nn.Module, optimizer: RMSProp) -> dict[str, Tensor]:
    """The state of an optimizer by `mean_square.NAME` and `momentum.NAME`; as at the start where no step was made."""
    found: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        state = optimizer.state_of(p)
        found |= {f"{kind}.{name}": state[kind] for kind in STATE}
    return found


@torch.no_grad()
def load_optimizer(model: nn.Module, optimizer: RMSProp, tensors: Mapping[str, Tensor]) -> None:
    """Puts the tensors of `optimizer_tensors` back; a KeyError or RuntimeError says that they do not fit."""
    for name, p in model.named_parameters():
        state = optimizer.state_of(p)
        for kind in STATE:
            state[kind].copy_(_same_shape(tensors[f"{kind}.{name}"], p, name))


def _same_shape(tensor: Tensor, like: Tensor, name: str) -> Tensor:
    if tensor.shape != like.shape:  # `copy_` alone would broadcast
        raise RuntimeError(f"size mismatch for {name}: {tuple(tensor.shape)} and {tuple(like.shape)}")
    return tensor
