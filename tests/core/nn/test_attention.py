# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from conjoin.core import random
from conjoin.core.nn import Attention
from conjoin.core.nn.attention import attend


@pytest.fixture(autouse=True)
def _keyed():
    with random.seeded(2):
        yield


def attention_by_loops(layer, x):
    """Softmax attention of each head and query alone."""
    out = torch.zeros_like(x)
    width = layer.dim // layer.heads
    for b in range(len(x)):
        q, k, v = F.linear(x[b], layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            for n in range(x.shape[1]):
                weights = torch.softmax(k[:, part] @ q[n, part] / width**0.5, dim=0)
                out[b, n, part] = weights @ v[:, part]
    return F.linear(out, layer.proj.weight, layer.proj.bias)


def loud(module):
    """Weights large enough that attention is far from uniform."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return module.double()


def test_attention_equals_loops():
    layer, x = loud(Attention(12, 3)), torch.randn(2, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(layer(x), attention_by_loops(layer, x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="5 heads do not divide dim 12"):
        Attention(12, 5)


def test_bfloat16_on_a_cpu_is_as_exact_as_float32_rounded_once():
    q, k, v = (torch.randn(2, 3, 7, 4, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 1, 1, 7) > 0.3
    mask[..., 0] = True
    wide = [part.detach().float().requires_grad_() for part in (q, k, v)]
    expected = F.scaled_dot_product_attention(*wide, attn_mask=mask)
    with torch.autocast("cpu", torch.bfloat16):  # which would take the kernel's float32 arguments back
        out = attend(q, k, v, mask)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected.bfloat16())
    gradient = torch.randn_like(expected).bfloat16()
    out.backward(gradient)
    expected.backward(gradient.float())
    for got, want in zip((q, k, v), wide, strict=True):
        assert torch.equal(got.grad, want.grad.bfloat16())
