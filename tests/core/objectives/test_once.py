# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.objectives.once import once_differentiable


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


def test_once_and_not_twice():
    x = torch.tensor(3.0, requires_grad=True)
    (grad,) = torch.autograd.grad(Square.apply(x), x)
    assert grad.item() == 6
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(Square.apply(x), x, create_graph=True)
