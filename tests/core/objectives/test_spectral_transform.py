# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.core.objectives import spectral_transform
from conjoin.core.objectives.spectral_transform import matrix_power, newton_whitening

TABLE = {1 / 256: 0.095153, 1 / 64: 0.328704, 1 / 16: 0.793280, 0.25: 0.998186, 0.5: 0.999999}


def response(a, iterations):
    """Output variance along an axis of normalised eigenvalue a, by the scalar recursion."""
    p = 1.0
    for _ in range(iterations):
        p = 1.5 * p - 0.5 * p**3 * a
    return a * p * p


@pytest.mark.parametrize(("a", "wanted"), TABLE.items())
def test_response_of_four_newton_steps(a, wanted):
    assert response(a, 4) == pytest.approx(wanted, abs=1e-6)
    matrix = torch.diag(torch.tensor([a, 1 - a], dtype=torch.float64)) * 7  # the trace does not matter
    phi = newton_whitening(matrix, 4)
    assert (phi @ matrix @ phi)[0, 0].item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("iterations", [0, 1, 4, 9])
@pytest.mark.parametrize("axis", [0, 1])
def test_newton_acts_on_eigenvalues(iterations, axis):
    g = torch.Generator().manual_seed(0)
    z = torch.randn(*((5, 20) if axis == 0 else (20, 5)), dtype=torch.float64, generator=g) + 3
    found = spectral_transform(z, axis=axis, iterations=iterations)
    x = z.numpy() if axis == 1 else z.numpy().T  # now coordinates are columns
    x = x - x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / (len(x) - 1))
    gain = np.sqrt([response(v / values.sum(), iterations) for v in values] / values)
    wanted = x @ (vectors * gain) @ vectors.T
    np.testing.assert_allclose(found.numpy() if axis == 1 else found.numpy().T, wanted, atol=1e-10)


def test_many_steps_whiten():
    z = torch.randn(400, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    white = spectral_transform(z, axis=1, iterations=10)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(16, dtype=torch.float64), atol=1e-9, rtol=0)
    zca = spectral_transform(z, "power", axis=1, eps=1e-12)
    torch.testing.assert_close(white, zca, atol=1e-8, rtol=0)


def test_scale_and_translation_do_not_matter():
    z = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spectral_transform(1e4 * z + 7, axis=1), spectral_transform(z, axis=1))
    wide = z.T.contiguous()
    torch.testing.assert_close(spectral_transform(1e-4 * wide - 7), spectral_transform(wide))


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_power_and_its_gradient(p):
    g = torch.Generator().manual_seed(0)
    z = torch.randn(9, 4, dtype=torch.float64, generator=g)
    matrix = z.T @ z
    values, vectors = np.linalg.eigh(matrix.numpy())
    wanted = (vectors * (values + 0.1) ** -p) @ vectors.T
    np.testing.assert_allclose(matrix_power(matrix, p, 0.1).numpy(), wanted, atol=1e-12)

    def of_factor(z):
        return matrix_power(z.T @ z, p, 0.1)

    assert torch.autograd.gradcheck(of_factor, (z.requires_grad_(),))


def test_gradient_at_equal_eigenvalues():
    """Where the eigenvectors' own derivative does not exist."""
    z = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: matrix_power(z.T @ z, 0.5, 0.1), (z,))


def test_constant_embeddings_become_zero():
    z = torch.ones(4, 3, requires_grad=True)
    for axis in (0, 1):
        found = spectral_transform(z, axis=axis)
        assert torch.equal(found, torch.zeros(4, 3))
        assert bool(torch.autograd.grad(found.sum(), z)[0].isfinite().all())
