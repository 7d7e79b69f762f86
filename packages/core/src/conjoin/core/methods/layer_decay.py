# SPDX-License-Identifier: Apache-2.0
r"""Layer-wise decay of the learning rate: layers near the input, which serve every task, move less.

Bao et al., "BEiT: BERT Pre-Training of Image Transformers" (arXiv 2106.08254). With L blocks and the decay
:math:`\delta`, block :math:`l = 1 \dots L` learns at :math:`\delta^{L + 1 - l}` times the rate, what comes
before the blocks at :math:`\delta^{L + 1}` times, what comes after them (the final norm, the head) at the
rate itself.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from conjoin.core.optim import parameter_groups

__all__ = ("layer_decay_groups", "layers_of")


def layers_of(encoder: nn.Module) -> dict[nn.Parameter, int]:
    """The layer of each parameter: 0 before the blocks, 1 to L in them, L + 1 after them.

    The blocks are the ``ModuleList`` or ``Sequential`` of two or more modules of one class that holds most
    parameters; before and after are meant in the order in which the encoder lists its parameters.

    Raises:
        ValueError: If the encoder has no such list.
    """
    lists = [
        part
        for part in encoder.modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        and len(part) > 1
        and len({type(block) for block in part}) == 1
    ]
    blocks = max(lists, key=_size, default=None)
    if blocks is None or not _size(blocks):
        raise ValueError(
            f"layer_decay needs an encoder with a list of equal blocks, and {type(encoder).__name__} has "
            "none: leave it at 1."
        )
    inside = {
        parameter: number for number, block in enumerate(blocks, start=1) for parameter in block.parameters()
    }
    found: dict[nn.Parameter, int] = {}
    seen = False
    for parameter in encoder.parameters():
        seen = seen or parameter in inside
        found[parameter] = inside.get(parameter, len(blocks) + 1 if seen else 0)
    return found


def _size(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def layer_decay_groups(
    encoder: nn.Module, rest: Iterable[nn.Module], decay: float, *, no_decay: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Parameter groups with ``lr_scale``, weight decay on and off as in ``parameter_groups``.

    Args:
        encoder: With blocks.
        rest: Heads; they learn at the full rate.
        decay: The factor, in (0, 1]; 1 gives the plain groups.
        no_decay: Fragments of names without weight decay, see
            :func:`~conjoin.core.optim.parameter_groups`.

    Raises:
        ValueError: If ``decay`` lies outside of (0, 1], or the encoder has no blocks.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay must lie in (0, 1], not {decay}.")
    groups = parameter_groups([encoder, *rest], no_decay=no_decay)
    if decay == 1:
        return groups
    layer = layers_of(encoder)
    last = max(layer.values())
    split: list[dict[str, Any]] = []
    for group in groups:
        by_layer: dict[int, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            by_layer.setdefault(layer.get(parameter, last), []).append(parameter)
        split += [
            {**group, "params": by_layer[number], "lr_scale": decay ** (last - number)}
            for number in sorted(by_layer)
        ]
    return split
