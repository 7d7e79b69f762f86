# SPDX-License-Identifier: Apache-2.0
"""LiDAR against the definition in other words, on the case that motivates it, and over ranks."""

from typing import Any

import numpy as np
import pytest
import torch

from conjoin.core.metrics import LiDAR, lidar, rankme


def views(samples: int = 40, count: int = 5, width: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(samples, 1, width, dtype=torch.float64, generator=generator)
    noise = torch.randn(samples, count, width, dtype=torch.float64, generator=generator)
    return clean * torch.linspace(0.2, 2, width) + 0.4 * noise + 3


def by_definition(e: np.ndarray, delta: float = 1e-4) -> float:
    """Sums over samples and views one by one, and the eigenvalues of inv(S_w) S_b, which is not symmetric."""
    n, q, d = e.shape
    means = [sum(e[i, j] for j in range(q)) / q for i in range(n)]
    grand = sum(means) / n
    between, within = np.zeros((d, d)), np.zeros((d, d))
    for i in range(n):
        between += np.outer(means[i] - grand, means[i] - grand) / (n - 1)
        for j in range(q):
            within += np.outer(e[i, j] - means[i], e[i, j] - means[i]) / (n * (q - 1))
    found = np.linalg.eigvals(np.linalg.inv(within + delta * np.eye(d)) @ between).real
    p = found / found.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def test_equals_the_definition_in_loops() -> None:
    e = views()
    assert float(lidar(e)) == pytest.approx(by_definition(e.numpy()), rel=1e-5)
    assert float(lidar(e, eps=0.0)) == pytest.approx(by_definition(e.numpy()), rel=1e-9)
    assert float(lidar(e, delta=3.0, eps=0.0)) == pytest.approx(by_definition(e.numpy(), 3.0), rel=1e-9)


def test_a_case_by_hand() -> None:
    """Samples at +-a on one axis and +-b on another, views at +-1 around them in both.

    With S_w = 2 I (two views at distance 1 from their mean) and S_b = diag(2 a^2, 2 b^2) / 3 the eigenvalues
    are as a^2 to b^2, whatever the rest.
    """
    a, b = 3.0, 1.0
    clean = torch.tensor([[a, 0], [-a, 0], [0, b], [0, -b]], dtype=torch.float64)
    step = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    other = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    shifts = torch.stack((step, other, step, other))  # uncorrelated over the samples
    p = a**2 / (a**2 + b**2)
    expected = np.exp(-p * np.log(p) - (1 - p) * np.log(1 - p))
    assert float(lidar(clean.unsqueeze(1) + shifts)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("noisy", "expected"), [(0, 15.7), (12, 3.99)])
def test_noise_dimensions_do_not_count_here_and_do_in_rankme(noisy: int, expected: float) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(500, 1, 16, generator=generator).repeat(1, 50, 1)
    clean[..., 16 - noisy :] = torch.randn(500, 50, noisy, generator=generator)
    e = clean + 0.1 * torch.randn(500, 50, 16, generator=generator)
    assert float(lidar(e)) == pytest.approx(expected, abs=0.1)
    assert float(rankme(e.flatten(0, 1))) > 15.9


def test_collapse_is_the_lowest_value_and_rotation_changes_nothing() -> None:
    assert float(lidar(torch.ones(30, 4, 8))) == pytest.approx(1, abs=1e-4)
    e = views()
    turn = torch.linalg.qr(
        torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ).Q
    assert float(lidar(e @ turn + 7)) == pytest.approx(float(lidar(e)), rel=1e-9)


def test_streams_in_any_order() -> None:
    e = views()
    metric = LiDAR()
    for part in e[torch.randperm(40, generator=torch.Generator().manual_seed(1))].split([3, 17, 20]):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), lidar(e), rtol=1e-10, atol=0)
    metric.reset()
    metric.update(e[:10])
    torch.testing.assert_close(metric.compute(), lidar(e[:10]), rtol=1e-10, atol=0)


def test_samples_beyond_the_maximum_are_ignored() -> None:
    metric = LiDAR(max_samples=16)
    for part in views().split(10):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), lidar(views()[:16]), rtol=1e-10, atol=0)


def test_forward_minds_the_maximum() -> None:
    metric = LiDAR(max_samples=16)
    for part in views().split(10):
        metric(part)
    torch.testing.assert_close(metric.compute(), lidar(views()[:16]), rtol=1e-10, atol=0)


def test_delta_below_the_rounding_of_large_embeddings() -> None:
    """Fewer views than columns: the scatter has no inverse, and its rounding exceeds delta."""
    e = views(20, 2, 64)
    for scale in (1e3, 1e6, 1e30):
        assert 1 < float(lidar(scale * e)) < 20
    with pytest.raises(ValueError, match="their squares overflow float64"):
        lidar(1e160 * e)


@pytest.mark.parametrize("value", [0.1, 7.3, 1e4])
def test_any_single_point_is_collapse(value: float) -> None:
    assert float(lidar(torch.full((30, 4, 8), value))) == pytest.approx(1, abs=1e-4)
    metric = LiDAR()
    for part in torch.full((30, 4, 8), value).split(7):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(1, abs=1e-4)


def test_spoiled_samples_are_left_out_loudly() -> None:
    e = views()
    e[3, 1, 2] = torch.nan
    with pytest.warns(UserWarning, match="1 of 40 embeddings"):
        found = lidar(e)
    torch.testing.assert_close(found, lidar(torch.cat((views()[:3], views()[4:]))))


def test_guards() -> None:
    with pytest.raises(ValueError, match=r"shape \(N, Q, K\), got \(4, 3\)"):
        lidar(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="give at least 2, got 1"):
        lidar(torch.zeros(4, 1, 3))
    with pytest.raises(ValueError, match="tells samples apart: give at least 2, got 1"):
        lidar(torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="delta must be positive, got 0"):
        LiDAR(delta=0)
    with pytest.raises(ValueError, match="max_samples must be at least 2 or None, got 1"):
        LiDAR(max_samples=1)
    metric = LiDAR()
    metric.update(views()[:1])
    with pytest.raises(ValueError, match="give at least 2, got 1"):
        metric.compute()


def two_ranks(rank: int, world: int) -> torch.Tensor:
    metric = LiDAR()
    for part in (views()[:29] if rank == 0 else views()[29:]).split(10):
        metric.update(part)
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, lidar(views()), rtol=0, atol=1e-10)
