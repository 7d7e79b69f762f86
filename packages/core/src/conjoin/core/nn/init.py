# SPDX-License-Identifier: Apache-2.0
"""Initial weights, as a property of each layer.

Every layer here knows its own scheme and rewrites exactly the tensors it owns in
``reset_parameters()``. That is the protocol by which models built on the meta device get their
first values (Lightning, FSDP2), so a scheme applied once from the outside would be lost there.

Two schemes:

* ``"official"``: the one of the released I-JEPA and V-JEPA runs: weights from a normal of
  standard deviation 0.02, cut at +-2 *absolute* (i.e. at 100 standard deviations), biases zero. The
  released model classes also divide ``attn.proj`` and ``mlp.fc2`` of block ``i`` by
  ``sqrt(2 i)``, but their training script initialises every linear layer again afterwards, so no
  released run has ever used that rescaling and it is left out.
* ``"xavier"``: Glorot and Bengio's uniform scheme, biases zero. It keeps the scale of the content
  through narrow layers, where std 0.02 shrinks it (0.02 suits widths near 1000).
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

__all__ = ("Init", "Linear", "PatchProjection", "init_weight_", "reset_all")

Init = Literal["official", "xavier"]
_STD = 0.02


def check_init(init: str) -> None:
    """Raise ``ValueError`` unless ``init`` names a scheme."""
    if init not in get_args(Init):
        raise ValueError(f"init must be one of {get_args(Init)}, got {init!r}.")


@torch.no_grad()
def init_weight_(weight: Tensor, init: Init = "official", gain: float = 1.0) -> Tensor:
    """Fill a weight in place by a scheme.

    Args:
        weight: (out, in) or any tensor of two or more dimensions.
        init: Name of the scheme.
        gain: Factor on the scheme's standard deviation.

    Returns:
        ``weight``.
    """
    check_init(init)
    if init == "xavier":
        return nn.init.xavier_uniform_(weight, gain=gain)
    nn.init.trunc_normal_(weight, std=_STD, a=-2.0, b=2.0)
    return weight.mul_(gain) if gain != 1.0 else weight


def reset_all(module: nn.Module) -> None:
    """Give a whole tree of modules new random weights: ``reset_parameters()`` of each, parents first."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


class Linear(nn.Linear):
    """``nn.Linear`` that starts from a named scheme instead of Kaiming's.

    Args:
        in_features: Input width.
        out_features: Output width.
        bias: Whether to add a bias.
        init: Name of the scheme.
        gain: Factor on its standard deviation.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: Init = "official",
        gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_init(init)
        self.init: Init = init
        self.gain = gain
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """New weights by the scheme, zero bias."""
        init_weight_(self.weight, self.init, self.gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class PatchProjection(nn.Conv2d):
    """The convolution (kernel = stride = patch) that turns patches into tokens.

    ``gain`` sets how loud the content of a patch is next to its position embedding, whose
    root-mean-square is 0.71 whatever the width. With ``"official"`` the weights have standard
    deviation ``0.02 gain``: content rms is about .55 for 16x16 RGB patches but .08 for 4x4
    grey ones, where a JEPA then learns to predict positions and nothing else. With ``"xavier"``
    they have ``gain / sqrt(fan_in)``: for input of unit mean square the content's rms is ``gain``
    at any patch size.

    Args:
        in_channels: Channels of the input.
        dim: Width of the tokens.
        patch: Patch height and width in pixels.
        init: Name of the scheme.
        gain: Factor on its standard deviation.
        dc: Share of each filter's mean (per channel) that is left in it. Below one, the first features say
            less about how bright a patch is and more about what is in it.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch: tuple[int, int],
        *,
        init: Init = "official",
        gain: float = 1.0,
        dc: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_init(init)
        if gain <= 0:
            raise ValueError(f"The gain of the patch projection must be positive, got {gain}.")
        if not 0 <= dc <= 1:
            raise ValueError(f"The dc share of the patch projection must be in [0, 1], got {dc}.")
        self.init: Init = init
        self.gain = gain
        self.dc = dc
        super().__init__(in_channels, dim, patch, stride=patch, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """New weights by the scheme, zero bias."""
        if self.init == "xavier":
            nn.init.normal_(self.weight, std=self.gain / math.sqrt(self.weight[0].numel()))
        else:
            init_weight_(self.weight, self.init, self.gain)
        if self.dc != 1.0:
            with torch.no_grad():
                self.weight -= (1 - self.dc) * self.weight.mean(dim=(2, 3), keepdim=True)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
