# SPDX-License-Identifier: Apache-2.0
"""Picking tokens by index: the two gathers that masked models are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ("gather_rows", "gather_tokens")


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Pick tokens, each sample its own.

    Args:
        tokens: (B, N, D).
        index: int64 (B, K) or (B, M, K), values in [0, N).

    Returns:
        (B, K, D) or (B, M, K, D).
    """
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return tokens.gather(1, flat).view(*index.shape, tokens.shape[-1])


def gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Pick rows of one table that all samples share; a row may be picked many times.

    Args:
        rows: (R, D).
        index: int64 (...), values in [0, R).

    Returns:
        (..., D) of the type of ``rows``. The gradient of a row is the sum over its copies, added up
        in at least fp32: hundreds of bfloat16 terms summed one by one would lose most of their digits.
    """
    if rows.dtype in (torch.bfloat16, torch.float16):
        return F.embedding(index, rows.float()).to(rows.dtype)
    return F.embedding(index, rows)
