# SPDX-License-Identifier: Apache-2.0
"""What stands on an encoder in fine-tuning: from token features to logits, or to a number.

``linear``
    One linear layer on the pooled features.
``mlp``
    Twice (linear without bias, batch norm, ReLU, dropout), then linear, on the pooled features: the head of
    Point-MAE and Point-JEPA.
``attentive``
    A learned query that attends to all tokens, a norm, a linear layer: the probe of the V-JEPA papers.
``cross_attention``
    One query, one cross-attention, projected straight to the outputs: ECG-JEPA's.
"""

from collections.abc import Callable
from typing import Literal, cast, get_args

from torch import Tensor, nn

from conjoin.core.evaluation.multilabel import CrossAttentionClassifier
from conjoin.core.nn import AttentivePool, Linear

__all__ = ("HeadKind", "TaskHead")

HeadKind = Literal["linear", "mlp", "attentive", "cross_attention"]


class TaskHead(nn.Module):
    """A head of the given kind.

    Args:
        kind: See the module.
        pool: Tokens (B, N, D) to features (B, F) of whole samples, for ``"linear"`` and ``"mlp"``.
        dim: Width D of the tokens.
        width: F.
        outputs: Classes, labels, or 1.
        heads: Attention heads of the attentive kinds, lowered to the largest number that divides D.
        hidden: Width of the hidden layers of ``"mlp"``.
        dropout: After each of them.

    Raises:
        ValueError: If there is no such kind, or no output.
    """

    def __init__(
        self,
        kind: HeadKind,
        pool: Callable[[Tensor], Tensor],
        *,
        dim: int,
        width: int,
        outputs: int,
        heads: int = 12,
        hidden: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if kind not in get_args(HeadKind):
            raise ValueError(f"head must be one of {', '.join(get_args(HeadKind))}, not {kind!r}.")
        if outputs < 1:
            raise ValueError(f"A head needs at least one output, not {outputs}.")
        self.pool = None if kind in ("attentive", "cross_attention") else pool
        heads = next(count for count in range(min(heads, dim), 0, -1) if dim % count == 0)
        if kind == "linear":
            self.layers: nn.Module = Linear(width, outputs)
        elif kind == "mlp":
            self.layers = nn.Sequential(
                *_hidden(width, hidden, dropout), *_hidden(hidden, hidden, dropout), Linear(hidden, outputs)
            )
        elif kind == "attentive":
            self.layers = nn.Sequential(AttentivePool(dim, heads), nn.LayerNorm(dim), Linear(dim, outputs))
        else:
            self.layers = CrossAttentionClassifier(dim, heads, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, outputs) for tokens (B, N, D)."""
        return cast(Tensor, self.layers(tokens if self.pool is None else self.pool(tokens)))


def _hidden(inputs: int, width: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
