# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.evaluation.multilabel import CrossAttentionClassifier
from conjoin.core.methods.task_head import TaskHead


def mean(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.mean(1)


@pytest.mark.parametrize("kind", ["linear", "mlp", "attentive", "cross_attention"])
def test_shapes_and_order_of_the_tokens(kind: str) -> None:
    """No head looks at the order of the tokens, and all have gradients everywhere."""
    head = TaskHead(kind, mean, dim=10, width=10, outputs=3).eval()  # type: ignore[arg-type]  # 12 heads: 10 is taken
    tokens = torch.randn(4, 7, 10)
    out = head(tokens)
    assert out.shape == (4, 3)
    torch.testing.assert_close(head(tokens.flip(1)), out)
    out.square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_mlp_is_point_mae_s() -> None:
    head = TaskHead("mlp", lambda t: torch.cat((t.amax(1), t.mean(1)), 1), dim=384, width=768, outputs=40)
    # 768 x 256 and 256 x 256 without bias, two batch norms, 256 x 40 with.
    assert sum(p.numel() for p in head.parameters()) == 768 * 256 + 256 * 256 + 4 * 256 + 256 * 40 + 40
    assert head(torch.randn(2, 5, 384)).shape == (2, 40)


def test_cross_attention_is_the_probe_of_ecg_jepa() -> None:
    head = TaskHead("cross_attention", mean, dim=192, width=192, outputs=71, heads=4)
    assert isinstance(head.layers, CrossAttentionClassifier)
    assert head.layers.heads == 4
    assert sum(p.numel() for p in head.parameters()) == 124_416


def test_guards() -> None:
    with pytest.raises(ValueError, match="head must be one of linear, mlp, attentive, cross"):
        TaskHead("big", mean, dim=4, width=4, outputs=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one output, not 0"):
        TaskHead("linear", mean, dim=4, width=4, outputs=0)
