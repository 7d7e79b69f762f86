# SPDX-License-Identifier: Apache-2.0
"""Label-free measures against values that are known in closed form and against other routes."""

import numpy as np
import pytest
import torch

from conjoin.core.metrics import (
    alpha_req,
    embedding_eigenvalues,
    nesum,
    participation_ratio,
    power_law,
    rankme,
    self_cluster,
    singular_values,
    stable_rank,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthonormal(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    z = torch.randn(rows, columns, dtype=torch.float64, generator=generator(seed))
    return torch.linalg.qr(z).Q


def with_covariance(eigenvalues: torch.Tensor, rows: int) -> torch.Tensor:
    """Rows whose sample covariance has exactly these eigenvalues."""
    z = torch.randn(rows, len(eigenvalues) + 1, dtype=torch.float64, generator=generator())
    z[:, 0] = 1  # the other columns of Q are orthogonal to the constant
    q = torch.linalg.qr(z).Q[:, 1:]
    return q * (eigenvalues * (rows - 1)).sqrt() + 3.0


def test_rankme_of_orthonormal_columns() -> None:
    assert float(rankme(orthonormal(1000, 64))) == pytest.approx(64.0013, abs=5e-5)


def test_rankme_of_a_constant_matrix() -> None:
    assert float(rankme(torch.ones(1000, 64))) == pytest.approx(1.0001, abs=5e-5)


@pytest.mark.parametrize("shape", [(50, 4), (50, 60), (4, 60)])
def test_rankme_of_given_singular_values(shape: tuple[int, int]) -> None:
    sigma = torch.tensor([1, 0.5, 0.25, 0.125], dtype=torch.float64)
    z = orthonormal(shape[0], 4, 1) * sigma @ orthonormal(shape[1], 4, 2).T
    # Every null singular value adds -eps ln eps through the eps of the definition.
    nulls = min(shape) - 4
    expected = 3.11714 * np.exp(-nulls * 1e-7 * np.log(1e-7))
    assert float(rankme(z)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_rankme_of_gaussian_rows() -> None:
    z = torch.randn(25_600, 256, generator=generator())
    assert float(rankme(z)) == pytest.approx(255.71, abs=0.05)


def test_rankme_does_not_see_scale_and_rotation_but_sees_the_mean() -> None:
    z = torch.randn(300, 20, dtype=torch.float64, generator=generator())
    z = z * torch.linspace(0.1, 2, 20)
    base = float(rankme(z))
    assert float(rankme(-7.5 * z @ orthonormal(20, 20, 3))) == pytest.approx(base, rel=1e-5)
    assert float(rankme(z[torch.randperm(300, generator=generator())])) == pytest.approx(base, rel=1e-9)
    assert float(rankme(z + 4)) < 0.8 * base


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (20, 20)])
def test_spectra_agree_with_numpy(shape: tuple[int, int]) -> None:
    z = torch.randn(*shape, generator=generator())
    sigma = np.linalg.svd(z.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(singular_values(z).numpy(), sigma, rtol=1e-6)
    covariance = np.cov(z.double().numpy(), rowvar=False)
    expected = np.sort(np.linalg.eigvalsh(covariance))[::-1].clip(0)
    found = embedding_eigenvalues(z)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_power_law_and_nesum_of_an_exact_spectrum() -> None:
    j = torch.arange(1, 257, dtype=torch.float64)
    z = with_covariance(j**-1.3, 600)
    for weighted in (True, False):
        fit = alpha_req(z, weighted=weighted)
        assert float(fit.alpha) == pytest.approx(1.3, abs=1e-6)
        assert float(fit.r2) == pytest.approx(1, abs=1e-9)
        assert fit.window == (4, 100)
    assert float(nesum(z)) == pytest.approx(3.30077, abs=1e-5)


def test_power_law_weights_ranks_by_their_inverse() -> None:
    j = np.arange(1, 31)
    values = j**-1.0 + 0.002 * j
    slope, _ = np.polyfit(np.log(j[3:]), np.log(values[3:]), 1, w=np.sqrt(1 / j[3:]))
    fit = power_law(torch.from_numpy(values), window=(4, 100))
    assert float(fit.alpha) == pytest.approx(-slope, rel=1e-9)
    assert fit.window == (4, 30)
    with pytest.raises(ValueError, match="two positive eigenvalues"):
        power_law(torch.from_numpy(values), window=(30, 40))


def test_nesum_stable_rank_and_participation_of_extremes() -> None:
    white = with_covariance(torch.ones(16, dtype=torch.float64), 100)
    assert float(nesum(white)) == pytest.approx(16)
    assert float(stable_rank(orthonormal(100, 16))) == pytest.approx(16)
    line = torch.arange(50.0).outer(torch.arange(1.0, 9.0))
    assert float(nesum(line)) == pytest.approx(1)
    assert float(stable_rank(line)) == pytest.approx(1)
    assert float(participation_ratio(torch.ones(7))) == pytest.approx(7)
    assert float(participation_ratio(torch.tensor([3.0, 0, 0]))) == pytest.approx(1)
    assert float(participation_ratio(torch.zeros(3))) == 0


def test_self_cluster_of_extremes_and_against_the_pairwise_sum() -> None:
    uniform = torch.randn(4000, 32, generator=generator())
    assert float(self_cluster(uniform)) == pytest.approx(0, abs=0.01)
    assert float(self_cluster(torch.ones(50, 8))) == pytest.approx(1)
    z = torch.randn(30, 5, dtype=torch.float64, generator=generator()) + 1
    unit = z / z.norm(dim=1, keepdim=True)
    pairs = [float(unit[a] @ unit[b]) ** 2 for a in range(30) for b in range(30) if a != b]
    # The mean squared cosine is 1/K when uniform and 1 when all rows are equal.
    assert float(self_cluster(z)) == pytest.approx((np.mean(pairs) - 1 / 5) / (1 - 1 / 5))


def test_bad_rows_are_left_out_loudly() -> None:
    z = torch.randn(40, 6, generator=generator())
    spoiled = torch.cat((z, torch.full((1, 6), torch.nan), torch.full((1, 6), torch.inf)))
    with pytest.warns(UserWarning, match="2 of 42 embeddings are NaN or infinite"):
        assert torch.equal(rankme(spoiled), rankme(z))


def test_dead_rows_coincide_and_short_ones_have_a_direction() -> None:
    assert float(self_cluster(torch.zeros(20, 4))) == pytest.approx(1)
    z = torch.randn(30, 5, dtype=torch.float64, generator=generator())
    for scale in (1e-13, 1e-200, 1e200):
        assert float(self_cluster(scale * z)) == pytest.approx(float(self_cluster(z)))


@pytest.mark.parametrize("scale", [1e160, 1e-170])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    z = torch.randn(30, 5, dtype=torch.float64, generator=generator())
    for measure in (rankme, nesum, stable_rank):
        assert float(measure(scale * z)) == pytest.approx(float(measure(z)))
    assert float(alpha_req(scale * z, (1, 5)).alpha) == pytest.approx(float(alpha_req(z, (1, 5)).alpha))
    torch.testing.assert_close(singular_values(scale * z), scale * singular_values(z))


def test_guards() -> None:
    for measure in (rankme, stable_rank):
        with pytest.raises(ValueError, match="needs at least one embedding, got none"):
            measure(torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"shape \(N, K\)"):
        rankme(torch.zeros(3))
    with pytest.raises(ValueError, match="at least 2 embeddings, got 1"):
        embedding_eigenvalues(torch.zeros(1, 3))
