# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import WMSE, w_mse
from conjoin.core.objectives.w_mse import cholesky_whitening


def sample(rows, dim, views=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return list(torch.randn(views, rows, dim, dtype=torch.float64, generator=g) * 3 + 1)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
def test_whitened_covariance_is_the_identity(scale):
    x = torch.stack(sample(40, 6, 3)) * scale
    for white in cholesky_whitening(x):
        torch.testing.assert_close(torch.cov(white.T), torch.eye(6, dtype=torch.float64), atol=1e-10, rtol=0)
        torch.testing.assert_close(white.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-10, rtol=0)


def gram_schmidt(x):
    """The inverse Cholesky factor written as orthogonalisation of the columns in order."""
    x = x - x.mean(0)
    done = []
    for column in x.T:
        rest = column.clone()
        for other in done:
            rest = rest - (column @ other) / (len(x) - 1) * other
        done.append(rest / math.sqrt((rest @ rest).item() / (len(x) - 1)))
    return torch.stack(done, dim=1)


def test_it_is_cholesky_and_not_zca():
    (x,) = sample(20, 4, 1)
    torch.testing.assert_close(cholesky_whitening(x), gram_schmidt(x))


@pytest.mark.parametrize("normalize", [True, False])
def test_equals_loops(normalize):
    views = sample(22, 3, 3)
    g = torch.Generator().manual_seed(9)
    order = torch.stack([torch.randperm(22, generator=g) for _ in range(2)])
    losses = []
    for permutation in order.tolist():
        for group in (permutation[:11], permutation[11:22]):  # 22 // 8 = 2 groups of 11 rows
            w = [gram_schmidt(view[group]) for view in views]
            for i, j in ((0, 1), (0, 2), (1, 2)):
                for a, b in zip(w[i], w[j], strict=True):
                    if normalize:
                        losses.append(((a / a.norm() - b / b.norm()) ** 2).sum().item())
                    else:
                        losses.append(((a - b) ** 2).mean().item())
    found = w_mse(views, order, group=8, normalize=normalize).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-10)


def test_rows_that_fill_no_group_wait():
    views = sample(23, 3)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1)).unsqueeze(0)
    changed = [view.clone() for view in views]
    for view in changed:
        view[order[0, 22]] = 99.0
    assert w_mse(changed, order, group=8) == w_mse(views, order, group=8)


def test_permutations_follow_seed_and_step():
    z = sample(32, 3)
    objective = WMSE(group=8, seed=1)
    first, second = objective(*z).loss, objective(*z).loss
    assert first != second
    again = WMSE(group=8, seed=1)
    again.steps.fill_(1)
    assert again(*z).loss == second
    assert WMSE(group=8, seed=2)(*z).loss != first


def test_a_singular_covariance_is_an_error_unless_eps():
    z = torch.ones(2, 16, 3)
    with pytest.raises(torch.linalg.LinAlgError, match="positive-definite"):
        WMSE(group=16)(z)
    assert bool(WMSE(group=16, eps=0.1)(z).loss.isfinite())


def test_guards():
    with pytest.raises(ValueError, match="more than 8 samples, found 8"):
        WMSE(group=8)(*sample(16, 8))
    with pytest.raises(ValueError, match="at least 2 samples"):
        WMSE()(*sample(1, 2))
    for options in ({"group": 1}, {"iterations": 0}, {"eps": 1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            WMSE(**options)
