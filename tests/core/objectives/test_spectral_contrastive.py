# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from conjoin.core.objectives import SpectralContrastive


def loop(a, b, mu):
    def clip(row):
        length = math.hypot(*row)
        return [x * math.sqrt(mu) / length for x in row] if length > math.sqrt(mu) else row

    a, b = [clip(r) for r in a.tolist()], [clip(r) for r in b.tolist()]
    count, positive, negative = len(a), 0.0, 0.0
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            dot = sum(v * w for v, w in zip(x, y, strict=True))
            if i == j:
                positive += dot
            else:
                negative += dot * dot
    return (-2 * positive / count + negative / count / (count - 1)) / mu


@pytest.mark.parametrize(("rows", "dim"), [(3, 8), (8, 3)])
@pytest.mark.parametrize("mu", [1.0, 10.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 1e6])
def test_equals_loops(rows, dim, mu, scale):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, rows, dim, dtype=torch.float64, generator=g) * scale).unbind(0)
    assert SpectralContrastive(mu)(a, b).loss.item() == pytest.approx(loop(a, b, mu), rel=1e-10)


def test_known_values():
    eye = torch.eye(3, dtype=torch.float64)
    assert SpectralContrastive()(eye, eye).loss.item() == pytest.approx(-2)
    assert SpectralContrastive(10.0)(10 * eye, 10 * eye).loss.item() == pytest.approx(-2)
    same = eye[:1].expand(4, 3)
    assert SpectralContrastive()(same, same).loss.item() == pytest.approx(-1)


def test_zero_rows_have_a_gradient():
    z = torch.zeros(3, 4, requires_grad=True)
    SpectralContrastive()(z, z).loss.backward()
    assert torch.equal(z.grad, torch.zeros(3, 4))


def test_population_loss_is_low_rank_factorisation():
    """All positive pairs of a graph: the loss is ||A - F F^T||^2 - ||A||^2 but for i = j among negatives."""
    g = np.random.default_rng(0)
    weights = g.random((5, 5))
    weights = (weights + weights.T) / 20
    degree = weights.sum(1)
    total = degree.sum()
    normalised = weights / np.sqrt(np.outer(degree, degree))
    z = g.normal(size=(5, 2)) * 0.1  # short rows: nothing is clipped
    f = z * np.sqrt(degree / total)[:, None]
    wanted = ((normalised - f @ f.T) ** 2).sum() - (normalised**2).sum()
    pairs = [(i, j, weights[i, j] / total) for i in range(5) for j in range(5)]
    attraction = sum(-2 * p * (z[i] @ z[j]) for i, j, p in pairs)
    repulsion = sum(degree[i] * degree[j] / total**2 * (z[i] @ z[j]) ** 2 for i in range(5) for j in range(5))
    assert attraction + repulsion == pytest.approx(wanted)
    # The batch estimate of that repulsion, without i = j.
    rows = torch.from_numpy(z)
    found = SpectralContrastive()(rows, rows).terms["repulsion"].item()
    assert found == pytest.approx(sum((z[i] @ z[j]) ** 2 for i in range(5) for j in range(5) if i != j) / 20)


def test_guards():
    with pytest.raises(ValueError, match="mu must be positive"):
        SpectralContrastive(0)
    with pytest.raises(ValueError, match="at least 2"):
        SpectralContrastive()(torch.ones(1, 2), torch.ones(1, 2))
