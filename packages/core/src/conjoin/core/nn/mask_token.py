# SPDX-License-Identifier: Apache-2.0
"""A learned token in the place of hidden ones, for students that see a sample in part (BEiT, iBOT)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ("Hide", "MaskToken")

Hide = Callable[[Tensor], Tensor]
"""Patch tokens (B, N, D), without positions, to what an encoder's blocks are to see of them."""


class MaskToken(nn.Module):
    """One token for all hidden places; zero at first.

    Args:
        dim: Its width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to zero."""
        nn.init.zeros_(self.token)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Replace the tokens (B, N, D) that are hidden (B, N): (B, N, D)."""
        return torch.where(hidden.unsqueeze(-1), self.token.to(tokens.dtype), tokens)
