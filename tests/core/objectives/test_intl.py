# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.objectives import INTL, spectral_transform, trace_loss, trade_off


@pytest.fixture
def views():
    return torch.randn(3, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def reference(views, axis, beta, target=None):
    """Written over coordinates, from the transformed views."""
    t = [spectral_transform(v, axis=axis) for v in ([] if target is None else [target]) + list(views)]

    def trace(x):
        columns = x if axis == 0 else x.T
        return sum((column.var().item() - 1) ** 2 for column in columns)

    def distance(x, y):
        rows = zip(x, y, strict=True)
        return sum(((a / a.norm() - b / b.norm()) ** 2).sum().item() for a, b in rows) / len(x)

    losses = []
    for other in t[1:]:
        both = trace(other) + (trace(t[0]) if target is None else 0)
        losses.append(distance(other, t[0]) + beta * both)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("beta", [None, 0.3])
def test_equals_loops(views, axis, beta):
    weight = trade_off(9 if axis == 0 else 5) if beta is None else beta
    found = INTL(beta, axis=axis)(views).loss.item()
    assert found == pytest.approx(reference(views, axis, weight), rel=1e-10)
    scaled = INTL(beta, axis=axis)(views * 1e4).loss.item()
    assert scaled == pytest.approx(found, rel=1e-8)


def test_momentum_view_has_no_gradient_and_no_trace_loss(views):
    target = views[2].clone().requires_grad_()
    online = views[:2].clone().requires_grad_()
    loss = INTL(0.3, axis=1)(online, target=target).loss
    assert loss.item() == pytest.approx(reference(views[:2], 1, 0.3, views[2]), rel=1e-10)
    loss.backward()
    assert target.grad is None
    assert bool((online.grad.abs().sum(dim=(1, 2)) > 0).all())
    one = INTL(0.3, axis=1)(views[0], target=views[2]).loss.item()
    assert one == pytest.approx(reference(views[:1], 1, 0.3, views[2]), rel=1e-10)


def test_known_values():
    h = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    t = spectral_transform(h, axis=1)
    torch.testing.assert_close(t, 3**0.5 / 2 * h, atol=1e-6, rtol=0)
    assert trace_loss(t, 1, 4).item() == pytest.approx(1.8e-12, rel=0.02)
    line = torch.tensor([[1, 1], [-1, -1], [1, 1], [-1, -1]], dtype=torch.float64)
    assert trace_loss(spectral_transform(line, axis=1), 1, 4).item() == pytest.approx(0.5)
    wide = torch.tensor([[1, -1, 1, -1], [1, 1, -1, -1]], dtype=torch.float64)
    torch.testing.assert_close(spectral_transform(wide), 3**0.5 / 2 * wide, atol=1e-6, rtol=0)
    equal = wide[:1].expand(2, 4)
    torch.testing.assert_close(spectral_transform(equal), 0.6123724 * equal, atol=1e-6, rtol=0)
    assert trace_loss(spectral_transform(equal), 0, 2).item() == pytest.approx(0.5)
    assert trade_off(256) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": 2}, "axis"),
        ({"transform": "pca"}, "transform"),
        ({"iterations": 11}, "iterations"),
        ({"eps": 0.0}, "eps"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        INTL(**options)


def test_few_samples_are_not_pushed_apart():
    """The weight of the trace loss would be below zero."""
    assert [trade_off(size) for size in (2, 4, 8)] == [0, 0, 0]
    assert trade_off(256) == pytest.approx(0.05)


def test_target_of_another_shape():
    with pytest.raises(ValueError, match="shape of the views"):
        INTL()(torch.randn(4, 9), target=torch.randn(5, 9))
