# SPDX-License-Identifier: Apache-2.0
"""Which parameters are decayed, and how a step's learning rate and weight decay reach them.

The rule is the I-JEPA release's: weight decay for every tensor with two or more dimensions whose
name does not contain "bias" (so the mask token, of shape (1, 1, D), is decayed), none for the rest.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ("parameter_groups", "set_hyperparameters")


def parameter_groups(
    modules: nn.Module | Iterable[nn.Module], *, no_decay: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Split trainable parameters into a decayed and an undecayed group.

    Args:
        modules: The module or modules to train. Parameters shared between them appear once; frozen
            ones (``requires_grad=False``) are left out.
        no_decay: Further fragments of parameter names that are not decayed, ``("mask_token",)`` for
            example.

    Returns:
        Groups for a torch optimiser, decayed first, empty ones left out. ``group["decays"]`` says
        which kind it is; the undecayed group has ``weight_decay`` 0.

    Raises:
        ValueError: If nothing is trainable.
    """
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    fragments = ("bias", *no_decay)
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in modules:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            exempt = parameter.ndim <= 1 or any(fragment in name for fragment in fragments)
            (plain if exempt else decayed).append(parameter)
    if not seen:
        names = ", ".join(type(module).__name__ for module in modules) or "no module at all"
        raise ValueError(f"Nothing to train: every parameter of {names} is frozen or there are none.")
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed, "decays": True})
    if plain:
        groups.append({"params": plain, "decays": False, "weight_decay": 0.0})
    return groups


def set_hyperparameters(optimizer: Optimizer, *, lr: float, weight_decay: float) -> None:
    """Write the values of one step into all groups.

    Args:
        optimizer: Any torch optimiser. A group may carry ``lr_scale``, a factor on ``lr``
            (layer-wise decay); a group with ``decays`` False keeps its own weight decay.
        lr: Learning rate of this step.
        weight_decay: Weight decay of this step.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
        if group.get("decays", True):
            group["weight_decay"] = weight_decay
